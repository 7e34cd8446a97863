// A few bytes of a header are kept, and with them the whole buffer they lie in.
//
//corpus:verdict heap-leak
//corpus:site main.read
package main

import "leaks/work"

var headers [][]byte

func read(i int) []byte {
	return make([]byte, 64<<10) //corpus:here
}

func main() {
	work.Run(20, func(i int) {
		packet := read(i)
		headers = append(headers, packet[:16])
	})
}

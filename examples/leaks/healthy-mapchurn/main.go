// Keys come and go; the map has as many as ever.
//
//corpus:verdict healthy
package main

import "leaks/work"

func main() {
	sessions := map[int]*[2048]byte{}
	work.Run(1000, func(i int) {
		sessions[i] = &[2048]byte{}
		delete(sessions, i-4000)
	})
}

// A cache that fills in a quarter of a minute and is complete then.
//
//corpus:verdict healthy
package main

import "leaks/work"

var cache = map[int][]byte{}

func main() {
	work.Run(300, func(i int) {
		if len(cache) < 4500 {
			cache[i] = make([]byte, 8192)
		}
	})
}

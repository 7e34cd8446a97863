// Much garbage and a small live heap: the raw heap is one saw-tooth.
//
//corpus:verdict healthy
package main

import "leaks/work"

var keep [64][]byte

func main() {
	work.Run(200, func(i int) {
		for j := 0; j < 8; j++ {
			keep[j] = make([]byte, 32<<10)
		}
	})
}

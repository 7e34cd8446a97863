// A burst of 80 MiB, then nothing to do: memory stays with the process for a while.
//
//corpus:verdict healthy
package main

import "leaks/work"

var burst [][]byte

func main() {
	work.Run(10, func(i int) {
		switch {
		case i < 50:
			for j := 0; j < 25; j++ {
				burst = append(burst, make([]byte, 64<<10))
			}
		case i == 100:
			burst = nil
		}
	})
}

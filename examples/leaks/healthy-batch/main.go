// A periodic batch: loads 30 MiB, works on them, drops them.
//
//corpus:verdict healthy
package main

import "leaks/work"

var batch [][]byte

func main() {
	work.Run(10, func(i int) {
		switch phase := i % 120; {
		case phase < 40:
			for j := 0; j < 12; j++ {
				batch = append(batch, make([]byte, 64<<10))
			}
		case phase == 70:
			batch = nil
		}
	})
}

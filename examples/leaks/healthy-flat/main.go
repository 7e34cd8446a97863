// Grows while it loads its reference data, then stays flat.
//
//corpus:verdict healthy
package main

import "leaks/work"

type row struct{ columns [512]byte }

var rows []*row

func main() {
	work.Run(500, func(i int) {
		if i < 8000 {
			for j := 0; j < 8; j++ {
				rows = append(rows, &row{})
			}
		}
	})
}

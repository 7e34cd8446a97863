// A write buffer that grows for eight seconds and is flushed.
//
//corpus:verdict healthy
package main

import "leaks/work"

type record struct{ data [4096]byte }

func main() {
	var pending []*record
	work.Run(400, func(i int) {
		pending = append(pending, &record{})
		if len(pending) >= 3200 {
			pending = nil
		}
	})
}

// Metrics by user: one series a label value, and values without end.
//
//corpus:verdict heap-leak
//corpus:site main.series
package main

import (
	"fmt"

	"leaks/work"
)

type histogram struct{ buckets [200]uint64 }

var metrics = map[string]*histogram{}

func series(user string) *histogram {
	h := metrics[user]
	if h == nil {
		h = &histogram{} //corpus:here
		metrics[user] = h
	}
	return h
}

func main() {
	work.Run(700, func(i int) { series(fmt.Sprint("user-", i)).buckets[0]++ })
}

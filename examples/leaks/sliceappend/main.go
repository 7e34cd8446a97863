// An audit trail that only grows.
//
//corpus:verdict heap-leak
//corpus:site main.record
package main

import "leaks/work"

type entry struct {
	id      int
	payload [1500]byte
}

var trail []*entry

func record(i int) {
	trail = append(trail, &entry{id: i}) //corpus:here
}

func main() { work.Run(600, record) }

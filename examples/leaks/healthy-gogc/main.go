// GOGC=800: the heap is allowed to grow to nine times what lives.
//
//corpus:verdict healthy
package main

import (
	"runtime/debug"

	"leaks/work"
)

var last []byte

func main() {
	debug.SetGCPercent(800)
	work.Run(100, func(i int) { last = make([]byte, 128<<10) })
}

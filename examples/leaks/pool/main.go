// Buffers come from a sync.Pool, but a debugging registry keeps every one of them.
//
//corpus:verdict heap-leak
//corpus:site main.newBuffer
package main

import (
	"sync"

	"leaks/work"
)

var (
	pool   = sync.Pool{New: func() any { return newBuffer() }}
	inUse  []*buffer
	opened int
)

type buffer struct{ data [3000]byte }

func newBuffer() *buffer {
	return &buffer{} //corpus:here
}

func main() {
	work.Run(400, func(i int) {
		b := pool.Get().(*buffer)
		inUse = append(inUse, b) // and no Put
		opened++
	})
}

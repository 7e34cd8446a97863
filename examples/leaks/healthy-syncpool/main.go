// A sync.Pool as it is meant to be used.
//
//corpus:verdict healthy
package main

import (
	"sync"

	"leaks/work"
)

func main() {
	pool := sync.Pool{New: func() any { return new([64 << 10]byte) }}
	work.Run(500, func(i int) {
		b := pool.Get().(*[64 << 10]byte)
		b[i%len(b)] = 1
		pool.Put(b)
	})
}

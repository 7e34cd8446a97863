// An LRU at its bound: all turnover, no growth.
//
//corpus:verdict healthy
package main

import (
	"container/list"

	"leaks/work"
)

func main() {
	lru := list.New()
	put := func() {
		lru.PushFront(make([]byte, 8192))
		if lru.Len() > 3000 {
			lru.Remove(lru.Back())
		}
	}
	for i := 0; i < 3000; i++ {
		put()
	}
	work.Run(500, func(i int) { put() })
}

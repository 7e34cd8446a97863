//go:build go1.24

package main

import (
	"runtime"
	"weak"
)

var (
	cleaned *order
	strong  *order
	feeble  weak.Pointer[order]
)

func init() {
	plantMore = append(plantMore, func() {
		// The first one starts the goroutine that runs them.
		runtime.AddCleanup(&order{}, func(int) {}, 1)
		heapAlloc()
		cleaned = &order{}
		plant("cleanups", "main.item", func() {
			items := newItems(*scale)
			runtime.AddCleanup(cleaned, func(int) { runtime.KeepAlive(items) }, 1)
		})
		plant("main.strong", "main.item", func() {
			strong = &order{Items: newItems(*scale)}
		})
		// It holds nothing but its handle.
		feeble = weak.Make(strong)
	})
}

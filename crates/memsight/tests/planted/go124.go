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
		plant("cleanups", "main.item", func() {
			cleaned = &order{}
			items := newItems(*scale)
			runtime.AddCleanup(cleaned, func(int) { runtime.KeepAlive(items) }, 1)
		})
		plant("main.strong", "main.item", func() {
			strong = &order{Items: newItems(*scale)}
			feeble = weak.Make(strong)
		})
	})
}

// Sites is a program with 10,000 allocation sites: every path through a binary tree
// of calls is a stack of its own.
package main

import (
	"fmt"
	_ "net/http/pprof"
	"runtime"
	"time"
)

var keep []*[64]byte

//go:noinline
func left(depth, path int) { walk(depth, path) }

//go:noinline
func right(depth, path int) { walk(depth, path) }

func walk(depth, path int) {
	switch {
	case depth == 0:
		keep = append(keep, new([64]byte))
	case path&1 == 0:
		left(depth-1, path>>1)
	default:
		right(depth-1, path>>1)
	}
}

func main() {
	runtime.MemProfileRate = 1
	for path := 0; path < 10000; path++ {
		walk(14, path)
	}
	runtime.GC()
	runtime.GC()
	fmt.Println("ready")
	time.Sleep(time.Hour)
}

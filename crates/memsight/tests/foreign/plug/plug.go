// Plug has variables, types and a goroutine of its own.
package main

import (
	"fmt"
	"runtime"
)

type entry struct {
	next *entry
	name string
}

type shape interface{ area() float64 }
type square struct{ side, color float64 }

func (s *square) area() float64 { return s.side * s.side }

var (
	cache    map[string]*entry
	list     *entry
	closures []func() int
	shapes   []shape
	// A type that the program has, too.
	buffers [][]byte
	bound   func() float64
	// What a goroutine is to take over.
	handed  []*entry
	waiting = make(chan int, 1)
	never   = make(chan int)
)

func newEntry(i int) *entry { return &entry{nil, fmt.Sprint("a rather long name ", i)} }

//go:noinline
func heldByLocal() {
	entries := handed
	handed = nil
	waiting <- 1
	<-never
	runtime.KeepAlive(entries)
}

// Plant builds what the plugin holds.
func Plant(plant func(root, typ string, build func())) {
	const n = 200
	plant("goroutine foreign/plug.heldByLocal", "main.entry", func() {
		handed = make([]*entry, n)
		for i := range handed {
			handed[i] = newEntry(i)
		}
	})
	go heldByLocal()
	<-waiting
	plant("foreign/plug.cache", "main.entry", func() {
		cache = make(map[string]*entry)
		for i := 0; i < n; i++ {
			cache[fmt.Sprint("a key of the plugin ", i)] = newEntry(i)
		}
	})
	plant("foreign/plug.list", "main.entry", func() {
		for i := 0; i < n; i++ {
			list = &entry{list, fmt.Sprint("the name of a link ", i)}
		}
	})
	plant("foreign/plug.closures", "main.entry", func() {
		for i := 0; i < n; i++ {
			one, count := newEntry(i), i
			closures = append(closures, func() int { count++; return len(one.name) + count })
		}
	})
	plant("foreign/plug.shapes", "main.square", func() {
		for i := 0; i < n; i++ {
			shapes = append(shapes, &square{1, 2})
		}
	})
	plant("foreign/plug.buffers", "[][]uint8", func() { buffers = make([][]byte, 300) })
	plant("foreign/plug.bound", "main.square", func() { bound = (&square{2, 3}).area })
}

func main() {}

package main

import (
	"runtime"
	"sync"
	"unsafe"
)

// A size class (1,152 bytes) of which seven objects share a page of 8 KiB, and which nothing
// else of the program needs.
type chip struct{ words [144]int }

var chips []*chip

type page struct{ bytes []byte }

type pooling struct {
	pages sync.Pool
	names sync.Map
}

var (
	pagePool sync.Pool
	// The compiler lays this pool out without a name.
	staticPool = &sync.Pool{New: func() any { return new(page) }}
	// The interface tells its type also where debug information is gone.
	held any
)

const (
	smallPages, smallPage = 60, 4096
	hugePages, hugePage   = 3, 1 << 20
	oldPages, oldPage     = 20, 8192
)

func init() {
	plantMore = append(plantMore, func() { plant("main.chips", "main.chip", scatter) })
}

// scatter keeps one of the seven objects of each page.
func scatter() {
	const count, share = 700, 7
	all := make([]*chip, count)
	pages := make(map[uintptr]int)
	for i := range all {
		all[i] = &chip{}
		pages[uintptr(unsafe.Pointer(all[i]))>>13]++
	}
	kept := make(map[uintptr]bool)
	for _, one := range all {
		at := uintptr(unsafe.Pointer(one)) >> 13
		if pages[at] == share && !kept[at] {
			kept[at] = true
			chips = append(chips, one)
		}
	}
}

// fillPools runs when no collection will follow: it would empty them.
func fillPools() {
	pooling := &pooling{}
	held = pooling
	for i := 0; i < 50; i++ {
		pooling.names.Store(i, &page{})
	}
	put := func(pool *sync.Pool, count, size int) {
		pages := make([]*page, count)
		for i := range pages {
			pages[i] = &page{make([]byte, size)}
		}
		for _, one := range pages {
			pool.Put(one)
		}
	}
	put(&pagePool, oldPages, oldPage)
	// What is in pools now is what they held before this collection.
	runtime.GC()
	put(&pagePool, smallPages, smallPage)
	put(&pagePool, hugePages, hugePage)
	put(staticPool, 1, smallPage)
	put(&pooling.pages, 2, smallPage)
}

// classes counts the objects of each size class by the runtime's own count.
func classes(stats *runtime.MemStats) [][2]uint64 {
	var all [][2]uint64
	for _, class := range stats.BySize {
		all = append(all, [2]uint64{uint64(class.Size), class.Mallocs - class.Frees})
	}
	return all
}

// Foreign is a program that is not all Go's: it calls C, C calls it, and it loads a plugin.
// It plants structures that are each held by one root, says how many bytes the runtime
// counts for each, and waits. Whoever reads its heap must find the same.
//
// Usage: foreign [PLUGIN]; it ends when its standard input closes.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"plugin"
	"runtime"
	"runtime/debug"
)

// What is planted: who holds it, how much the heap grew by it, and the type of one of the
// objects that are kept alive.
type planting struct {
	Root  string `json:"root"`
	Bytes uint64 `json:"bytes"`
	Type  string `json:"type"`
	// The function whose variable it is, of what a goroutine holds.
	Frame string `json:"frame,omitempty"`
}

var plantings = make([]planting, 0, 64)

type item struct {
	name  string
	price float64
}

func newItems(n int) []*item {
	items := make([]*item, n)
	for i := range items {
		items[i] = &item{fmt.Sprint("a rather long name ", i), float64(i)}
	}
	return items
}

// The plugin uses this type, too.
var ownBuffers [][]byte

func heapAlloc() uint64 {
	// Twice, so that what the first one finalizes is gone too.
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// plant runs build and notes by how much the live heap grew.
func plant(root, typ string, build func()) {
	before := heapAlloc()
	build()
	after := heapAlloc()
	plantings = append(plantings, planting{root, after - before, typ, ""})
}

var nothing = make([]byte, 1)

func main() {
	// The first use of these allocates what stays.
	fmt.Fprintln(io.Discard, json.NewEncoder(io.Discard).Encode(plantings))
	plant("", "", func() { ownBuffers = make([][]byte, 1) })
	plantings = plantings[:0]
	ownBuffers = nil
	plantC()
	plant("main.ownBuffers", "[][]uint8", func() { ownBuffers = make([][]byte, 100) })
	if len(os.Args) > 1 {
		loaded, err := plugin.Open(os.Args[1])
		if err != nil {
			panic(err)
		}
		found, err := loaded.Lookup("Plant")
		if err != nil {
			panic(err)
		}
		found.(func(func(string, string, func())))(plant)
	}
	if err := json.NewEncoder(os.Stdout).Encode(plantings); err != nil {
		panic(err)
	}
	debug.SetGCPercent(-1)
	heapAlloc()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	const line = `{"version":%q,"heap_alloc":%d,"heap_objects":%d,"heap_in_use":%d}`
	fmt.Printf(line+"\n", runtime.Version(), stats.HeapAlloc, stats.HeapObjects, stats.HeapInuse)
	// Not io.Copy, which allocates.
	os.Stdin.Read(nothing)
}

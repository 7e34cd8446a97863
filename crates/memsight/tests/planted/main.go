// Planted builds structures that are each held by one variable, says how many bytes the
// runtime counts for each, and waits. Whoever reads its heap must find the same.
//
// Usage: planted [-dump FILE] [-scale N]; it ends when its standard input closes.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
)

// What is planted: who holds it, and how much the heap grew by it.
type planting struct {
	Root  string `json:"root"`
	Bytes uint64 `json:"bytes"`
	// A type on the way from the root, and one of the objects that are kept alive.
	Type string `json:"type"`
}

var plantings = make([]planting, 0, 128)

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
	plantings = append(plantings, planting{root, after - before, typ})
}

var nothing = make([]byte, 1)

var scale = flag.Int("scale", 100, "how much of everything")

func main() {
	dump := flag.String("dump", "", "write a heap dump here")
	churn := flag.Bool("churn", false, "collect all the time afterwards")
	still := flag.Bool("still", false, "collect at last, and do nothing afterwards")
	flag.Parse()
	// Only heapAlloc collects: a collection that plantings set off allocates what waits for it.
	debug.SetGCPercent(-1)
	// The first use of these allocates what stays.
	fmt.Fprintln(io.Discard, json.NewEncoder(io.Discard).Encode(plantings))
	plant("", "", func() { linkedList = &node{} })
	plantings, linkedList = plantings[:0], nil
	plantData()
	plantRuntime()
	for _, more := range plantMore {
		more()
	}
	if err := json.NewEncoder(os.Stdout).Encode(plantings); err != nil {
		panic(err)
	}
	heapAlloc()
	if !*churn {
		fillPools()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	if *dump != "" {
		file, err := os.Create(*dump)
		if err != nil {
			panic(err)
		}
		debug.WriteHeapDump(file.Fd())
		file.Close()
	}
	const line = `{"version":%q,"heap_alloc":%d,"heap_objects":%d,"heap_in_use":%d,"num_gc":%d,"chips":%d,"classes":%s}`
	classes, _ := json.Marshal(classes(&stats))
	text := fmt.Sprintf(line+"\n", runtime.Version(), stats.HeapAlloc, stats.HeapObjects, stats.HeapInuse, stats.NumGC, len(chips), classes)
	if *still {
		runtime.GC()
	}
	os.Stdout.WriteString(text)
	if *churn {
		go collect()
	}
	// Not io.Copy, which allocates.
	os.Stdin.Read(nothing)
}

// More of them, by release and experiment.
var plantMore []func()

var garbage []*node

// collect makes garbage among what lives, and lets it be collected.
func collect() {
	for {
		for i := 0; i < 1000; i++ {
			garbage = append(garbage[:0:0], &node{}, &node{})
		}
		runtime.GC()
	}
}

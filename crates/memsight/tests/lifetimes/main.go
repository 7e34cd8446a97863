// Objects whose types, numbers and lifetimes are known.
//
//	lifetimes FILE    records a trace of them, and prints what the runtime counted meanwhile
//	lifetimes serve   keeps objects and makes garbage, with net/http/pprof on a port of its own;
//	                  says where that is, and where the variable behind traceallocfree is
//	lifetimes idle    does nothing
//
// While the trace is recorded the collector runs only when it is called, and twice the runtime
// is asked for its figures: the world is stopped then, which the trace has, too.
package main

import (
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/trace"
	"time"
	"unsafe"
)

// Kept through as many collections as their names say.
type kept0 struct {
	next *kept0
	data [5]int
}
type kept1 struct {
	next *kept1
	data [5]int
}
type kept2 struct {
	next *kept2
	data [5]int
}
type kept3 struct {
	next *kept3
	data [5]int
}
type keptForever struct {
	next *keptForever
	data [5]int
}

// Garbage at once.
type small struct{ data [6]int }
type headered struct {
	next *headered
	data [120]int
}
type large struct {
	next *large
	data [12000]int
}
type tiny struct{ a, b int16 }

var (
	list0       *kept0
	list1       *kept1
	list2       *kept2
	list3       *kept3
	listForever *keptForever
	sink        any
	text        string
	bytes       []byte
	tinySink    *tiny
)

const each = 1000

func allocate() {
	for i := 0; i < each; i++ {
		list0 = &kept0{next: list0}
		list1 = &kept1{next: list1}
		list2 = &kept2{next: list2}
		list3 = &kept3{next: list3}
		listForever = &keptForever{next: listForever}
	}
}

func waste() {
	for i := 0; i < each; i++ {
		sink = &small{}
		sink = &headered{}
		sink = make([]*small, 10)
		tinySink = &tiny{a: 1}
		text = "text " + string(rune('a'+i%26))
		bytes = make([]byte, 100+i)
		if i%100 == 0 {
			sink = &large{}
		}
	}
	sink = nil
}

var tinyAllocs = []metrics.Sample{{Name: "/gc/heap/tiny/allocs:objects"}}

// figures reads what the runtime counts, which empties the caches of the Ps first, so that
// the metric that follows is of the same moment.
func figures(stats *runtime.MemStats) uint64 {
	runtime.ReadMemStats(stats)
	metrics.Read(tinyAllocs)
	return tinyAllocs[0].Value.Uint64()
}

// grow makes the stack large enough for all that follows: it must not grow while objects are
// traced (docs/lifetimes.md says why).
func grow(depth int) byte {
	var space [1024]byte
	if depth == 0 {
		return space[0]
	}
	return grow(depth-1) + space[depth]
}

func record(path string) {
	grow(64)
	debug.SetGCPercent(-1)
	file, err := os.Create(path)
	if err != nil {
		panic(err)
	}
	var first, last runtime.MemStats
	figures(&first)
	runtime.GC()
	if err := trace.Start(file); err != nil {
		panic(err)
	}
	tinyFirst := figures(&first)
	allocate()
	for survived := 0; survived < 5; survived++ {
		switch survived {
		case 0:
			list0 = nil
		case 1:
			list1 = nil
		case 2:
			list2 = nil
		case 3:
			list3 = nil
		}
		waste()
		runtime.GC()
	}
	tinyLast := figures(&last)
	trace.Stop()
	file.Close()
	fmt.Println("mallocs", last.Mallocs-first.Mallocs)
	fmt.Println("frees", last.Frees-first.Frees)
	fmt.Println("bytes", last.TotalAlloc-first.TotalAlloc)
	fmt.Println("tiny", tinyLast-tinyFirst)
	fmt.Println("objects", first.HeapObjects, last.HeapObjects)
	fmt.Println("heap", first.HeapAlloc, last.HeapAlloc)
	fmt.Println("gcs", last.NumGC-first.NumGC)
	runtime.KeepAlive(listForever)
}

// dbgVar is the runtime's own entry for a variable of GODEBUG.
type dbgVar struct {
	name   string
	value  *int32
	atomic *int32
	def    int32
}

//go:linkname dbgvars runtime.dbgvars
var dbgvars []*dbgVar

func variable() unsafe.Pointer {
	for _, v := range dbgvars {
		if v.name == "traceallocfree" {
			return unsafe.Pointer(v.atomic)
		}
	}
	return nil
}

func serve() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	allocate()
	for i := 0; i < 20*each; i++ {
		listForever = &keptForever{next: listForever}
	}
	go func() {
		grow(64)
		for {
			waste()
			time.Sleep(5 * time.Millisecond)
		}
	}()
	fmt.Println("serving", listener.Addr(), uintptr(variable()))
	panic(http.Serve(listener, nil))
}

func main() {
	switch os.Args[1] {
	case "serve":
		serve()
	case "idle":
		fmt.Println("idle")
		time.Sleep(time.Hour)
	default:
		record(os.Args[1])
	}
}

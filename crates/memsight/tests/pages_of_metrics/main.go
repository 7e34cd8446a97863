// Command pages shows its metrics on the pages that memsight knows: expvar, the text of a heap
// profile, and one for Prometheus with some of the names that client_golang gives. It prints
// the address and ends when its standard input does.
package main

import (
	_ "expvar"
	"fmt"
	"io"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
	"runtime/metrics"
)

var kept [][]byte

// exported are metrics by the names that client_golang gives them.
var exported = map[string]string{
	"/gc/heap/allocs:bytes":         "go_gc_heap_allocs_bytes_total",
	"/gc/heap/frees:objects":        "go_gc_heap_frees_objects_total",
	"/gc/cycles/total:gc-cycles":    "go_gc_cycles_total_gc_cycles_total",
	"/memory/classes/total:bytes":   "go_memory_classes_total_bytes",
	"/sched/gomaxprocs:threads":     "go_sched_gomaxprocs_threads",
	"/gc/stack/starting-size:bytes": "go_gc_stack_starting_size_bytes",
}

func prometheus(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintf(w, "# TYPE go_info gauge\ngo_info{version=%q} 1\n", runtime.Version())
	for name, exported := range exported {
		sample := []metrics.Sample{{Name: name}}
		metrics.Read(sample)
		fmt.Fprintf(w, "# TYPE %s untyped\n%s %v\n", exported, exported, float64(sample[0].Value.Uint64()))
	}
}

func main() {
	for i := 0; i < 5000; i++ {
		kept = append(kept, make([]byte, i))
	}
	kept = kept[2500:]
	runtime.GC()
	if len(os.Args) > 1 {
		http.HandleFunc("/metrics", prometheus)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go http.Serve(listener, nil)
	fmt.Println(listener.Addr())
	io.Copy(io.Discard, os.Stdin)
}

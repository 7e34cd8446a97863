// Command collecting makes garbage in a heap that grows, prints half lines to standard error
// meanwhile, and ends with the runtime's own counts as JSON on standard output.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"
)

var kept [][]byte

func main() {
	megabytes, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	for i := 0; i < megabytes; i++ {
		kept = append(kept, make([]byte, 1<<20))
		for k := 0; k < 4; k++ {
			_ = append([]byte(nil), make([]byte, 1<<20)...)
		}
		if i%16 == 0 {
			fmt.Fprint(os.Stderr, "half a line, ")
			runtime.GC()
			fmt.Fprintln(os.Stderr, "and its end")
		}
		time.Sleep(time.Millisecond)
	}
	// The line of a cycle is printed before the call returns.
	runtime.GC()
	debug.SetGCPercent(-1)
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"cycles": stats.NumGC, "forced": stats.NumForcedGC, "pause_ns": stats.PauseTotalNs,
	})
	runtime.KeepAlive(kept)
	os.Exit(7)
}

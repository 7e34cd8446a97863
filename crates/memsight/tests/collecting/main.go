// Command collecting makes garbage in a heap that grows and ends with the runtime's own counts
// as JSON on standard output. With the argument "loud" it prints half lines to standard error
// meanwhile, at moments when the runtime should print nothing: that writes a line in pieces,
// and another write may fall between them.
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
	isLoud := len(os.Args) > 2 && os.Args[2] == "loud"
	for i := 0; i < megabytes; i++ {
		kept = append(kept, make([]byte, 1<<20))
		for k := 0; k < 4; k++ {
			_ = append([]byte(nil), make([]byte, 1<<20)...)
		}
		if i%16 == 0 {
			if isLoud {
				time.Sleep(10 * time.Millisecond)
				fmt.Fprint(os.Stderr, "half a line, ")
			}
			runtime.GC()
			if isLoud {
				time.Sleep(10 * time.Millisecond)
				fmt.Fprintln(os.Stderr, "and its end")
			}
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

// Command subject holds memory in known ways, writes its own heap profile and
// memory figures, and then waits until its standard input closes.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"time"
)

type order struct {
	items [64]int64
	next  *order
}

var (
	orders *order
	blobs  [][]byte
	texts  = map[int]string{}
)

//go:noinline
func keepOrders(n int) {
	for i := 0; i < n; i++ {
		orders = &order{next: orders}
	}
}

func inlined(n int) []byte { return make([]byte, n) }

//go:noinline
func keepBlobs(n int) {
	for i := 0; i < n; i++ {
		blobs = append(blobs, inlined(4096))
	}
}

func generic[T any](n int) []T { return make([]T, n) }

//go:noinline
func keepTexts(n int) {
	for i := 0; i < n; i++ {
		texts[i] = fmt.Sprintf("%032d", i) + string(generic[byte](16))
	}
}

func blocked(c chan int) { <-c }

func main() {
	runtime.MemProfileRate = 4096
	keepOrders(4000)
	keepBlobs(2000)
	keepTexts(4000)
	c := make(chan int)
	for i := 0; i < 25; i++ {
		go blocked(c)
	}
	go func() { select {} }()
	time.Sleep(50 * time.Millisecond)
	debug.SetGCPercent(-1)
	for i := 0; i < 3; i++ {
		runtime.GC()
	}
	profile, err := os.Create(os.Args[1])
	if err != nil {
		panic(err)
	}
	if err := pprof.Lookup("heap").WriteTo(profile, 0); err != nil {
		panic(err)
	}
	profile.Close()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"stats": stats, "goroutines": runtime.NumGoroutine(), "live": live[0].Value.Uint64(),
	})
	io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(orders)
}

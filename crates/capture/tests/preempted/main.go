// Preempted has goroutines that never wait and share one processor, each with an object to which
// only a vector register points. It ends when it is killed.
package main

import (
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"time"
	"unsafe"
)

type hidden struct {
	_ *hidden
	_ [64 << 10]byte
}

//go:noinline
func hide(p *hidden) float64 { return math.Float64frombits(uint64(uintptr(unsafe.Pointer(p)))) }

//go:noinline
func spin(bits float64) float64 {
	sum := 0.0
	for i := int64(0); i >= 0; i++ {
		sum += bits * float64(i)
	}
	return sum
}

func hold(i int) {
	bits := hide(new(hidden))
	// Nothing is collected here, and all other registers get other values.
	runtime.Gosched()
	sums[i] = spin(bits)
}

var sums [3]float64

func main() {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(-1)
	for i := range sums {
		go hold(i)
		time.Sleep(50 * time.Millisecond)
	}
	for range 3 {
		runtime.GC()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	const line = `{"version":%q,"heap_alloc":%d,"heap_in_use":%d}`
	fmt.Printf("\n"+line+"\n", runtime.Version(), stats.HeapAlloc, stats.HeapInuse)
	select {}
}

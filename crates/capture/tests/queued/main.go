// Queued has finalizers, and cleanups where there are some, that wait for one that does not
// return: what they are to be called with is alive only because they wait. It says how much
// that is and how large its heap is, and waits itself; it ends when its standard input closes.
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
)

const (
	count = 300
	bytes = 16 << 10
)

type payload struct {
	bytes *[bytes]byte
	next  *payload
}

func newPayload() *payload { return &payload{bytes: new([bytes]byte)} }

var (
	begun   = make(chan int, 64)
	never   = make(chan int)
	nothing = make([]byte, 1)
)

// More of them, by release: how many payloads wait in the end.
var plantMore []func() int

//go:noinline
func plantFinalizers() int {
	runtime.SetFinalizer(newPayload(), func(*payload) {
		begun <- 1
		<-never
	})
	runtime.GC()
	<-begun
	for i := 0; i < count; i++ {
		runtime.SetFinalizer(newPayload(), func(p *payload) { p.next = p })
	}
	return count
}

func main() {
	waiting := plantFinalizers()
	for _, more := range plantMore {
		waiting += more()
	}
	debug.SetGCPercent(-1)
	// The first one queues them, the second one finds them in the queue.
	for i := 0; i < 3; i++ {
		runtime.GC()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	const line = `{"version":%q,"heap_alloc":%d,"heap_in_use":%d,"waiting_bytes":%d}`
	fmt.Printf("\n"+line+"\n", runtime.Version(), stats.HeapAlloc, stats.HeapInuse, waiting*bytes)
	os.Stdin.Read(nothing)
}

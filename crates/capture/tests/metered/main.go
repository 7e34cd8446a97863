// Command metered does a little of all that the runtime counts, and then says what
// runtime/metrics says of it, once for each byte on its standard input.
//
// While it waits for a byte nothing in it moves: the goroutine that asked is still running,
// in a system call that the scheduler does not know of, and nothing was allocated since.
//
// With SPIN in its environment it allocates and reads its metrics all the time instead, and
// says nothing.
package main

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

type node struct {
	next *node
	data [40]byte
}

var (
	kept   *node
	blocks [][]byte
	tiny   []*int32
)

//go:noinline
func allocate() {
	for i := 0; i < 3000; i++ {
		kept = &node{next: kept}
		blocks = append(blocks, make([]byte, 1<<(i%14)))
		n := int32(i)
		tiny = append(tiny, &n)
	}
	blocks = append(blocks, make([]byte, 200<<10))
	blocks = blocks[len(blocks)/2:]
}

// contend makes goroutines wait for a mutex.
func contend() {
	var mutex sync.Mutex
	var all sync.WaitGroup
	for i := 0; i < 4; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			mutex.Lock()
			time.Sleep(2 * time.Millisecond)
			mutex.Unlock()
		}()
	}
	all.Wait()
}

// finalize makes finalizers due; one stays blocked in its queue.
func finalize() {
	for i := 0; i < 50; i++ {
		object := &node{}
		runtime.SetFinalizer(object, func(*node) {})
	}
}

// scatter leaves goroutines in each state that lasts.
func scatter() {
	forever := make(chan int)
	for i := 0; i < 7; i++ {
		go func() { <-forever }()
	}
	for i := 0; i < 3; i++ {
		pipe := make([]int, 2)
		if err := syscall.Pipe(pipe); err != nil {
			panic(err)
		}
		go func() { syscall.Read(pipe[0], make([]byte, 1)) }()
	}
	for i := 0; i < 100; i++ {
		go func() {}()
	}
}

func main() {
	for i := 0; i < 6; i++ {
		allocate()
		finalize()
		cleanUp()
		callC()
		contend()
		runtime.GC()
	}
	if os.Getenv("SPIN") != "" {
		spin()
	}
	scatter()
	time.Sleep(100 * time.Millisecond)
	// Nothing collects while the program rests.
	debug.SetGCPercent(gogc())
	say()
}

// spin turns the ring of the heap's figures as fast as it can.
func spin() {
	go func() {
		for {
			kept = &node{}
		}
	}()
	go func() {
		sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
		for {
			metrics.Read(sample)
		}
	}()
	os.Stdout.WriteString("end\n")
	os.Stdin.Read(make([]byte, 1))
	os.Exit(0)
}

func gogc() int {
	if percent, err := strconv.Atoi(os.Getenv("GOGC")); err == nil {
		return percent
	}
	return 100
}

func say() {
	var names []string
	for _, metric := range metrics.All() {
		if strings.HasPrefix(metric.Name, "/godebug/") {
			continue
		}
		names = append(names, metric.Name)
	}
	samples := make([]metrics.Sample, len(names))
	for i := range samples {
		samples[i].Name = names[i]
	}
	var stats debug.GCStats
	stats.PauseQuantiles = make([]time.Duration, 5)
	out := make([]byte, 0, 1<<20)
	input := make([]byte, 1)
	metrics.Read(samples)
	debug.ReadGCStats(&stats)
	for _, metric := range metrics.All() {
		if !strings.HasPrefix(metric.Name, "/godebug/") {
			out = append(out, "metric "+metric.Name+" "...)
			out = strconv.AppendInt(out, int64(metric.Kind), 10)
			out = strconv.AppendBool(append(out, ' '), metric.Cumulative)
			out = append(out, '\n')
		}
	}
	runtime.GC()
	time.Sleep(50 * time.Millisecond)
	debug.ReadGCStats(&stats)
	out = append(out, "goroutines "...)
	out = strconv.AppendInt(out, int64(runtime.NumGoroutine()), 10)
	out = append(out, "\npauses"...)
	for _, pause := range stats.PauseQuantiles {
		out = strconv.AppendInt(append(out, ' '), int64(pause), 10)
	}
	out = append(out, "\npause_total "...)
	out = strconv.AppendInt(out, int64(stats.PauseTotal), 10)
	out = append(out, "\nlast_gc "...)
	out = strconv.AppendInt(out, stats.LastGC.UnixNano(), 10)
	out = append(out, '\n')
	metrics.Read(samples)
	for {
		metrics.Read(samples)
		for i := range samples {
			out = value(out, &samples[i])
		}
		out = append(out, "end\n"...)
		for len(out) > 0 {
			n, _, _ := syscall.RawSyscall(syscall.SYS_WRITE, 1, uintptr(unsafe.Pointer(&out[0])), uintptr(len(out)))
			if int(n) <= 0 {
				os.Exit(1)
			}
			out = out[:copy(out, out[n:])]
		}
		n, _, _ := syscall.RawSyscall(syscall.SYS_READ, 0, uintptr(unsafe.Pointer(&input[0])), 1)
		if n != 1 {
			os.Exit(0)
		}
	}
}

// value appends a value with the bits of its fractions, without allocating.
func value(out []byte, sample *metrics.Sample) []byte {
	out = append(append(out, "value "...), sample.Name...)
	out = append(out, ' ')
	bits := func(f float64) { out = strconv.AppendUint(append(out, ' '), math.Float64bits(f), 10) }
	switch sample.Value.Kind() {
	case metrics.KindUint64:
		out = strconv.AppendUint(append(out, "unsigned "...), sample.Value.Uint64(), 10)
	case metrics.KindFloat64:
		out = append(out, "float"...)
		bits(sample.Value.Float64())
	case metrics.KindFloat64Histogram:
		histogram := sample.Value.Float64Histogram()
		out = append(out, "histogram"...)
		for i, count := range histogram.Counts {
			bits(histogram.Buckets[i])
			out = strconv.AppendUint(append(out, ' '), count, 10)
		}
		bits(histogram.Buckets[len(histogram.Counts)])
	}
	return append(out, '\n')
}

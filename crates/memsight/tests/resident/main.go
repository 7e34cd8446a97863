// Command resident makes its resident memory consist of what its argument says, prints what
// the runtime counts, and waits until its standard input ends.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
	"unsafe"
)

const mib = 1 << 20

var keep []any

var modes = map[string]func(size int){
	"live":       live,
	"idle":       idle,
	"released":   released,
	"headroom":   headroom,
	"fragmented": fragmented,
	"stacks":     stacks,
	"file":       file,
	"anonymous":  anonymous,
	"shared":     shared,
	"huge":       huge,
	"returned":   returned,
	"load":       load,
	"threads":    threads,
	"busy":       busy,
	"dead":       dead,
	"nothing":    func(int) {},
}

type node struct {
	next *node
	data [120]byte
}

func live(size int) {
	var head *node
	for i := 0; i < size/128; i++ {
		head = &node{next: head}
		head.data[0] = 1
	}
	keep = append(keep, head)
	runtime.GC()
}

func touched(size int) []byte {
	b := make([]byte, size)
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	return b
}

func idle(size int) {
	blocks := make([][]byte, 0)
	for i := 0; i < size/mib; i++ {
		blocks = append(blocks, touched(mib))
	}
	runtime.KeepAlive(blocks)
	blocks = nil
	runtime.GC()
}

func released(size int) {
	idle(size)
	debug.FreeOSMemory()
}

var sink []byte

// headroom lives on two thirds of its size and has allocated the rest since the last
// collection.
func headroom(size int) {
	keep = append(keep, touched(size/3))
	runtime.GC()
	for i := 0; i < size*2/7/4096; i++ {
		sink = make([]byte, 4096)
		sink[0] = 1
	}
}

// fragmented keeps one object of each span.
func fragmented(size int) {
	all := make([]*node, size/128)
	for i := range all {
		all[i] = new(node)
		all[i].data[0] = 1
	}
	var kept []*node
	for i := 0; i < len(all); i += 64 {
		kept = append(kept, all[i])
	}
	runtime.KeepAlive(all)
	all = nil
	keep = append(keep, kept)
	runtime.GC()
	debug.FreeOSMemory()
}

//go:noinline
func deep(depth int, ready *sync.WaitGroup, stop chan struct{}) byte {
	var frame [1024]byte
	for i := range frame {
		frame[i] = byte(depth)
	}
	if depth == 0 {
		ready.Done()
		<-stop
		return frame[17]
	}
	return frame[depth] + deep(depth-1, ready, stop)
}

func stacks(size int) {
	var ready sync.WaitGroup
	stop := make(chan struct{})
	for i := 0; i < size/(32<<10); i++ {
		ready.Add(1)
		go deep(24, &ready, stop)
	}
	ready.Wait()
	runtime.GC()
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func file(size int) {
	f, err := os.CreateTemp("", "resident")
	check(err)
	check(os.Remove(f.Name()))
	block := touched(mib)
	for i := 0; i < size/mib; i++ {
		_, err := f.Write(block)
		check(err)
	}
	m, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ, syscall.MAP_SHARED)
	check(err)
	sum := 0
	for i := 0; i < len(m); i += 4096 {
		sum += int(m[i])
	}
	keep = append(keep, sum, m)
	block = nil
	debug.FreeOSMemory()
}

func mapped(size, flags int) []byte {
	m, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, flags|syscall.MAP_ANON)
	check(err)
	for i := 0; i < len(m); i += 4096 {
		m[i] = 1
	}
	return m
}

func anonymous(size int) { keep = append(keep, mapped(size, syscall.MAP_PRIVATE)) }
func shared(size int)    { keep = append(keep, mapped(size, syscall.MAP_SHARED)) }

const (
	madvHugePage = 14
	madvCollapse = 25
)

// aligned is the part of b that consists of whole huge pages.
func aligned(b []byte) []byte {
	start := uintptr(unsafe.Pointer(&b[0]))
	from := (2*mib - start%(2*mib)) % (2 * mib)
	to := (start+uintptr(len(b)))/(2*mib)*(2*mib) - start
	return b[from:to]
}

func huge(size int) {
	b := make([]byte, size)
	check(syscall.Madvise(aligned(b), madvHugePage))
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	keep = append(keep, b)
	runtime.GC()
}

// returned gives memory back and lets the kernel make huge pages of it, as it does by
// itself in time where pages that are still used are among it.
func returned(size int) {
	blocks := make([][]byte, size/(16<<10))
	for i := range blocks {
		blocks[i] = touched(16 << 10)
	}
	var kept [][]byte
	for i := 0; i < len(blocks); i += 64 {
		kept = append(kept, blocks[i])
	}
	runtime.KeepAlive(blocks)
	blocks = nil
	keep = append(keep, kept)
	debug.FreeOSMemory()
	low, high := uintptr(unsafe.Pointer(&kept[0][0])), uintptr(unsafe.Pointer(&kept[0][0]))
	for _, b := range kept {
		at := uintptr(unsafe.Pointer(&b[0]))
		low, high = min2(low, at), max2(high, at)
	}
	low = (low + 2*mib - 1) / (2 * mib) * (2 * mib)
	for at := low; at+2*mib <= high; at += 2 * mib {
		syscall.Syscall(syscall.SYS_MADVISE, at, 2*mib, madvCollapse)
	}
}

func min2(a, b uintptr) uintptr {
	if a < b {
		return a
	}
	return b
}

func max2(a, b uintptr) uintptr {
	if a > b {
		return a
	}
	return b
}

// load allocates objects of all sizes and lets most of them go.
func load(size int) {
	ring := make([][]byte, 4096)
	total, n := 0, 0
	for total < size*4 {
		n++
		length := 8 << (n * 7 % 14)
		b := make([]byte, length+n%97)
		b[0] = 1
		ring[n*31%len(ring)] = b
		total += len(b)
		if n%50 == 0 {
			keep = append(keep, &node{})
		}
	}
	keep = append(keep, ring)
}

// dead stops itself when a collection has found every other object dead and the sweeper, with
// one processor and at most ten spans before it yields, has not come far. A large part of the
// heap lives, or the next allocation would have to sweep all of it.
func dead(size int) {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(30)
	all := make([]*node, size/128)
	var kept []*node
	for i := range all {
		all[i] = new(node)
		all[i].data[0] = 1
		if i%2 == 0 {
			kept = append(kept, all[i])
		}
	}
	keep = append(keep, touched(size), all, kept)
	runtime.GC()
	all = nil
	var stats debug.GCStats
	debug.ReadGCStats(&stats)
	keep[1] = nil
	for before := stats.NumGC; stats.NumGC == before; debug.ReadGCStats(&stats) {
		sink = make([]byte, 256<<10)
	}
	syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	// Until all threads stand still: the sweeper must not have the processor to itself.
	for {
	}
}

// busy allocates until the program ends.
func busy(size int) {
	for i := 0; i < 2; i++ {
		go func() {
			for {
				ring := make([][]byte, 1<<12)
				for i := 0; i < 1<<16; i++ {
					ring[i%len(ring)] = make([]byte, 16<<(i%8))
				}
			}
		}()
	}
	live(size / 4)
}

// threads blocks as many threads.
func threads(int) {
	var ready sync.WaitGroup
	for i := 0; i < 50; i++ {
		ready.Add(1)
		go func() {
			runtime.LockOSThread()
			ready.Done()
			select {}
		}()
	}
	ready.Wait()
}

func main() {
	size, err := strconv.Atoi(os.Args[2])
	check(err)
	mode, ok := modes[os.Args[1]]
	if !ok {
		check(fmt.Errorf("no mode %s", os.Args[1]))
	}
	mode(size * mib)
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	out, err := json.Marshal(map[string]any{
		"version": runtime.Version(), "heap_in_use": stats.HeapInuse, "heap_alloc": stats.HeapAlloc,
		"heap_idle": stats.HeapIdle, "heap_released": stats.HeapReleased,
		"stack_in_use": stats.StackInuse, "mspan_in_use": stats.MSpanInuse,
		"mspan_sys": stats.MSpanSys, "buckhash_sys": stats.BuckHashSys, "gc_sys": stats.GCSys,
		"other_sys": stats.OtherSys, "goroutines": runtime.NumGoroutine(), "sys": stats.Sys,
	})
	check(err)
	fmt.Println(string(out))
	io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(keep)
}

// Records a trace with most kinds of events in it: goroutines that block on everything there
// is, system calls, collections with assists, tasks, regions, logs, coroutines, CPU samples.
//
//	generator FILE ITEMS
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"runtime/trace"
	"strconv"
	"sync"
	"time"
)

type node struct {
	left, right *node
	weight      [4]int
}

var (
	kept   []*node
	keptMu sync.RWMutex
	sink   any
)

func tree(depth int) *node {
	if depth == 0 {
		return nil
	}
	return &node{left: tree(depth - 1), right: tree(depth - 1)}
}

// work passes items on, and does now and then what else there is to do.
func work(ctx context.Context, in <-chan int, out chan<- int) {
	mark := trace.StartRegion(ctx, "worker")
	defer mark.End()
	for item := range in {
		if item%8 == 0 {
			sink = tree(5)
			// Garbage, for a few collections.
			sink = make([]byte, 32<<10)
		}
		if item%100 == 0 {
			keptMu.Lock()
			kept = append(kept, tree(4))
			if len(kept) > 2000 {
				kept = kept[1000:]
			}
			keptMu.Unlock()
		}
		if item%500 == 0 {
			ctx, task := trace.NewTask(ctx, "batch")
			trace.WithRegion(ctx, "sleeping", func() {
				trace.Log(ctx, "item", strconv.Itoa(item))
				time.Sleep(20 * time.Microsecond)
			})
			task.End()
		}
		if item%64 == 0 {
			runtime.Gosched()
		}
		out <- item
	}
}

// spin burns CPU, so that the profiler has something to take.
func spin(until <-chan struct{}) {
	for {
		select {
		case <-until:
			return
		default:
			for range [1000]struct{}{} {
				sink = nil
			}
			runtime.Gosched()
		}
	}
}

// network echoes over a real connection, which blocks in the poller.
func network(rounds int) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return
	}
	defer listener.Close()
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			io.Copy(conn, conn)
			conn.Close()
		}
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return
	}
	defer conn.Close()
	buffer := make([]byte, 4)
	for range make([]struct{}, rounds) {
		conn.Write([]byte("ping"))
		io.ReadFull(conn, buffer)
	}
}

func files(rounds int) {
	for range make([]struct{}, rounds) {
		content, _ := os.ReadFile("/proc/self/status")
		sink = bytes.ToUpper(content)
	}
}

func main() {
	items, err := strconv.Atoi(os.Args[2])
	if err != nil {
		panic(err)
	}
	debug.SetGCPercent(50)
	sink = tree(14)
	kept = append(kept, sink.(*node))
	file, err := os.Create(os.Args[1])
	if err != nil {
		panic(err)
	}
	blocked := make(chan struct{})
	go func() { <-blocked }()
	pprof.StartCPUProfile(io.Discard)
	if err := trace.Start(file); err != nil {
		panic(err)
	}
	in, out, stop := make(chan int), make(chan int), make(chan struct{})
	ctx := pprofContext()
	var workers, others sync.WaitGroup
	for range [8]struct{}{} {
		workers.Add(1)
		go func() { defer workers.Done(); work(ctx, in, out) }()
	}
	run := func(what func()) { others.Add(1); go func() { defer others.Done(); what() }() }
	run(func() {
		for range out {
		}
	})
	run(func() { spin(stop) })
	run(func() { network(items / 100) })
	run(func() { files(items / 100) })
	run(func() { coroutines(items / 50) })
	for item := 0; item < items; item++ {
		in <- item
		if item == items/2 {
			runtime.GC()
			go func() { sink = tree(3) }()
		}
	}
	close(in)
	workers.Wait()
	close(out)
	close(stop)
	others.Wait()
	trace.Stop()
	pprof.StopCPUProfile()
	close(blocked)
	if err := file.Close(); err != nil {
		panic(err)
	}
	fmt.Println(runtime.Version())
}

func pprofContext() context.Context {
	ctx, _ := trace.NewTask(context.Background(), "all")
	return ctx
}

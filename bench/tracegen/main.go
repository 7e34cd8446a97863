// Writes an execution trace of a given size: goroutines that pass items on, and in the mode
// mixed also allocate, so that the collector has something to do.
//
//	tracegen -o FILE -mb SIZE [-mode mixed|sched]
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/trace"
	"sync"
	"sync/atomic"
	"time"
)

type node struct {
	left, right *node
	key         int
	values      [3]int64
}

type big struct {
	tree *node
	data [1000]byte
}

// counted counts what goes through it.
type counted struct {
	to    io.Writer
	bytes atomic.Int64
}

func (c *counted) Write(data []byte) (int, error) {
	n, err := c.to.Write(data)
	c.bytes.Add(int64(n))
	return n, err
}

var (
	sink   any
	kept   []*node
	keptMu sync.Mutex
)

func tree(depth int) *node {
	if depth == 0 {
		return nil
	}
	return &node{left: tree(depth - 1), right: tree(depth - 1), key: depth}
}

func allocate(worker, turn int) {
	root := tree(4)
	if turn%100 == 0 {
		keptMu.Lock()
		if kept = append(kept, root); len(kept) > 5000 {
			kept = kept[2500:]
		}
		keptMu.Unlock()
	}
	sink = &big{tree: root}
	if turn%50 == 0 {
		sink = new([8192]*node)
	}
	sink = fmt.Sprintf("item-%d-%d", worker, turn)
	sink = make([]byte, 64+turn%2000)
}

func work(worker int, in <-chan int, out chan<- int, allocates bool) {
	turn := 0
	for item := range in {
		turn++
		if allocates || turn%64 == 0 {
			allocate(worker, turn)
		}
		if turn%1000 == 0 {
			ctx, task := trace.NewTask(context.Background(), "batch")
			trace.WithRegion(ctx, "region", func() {
				trace.Log(ctx, "turn", "a thousand")
				time.Sleep(50 * time.Microsecond)
			})
			task.End()
		}
		out <- item
		if turn%16 == 0 {
			runtime.Gosched()
		}
	}
}

func main() {
	path := flag.String("o", "out.trace", "the file")
	megabytes := flag.Int64("mb", 100, "its size")
	mode := flag.String("mode", "mixed", "mixed or sched")
	flag.Parse()
	live := tree(14)
	file, err := os.Create(*path)
	if err != nil {
		panic(err)
	}
	out := &counted{to: file}
	if err := trace.Start(out); err != nil {
		panic(err)
	}
	items, results, done := make(chan int), make(chan int), make(chan struct{})
	var workers sync.WaitGroup
	for worker := 0; worker < 16; worker++ {
		workers.Add(1)
		go func(worker int) {
			defer workers.Done()
			work(worker, items, results, *mode == "mixed")
		}(worker)
	}
	go func() {
		for range results {
		}
		close(done)
	}()
	for item := 0; out.bytes.Load() < *megabytes<<20; item++ {
		items <- item
	}
	close(items)
	workers.Wait()
	close(results)
	<-done
	trace.Stop()
	runtime.KeepAlive(live)
	if err := file.Close(); err != nil {
		panic(err)
	}
}

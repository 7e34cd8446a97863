// Work as a service does it: builds a large map of small objects, looks things up, drops it. With
// "allocations" it only allocates, on two goroutines. One round for each line of input; answers with
// the CPU time that the round took, in nanoseconds.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime/pprof"
	"sync"
	"syscall"
)

type order struct {
	id    int
	name  string
	items []int
}

var kept map[int]*order

func round() int {
	orders := make(map[int]*order)
	for id := range make([]struct{}, 200_000) {
		orders[id] = &order{id: id, name: fmt.Sprintf("order %d", id), items: make([]int, 8)}
	}
	sum := 0
	for pass := 0; pass < 3; pass++ {
		for id := range orders {
			sum += len(orders[id].name) + orders[id].items[0]
		}
	}
	kept = orders
	return sum
}

var sinks [2]struct {
	object *[12]int
	bytes  []byte
	_      [64]byte
}

func allocate() {
	var both sync.WaitGroup
	for worker := range sinks {
		both.Add(1)
		go func(worker int) {
			defer both.Done()
			for i := 0; i < 750_000; i++ {
				sinks[worker].object = new([12]int)
				sinks[worker].bytes = make([]byte, 16+i*37%2000)
			}
		}(worker)
	}
	both.Wait()
}

func cpu() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}

func main() {
	work := func() { round() }
	if len(os.Args) > 1 {
		work = allocate
	}
	if len(os.Args) > 2 {
		// Never asked for: without this the linker switches sampling off.
		pprof.Lookup("heap").WriteTo(os.Stderr, 0)
	}
	lines := bufio.NewReader(os.Stdin)
	for {
		if _, err := lines.ReadString('\n'); err != nil {
			return
		}
		begun := cpu()
		work()
		fmt.Println(cpu() - begun)
	}
}

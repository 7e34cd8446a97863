// Allocates at known sites when it is told to, and says what its own sampler took meanwhile.
//
//	keep N, drop N    N objects that live, N that die; then the numbers of the sampler
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"
)

type node struct {
	next *node
	data [1000]byte
}

var (
	kept *node
	sink []byte
)

//go:noinline
func keep() { kept = &node{next: kept} }

//go:noinline
func drop() { sink = make([]byte, 4096) }

// large objects are each sampled.
//
//go:noinline
func large() { sink = make([]byte, 3<<20) }

// say prints what the sampler took for each function: allocated and freed, objects and bytes.
func say() {
	// What is dead is known after two collections and the sweep behind them.
	for range [3]struct{}{} {
		runtime.GC()
	}
	records := make([]runtime.MemProfileRecord, 10_000)
	count, ok := runtime.MemProfile(records, true)
	if !ok {
		panic("too many records")
	}
	sums := map[string][4]int64{}
	for _, record := range records[:count] {
		frames := runtime.CallersFrames(record.Stack())
		for {
			frame, more := frames.Next()
			switch frame.Function {
			case "main.keep", "main.drop", "main.large":
				sum := sums[frame.Function]
				sum[0] += record.AllocObjects
				sum[1] += record.FreeObjects
				sum[2] += record.AllocBytes
				sum[3] += record.FreeBytes
				sums[frame.Function] = sum
			}
			if !more {
				break
			}
		}
	}
	for _, name := range []string{"main.keep", "main.drop", "main.large"} {
		sum := sums[name]
		fmt.Println(name, sum[0], sum[1], sum[2], sum[3])
	}
	fmt.Println("done")
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	say()
	for lines.Scan() {
		var what string
		var times int
		fmt.Sscan(strings.TrimSpace(lines.Text()), &what, &times)
		for i := 0; i < times; i++ {
			switch what {
			case "keep":
				keep()
			case "drop":
				drop()
			case "large":
				large()
			}
		}
		say()
	}
}

// Command climb fills memory as its standard input tells it to, one command a line, and
// answers "done" to each: "step MIB" at once, "climb MIB MILLIS" over time, "garbage MIB",
// "gc". It ends when its standard input closes.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"time"
)

const page = 4096

var hoarded [][]byte

//go:noinline
func hoard(size int) {
	block := make([]byte, size)
	for i := 0; i < size; i += page {
		block[i] = 1
	}
	hoarded = append(hoarded, block)
}

//go:noinline
func churn(size int) {
	block := make([]byte, size)
	for i := 0; i < size; i += page {
		block[i] = 1
	}
}

func climb(mib, millis int) {
	const block = 256 << 10
	blocks := mib << 20 / block
	started := time.Now()
	for i := 0; i < blocks; i++ {
		hoard(block)
		due := time.Duration(millis) * time.Millisecond * time.Duration(i) / time.Duration(blocks)
		time.Sleep(due - time.Since(started))
	}
}

func main() {
	if len(os.Args) > 1 {
		// Never asked for: without this the linker switches sampling off.
		pprof.Lookup("heap").WriteTo(os.Stderr, 0)
	}
	hoard(16 << 20)
	for i := 0; i < 3; i++ {
		runtime.GC()
	}
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var command string
		var mib, millis int
		fmt.Sscan(lines.Text(), &command, &mib, &millis)
		switch command {
		case "step":
			hoard(mib << 20)
		case "climb":
			climb(mib, millis)
		case "garbage":
			for i := 0; i < mib; i++ {
				churn(1 << 20)
			}
		case "gc":
			runtime.GC()
			runtime.GC()
		}
		fmt.Println("done")
	}
}

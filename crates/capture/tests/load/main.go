// Command load allocates flat out from several stacks, so that the garbage
// collector runs all the time, until its standard input closes.
package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
)

var sink [64][]byte

//go:noinline
func a(n int) { sink[n%64] = make([]byte, 100+n%3000) }

//go:noinline
func b(n int) { a(n); sink[(n+7)%64] = make([]byte, 512) }

func main() {
	runtime.MemProfileRate = 4096
	if len(os.Args) > 9 {
		pprof.Lookup("heap").WriteTo(os.Stdout, 0)
	}
	for g := 0; g < 2; g++ {
		go func() {
			for n := 0; ; n++ {
				b(n)
				a(n)
			}
		}()
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
}

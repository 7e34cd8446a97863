// Command service serves net/http/pprof, has three goroutines that can never go on, keeps and
// touches 1 MiB more twice a second, and collects then. It ends when its standard input closes.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
	"time"
)

var kept [][]byte

func leak() {
	c := make(chan int)
	go func() { c <- 1 }()
}

func main() {
	for i := 0; i < 3; i++ {
		leak()
	}
	kept = append(kept, make([]byte, 16<<20))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go http.Serve(listener, nil)
	go func() {
		for {
			block := make([]byte, 1<<20)
			for at := 0; at < len(block); at += 4096 {
				block[at] = 1
			}
			kept = append(kept, block)
			runtime.GC()
			time.Sleep(500 * time.Millisecond)
		}
	}()
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
}

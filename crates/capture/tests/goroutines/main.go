// Command goroutines parks goroutines in every common way, writes its own
// goroutine profile, and waits until its standard input closes. With the
// argument "spin" its goroutines never block instead.
package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"sync"
	"time"
)

type inner struct{ c chan int }

func (i inner) wait() { <-i.c }

type outer struct{ *inner }

type waiter interface{ wait() }

// deep needs far more stack than is read in one go.
//
//go:noinline
func deep(n int, c chan int) int {
	var pad [1024]byte
	pad[n%1024] = byte(n)
	if n == 0 {
		return <-c
	}
	return deep(n-1, c) + int(pad[(n*7)%1024])
}

func inlinedReceive(c chan int) int { return <-c }

func callsInlined(c chan int) { inlinedReceive(c) }

func deferred(c chan int) {
	defer func() { <-c }()
	panic("kept")
}

//go:noinline
func spin(n int) int {
	sum := 0
	for i := 0; ; i++ {
		sum += i * n
		if sum == 42 {
			return sum
		}
	}
}

func main() {
	if len(os.Args) > 2 {
		runtime.GOMAXPROCS(1)
		for i := 0; i < 6; i++ {
			go spin(i)
		}
		time.Sleep(50 * time.Millisecond)
		fmt.Println("ready")
		io.Copy(io.Discard, os.Stdin)
		return
	}
	c := make(chan int)
	var mutex sync.Mutex
	var rw sync.RWMutex
	var group sync.WaitGroup
	mutex.Lock()
	rw.Lock()
	group.Add(1)
	cond := sync.NewCond(&sync.Mutex{})
	for i := 0; i < 3; i++ {
		go func() { c <- 1 }()
		go deep(100, make(chan int))
		go callsInlined(make(chan int))
		go func() { mutex.Lock() }()
		go func() { rw.RLock() }()
		go func() { group.Wait() }()
		go func() { cond.L.Lock(); cond.Wait() }()
		go func() { time.Sleep(time.Hour) }()
		go func() {
			select {
			case <-make(chan int):
			case <-make(chan bool):
			}
		}()
		go waiter.wait(outer{&inner{make(chan int)}})
		var w waiter = outer{&inner{make(chan int)}}
		go w.wait()
		go deferred(make(chan int))
		go func() { var none chan int; none <- 1 }()
		r, _ := io.Pipe()
		go r.Read(make([]byte, 1))
		read, _, err := os.Pipe()
		if err != nil {
			panic(err)
		}
		go read.Read(make([]byte, 1))
	}
	time.Sleep(200 * time.Millisecond)
	file, err := os.Create(os.Args[1])
	if err != nil {
		panic(err)
	}
	if err := pprof.Lookup("goroutine").WriteTo(file, 0); err != nil {
		panic(err)
	}
	file.Close()
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
}

package main

import (
	"bytes"
	"runtime"
	"time"
)

type onlyStack struct {
	items []*item
	n     [3]int
}

//go:noinline
func use(o *onlyStack) {
	if o.n[0] == 12345 {
		println(o)
	}
}

// The slice is held by a variable of the frame.
//
//go:noinline
func heldByLocal(items []*item, ready, done chan int) {
	ready <- 1
	<-done
	runtime.KeepAlive(items)
}

// The slice is held by a struct that lies on the stack and is used by its address.
//
//go:noinline
func heldByStackObject(items []*item, ready, done chan int) {
	object := onlyStack{items: items}
	items = nil
	use(&object)
	ready <- 1
	<-done
	use(&object)
}

// The slice is held by a deferred call alone.
//
//go:noinline
func heldByDefer(items []*item, ready, done chan int) {
	defer func() { runtime.KeepAlive(items) }()
	ready <- 1
	<-done
}

// It never waits: it is frozen at any instruction.
//
//go:noinline
func heldWhileRunning(items []*item, ready, done chan int) {
	ready <- 1
	for sum := 0; ; sum++ {
		if len(items) == 0 || sum < 0 {
			<-done
		}
		if sum%1000 == 0 {
			// The others must have their turn on a small machine.
			runtime.Gosched()
		}
	}
}

var (
	never  = make(chan int)
	target *order
)

// start hands what build makes to a goroutine that alone keeps it.
func start(function string, routine func([]*item, chan int, chan int)) {
	ready := make(chan int, 1)
	var items []*item
	plant(function, "main.item", func() { items = newItems(*scale) })
	go routine(items, ready, never)
	items = nil
	<-ready
	// Waiting allocates; it must not count for what is planted next.
	for function != "goroutine main.heldWhileRunning" && !waits(function[len("goroutine "):]) {
		time.Sleep(time.Millisecond)
	}
}

var stacks = make([]byte, 1<<20)

// waits reports whether the goroutine of a function waits for a channel.
func waits(function string) bool {
	for rest := stacks[:runtime.Stack(stacks, true)]; len(rest) > 0; {
		one := rest
		if end := bytes.Index(rest, []byte("\n\n")); end >= 0 {
			one, rest = rest[:end], rest[end+2:]
		} else {
			rest = nil
		}
		if bytes.Contains(one, []byte(function)) && bytes.Contains(one, []byte("[chan receive")) {
			return true
		}
	}
	return false
}

func plantRuntime() {
	start("goroutine main.heldByLocal", heldByLocal)
	start("goroutine main.heldByStackObject", heldByStackObject)
	start("goroutine main.heldByDefer", heldByDefer)
	start("goroutine main.heldWhileRunning", heldWhileRunning)
	// No variable holds the timer: it hangs from the processor it was started on, which
	// several of the runtime's variables lead to.
	plant("(several roots)", "main.item", func() {
		items := newItems(*scale)
		time.AfterFunc(1000*time.Hour, func() { runtime.KeepAlive(items) })
	})
	target = &order{}
	plant("finalizers", "main.item", func() {
		items := newItems(*scale)
		runtime.SetFinalizer(target, func(*order) { runtime.KeepAlive(items) })
	})
}

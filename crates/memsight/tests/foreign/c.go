package main

/*
#cgo LDFLAGS: -lpthread
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern void wentIn(int what);
extern void calledBack(uintptr_t handle);
extern void calledByThread(void);

// Waits for ever in C.
static void wait_in_c(int what) {
	wentIn(what);
	for (;;) pause();
}

static void call_back(uintptr_t handle) { calledBack(handle); }

static void *run(void *unused) {
	calledByThread();
	return unused;
}

static int start_thread(void) {
	pthread_t thread;
	return pthread_create(&thread, NULL, run, NULL);
}

static void *fill(size_t size) {
	void *memory = malloc(size);
	memset(memory, 1, size);
	return memory;
}
*/
import "C"

import (
	"runtime"
	"runtime/cgo"
	"time"
	"unsafe"
)

var (
	isIn   = make(chan int, 1)
	never  = make(chan int)
	handle cgo.Handle
	// C's memory is not Go's.
	ofC unsafe.Pointer
)

//export wentIn
func wentIn(C.int) { isIn <- 1 }

// Held by the frame of a goroutine whose thread is in C.
//
//go:noinline
func heldInC() {
	items := take()
	C.wait_in_c(1)
	runtime.KeepAlive(items)
}

// Held by a frame below a call to C that calls Go, which waits.
//
//go:noinline
func heldBelowC() {
	items := take()
	C.call_back(C.uintptr_t(0))
	runtime.KeepAlive(items)
}

// Held by a frame above a call to C: what the callback makes.
//
//go:noinline
func heldAboveC() { C.call_back(C.uintptr_t(1)) }

//
//export calledBack
//go:noinline
func calledBack(which C.uintptr_t) {
	var items []*item
	if which == 1 {
		items = take()
	}
	isIn <- 1
	<-never
	runtime.KeepAlive(items)
}

// C's own thread calls Go: its goroutine was started by nobody.
//
//export calledByThread
//go:noinline
func calledByThread() {
	items := take()
	isIn <- 1
	<-never
	runtime.KeepAlive(items)
}

// settle waits until a goroutine holds what it is to hold, and waits. Another thread may be
// started in its place; that must not count for what is planted next.
func settle() {
	<-isIn
	time.Sleep(50 * time.Millisecond)
	heapAlloc()
}

// What a goroutine is to take over, so that what starting it allocates is not counted.
var handed []*item

func take() []*item {
	items := handed
	handed = nil
	return items
}

// hand makes a goroutine that is to be the only one that holds what is made, by a
// frame of a function that need not be the first of its stack.
func hand(function, frame string, n int, start func()) {
	plant("goroutine "+function, "main.item", func() { handed = newItems(n) })
	plantings[len(plantings)-1].Frame = frame
	start()
	settle()
}

func startInC()    { go heldInC() }
func startBelowC() { go heldBelowC() }
func startAboveC() { go heldAboveC() }
func startThread() { C.start_thread() }

func plantC() {
	// The first ones start threads.
	for _, start := range []func(){startInC, startBelowC, startAboveC, startThread} {
		start()
		settle()
	}
	ofC = C.fill(8 << 20)
	plant("runtime/cgo.handles", "main.item", func() { handle = cgo.NewHandle(newItems(120)) })
	hand("main.heldInC", "main.heldInC", 100, startInC)
	hand("main.heldBelowC", "main.heldBelowC", 110, startBelowC)
	hand("main.heldAboveC", "main.calledBack", 90, startAboveC)
	hand("main.calledByThread", "main.calledByThread", 80, startThread)
}

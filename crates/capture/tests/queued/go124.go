//go:build go1.24

package main

import "runtime"

var isOwnQueue bool

func init() { plantMore = append(plantMore, plantCleanups) }

// As many as there may be goroutines that run them do not return.
//
//go:noinline
func plantCleanups() int {
	for i := 0; i < 64; i++ {
		runtime.AddCleanup(newPayload(), func(int) {
			begun <- 1
			<-never
		}, i)
	}
	runtime.GC()
	// To Go 1.24 the finalizers' goroutine runs them, which waits already.
	if isOwnQueue {
		<-begun
	}
	for i := 0; i < count; i++ {
		runtime.AddCleanup(newPayload(), func(p *payload) { p.next = p }, newPayload())
	}
	return count
}

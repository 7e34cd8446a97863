// A lock is not given back on an error path; everybody else queues behind it.
//
//corpus:verdict goroutine-leak
//corpus:site main.update
package main

import (
	"sync"

	"leaks/work"
)

var (
	mu    sync.Mutex
	total int
)

func update(i int) {
	mu.Lock() //corpus:here
	if i == 10 {
		return
	}
	total += i
	mu.Unlock()
}

func main() {
	work.Run(40, func(i int) { go update(i) })
}

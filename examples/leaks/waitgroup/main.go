// One Done is missing on an error path: the waiter never returns.
//
//corpus:verdict goroutine-leak
//corpus:site main.gather
package main

import (
	"sync"

	"leaks/work"
)

func gather(n int) {
	var wg sync.WaitGroup
	wg.Add(n)
	for i := 0; i < n-1; i++ {
		go wg.Done()
	}
	wg.Wait() //corpus:here
}

func main() {
	work.Run(40, func(i int) { go gather(3) })
}

// Producers are a little faster than the one consumer, and the queue has no bound.
//
//corpus:verdict heap-leak
//corpus:site main.produce
package main

import "leaks/work"

type job struct{ payload [2500]byte }

var queue []*job

func produce() {
	queue = append(queue, &job{}) //corpus:here
}

func main() {
	work.Run(500, func(i int) {
		produce()
		if i%5 == 0 {
			queue = queue[1:]
		}
	})
}

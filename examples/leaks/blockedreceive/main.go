// Workers wait for jobs on a channel that its owner forgot to close.
//
//corpus:verdict goroutine-leak
//corpus:site main.worker
package main

import "leaks/work"

func worker(jobs <-chan int) {
	for range jobs { //corpus:here
	}
}

func main() {
	work.Run(40, func(i int) { go worker(make(chan int)) })
}

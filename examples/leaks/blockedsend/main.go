// The caller has timed out and nobody receives the answer: the sender waits for ever.
//
//corpus:verdict goroutine-leak
//corpus:site main.answer
package main

import "leaks/work"

func answer(result chan<- int, i int) {
	result <- i //corpus:here
}

func main() {
	work.Run(40, func(i int) { go answer(make(chan int), i) })
}

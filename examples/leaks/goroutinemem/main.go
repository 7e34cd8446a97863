// Leaked goroutines that each hold a buffer: the goroutine is the cause, the buffer
// the symptom.
//
//corpus:verdict goroutine-leak
//corpus:site main.session
package main

import "leaks/work"

func session(done <-chan struct{}) {
	buffer := make([]byte, 32<<10)
	<-done //corpus:here
	buffer[0] = 1
}

func main() {
	work.Run(40, func(i int) { go session(make(chan struct{})) })
}

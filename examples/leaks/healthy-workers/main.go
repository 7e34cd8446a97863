// Goroutines come in waves, and all of them end.
//
//corpus:verdict healthy
package main

import (
	"time"

	"leaks/work"
)

func serve(d time.Duration) {
	buffer := make([]byte, 16<<10)
	time.Sleep(d)
	buffer[0] = 1
}

func main() {
	work.Run(100, func(i int) {
		for j := 0; j < i%300/60; j++ {
			go serve(time.Duration(200+i%7*100) * time.Millisecond)
		}
	})
}

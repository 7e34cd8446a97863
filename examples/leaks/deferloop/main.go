// A loop that never ends defers the closing of every file it opens.
//
//corpus:verdict heap-leak
//corpus:site main.open
package main

import (
	"time"

	"leaks/work"
)

type file struct{ buffer [4096]byte }

func open() *file {
	return &file{} //corpus:here
}

func (f *file) close() { f.buffer[0] = 0 }

func tail() {
	for {
		f := open()
		defer f.close()
		time.Sleep(4 * time.Millisecond)
	}
}

func main() {
	go tail()
	work.Run(1, func(int) {})
}

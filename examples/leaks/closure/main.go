// Handlers are registered for every connection and never taken away; each captures
// its connection's buffer.
//
//corpus:verdict heap-leak
//corpus:site main.connect
package main

import "leaks/work"

var onShutdown []func()

func connect(i int) {
	buffer := make([]byte, 4096) //corpus:here
	onShutdown = append(onShutdown, func() { buffer[0] = byte(i) })
}

func main() { work.Run(300, connect) }

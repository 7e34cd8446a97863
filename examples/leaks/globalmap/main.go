// Every request leaves its result in a global map that nobody clears.
//
//corpus:verdict heap-leak
//corpus:site main.handle
package main

import "leaks/work"

var results = map[int][]byte{}

func handle(i int) {
	results[i] = make([]byte, 2048) //corpus:here
}

func main() { work.Run(500, handle) }

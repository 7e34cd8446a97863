// Objects in a cycle with a finalizer are never collected.
//
//corpus:verdict heap-leak
//corpus:site main.newNode
package main

import (
	"runtime"

	"leaks/work"
)

type node struct {
	peer *node
	data [3000]byte
}

func newNode() *node {
	return &node{} //corpus:here
}

func main() {
	work.Run(400, func(i int) {
		a, b := newNode(), newNode()
		a.peer, b.peer = b, a
		runtime.SetFinalizer(a, func(*node) {})
	})
}

// A history as a linked list whose old end is never cut.
//
//corpus:verdict heap-leak
//corpus:site main.visit
package main

import (
	"container/list"

	"leaks/work"
)

type page struct{ text [2000]byte }

var history = list.New()

func visit(i int) {
	history.PushFront(&page{}) //corpus:here
}

func main() { work.Run(500, visit) }

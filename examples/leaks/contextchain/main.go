// A loop wraps its context again and again: the chain holds every value ever set.
//
//corpus:verdict heap-leak
//corpus:site main.value
package main

import (
	"context"

	"leaks/work"
)

type key struct{}

func value(i int) *[2048]byte {
	return &[2048]byte{} //corpus:here
}

func main() {
	ctx := context.Background()
	work.Run(500, func(i int) { ctx = context.WithValue(ctx, key{}, value(i)) })
}

//go:build !go1.23

package main

// coroutines came with Go 1.23.
func coroutines(int) {}

//go:build cgo

package main

// static int twice(int n) { return 2 * n; }
import "C"

func callC() {
	for i := 0; i < 100; i++ {
		C.twice(C.int(i))
	}
}

//go:build go1.24

package main

import (
	"runtime"
	"weak"
)

var weaks []weak.Pointer[leaf]

func more() {
	for i := 0; i < 3; i++ {
		l := &leaf{next: list}
		runtime.AddCleanup(l, func(n int) {}, i)
		weaks = append(weaks, weak.Make(l))
		anything = append(anything, l)
	}
}

//go:build go1.24

package main

import "runtime"

func cleanUp() {
	for i := 0; i < 30; i++ {
		object := &node{}
		runtime.AddCleanup(object, func(int) {}, i)
	}
}

//go:build go1.23

package main

import "iter"

// coroutines switches between goroutines without the scheduler.
func coroutines(rounds int) {
	for range rounds / 10 {
		next, stop := iter.Pull(func(yield func(int) bool) {
			for value := range 10 {
				if !yield(value) {
					return
				}
			}
		})
		for range 8 {
			next()
		}
		stop()
	}
}

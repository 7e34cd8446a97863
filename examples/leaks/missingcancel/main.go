// Contexts are made and never cancelled; their watchers wait for them.
//
//corpus:verdict goroutine-leak
//corpus:site main.watch
package main

import (
	"context"

	"leaks/work"
)

func watch(ctx context.Context, changes <-chan int) {
	for {
		select { //corpus:here
		case <-ctx.Done():
			return
		case <-changes:
		}
	}
}

var cancels []context.CancelFunc

func main() {
	work.Run(40, func(i int) {
		ctx, cancel := context.WithCancel(context.Background())
		cancels = append(cancels, cancel)
		go watch(ctx, make(chan int))
	})
}

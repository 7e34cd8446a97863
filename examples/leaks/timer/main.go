// Timeouts of an hour are never stopped; each holds its request until then.
//
//corpus:verdict heap-leak
//corpus:site main.request
package main

import (
	"time"

	"leaks/work"
)

type req struct{ body [4000]byte }

func request() *req {
	return &req{} //corpus:here
}

func main() {
	work.Run(300, func(i int) {
		r := request()
		time.AfterFunc(time.Hour, func() { r.body[0] = 1 })
	})
}

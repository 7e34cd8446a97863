// A short key is cut from a long line and pins it.
//
//corpus:verdict heap-leak
//corpus:site main.line
package main

import (
	"strings"

	"leaks/work"
)

var keys []string

func line(i int) string {
	var b strings.Builder
	b.Grow(16 << 10) //corpus:here
	for b.Len() < 16<<10-40 {
		b.WriteString("key=value; a line of a log that is long; ")
	}
	return b.String()
}

func main() {
	work.Run(80, func(i int) { keys = append(keys, line(i)[:9]) })
}

// A Go program that fills its heap as it is told, one line each: MiB. It answers with a line.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

var kept [][]byte

// A function that calls none and keeps nothing on the stack, not even a frame pointer.
//
//go:noinline
func touch(block []byte) {
	for i := range block {
		block[i] = 1
	}
}

//go:noinline
func fill(mib int) {
	for range make([]struct{}, mib) {
		block := make([]byte, 1<<20)
		touch(block)
		kept = append(kept, block)
	}
}

func main() {
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		mib, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			panic(err)
		}
		fill(mib)
		fmt.Println("done")
	}
}

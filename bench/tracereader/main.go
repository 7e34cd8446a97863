// Reads a trace with Go's own reader, and nothing else.
//
//	tracereader FILE
//
// internal/trace cannot be imported from outside Go, so this is built as a command of Go's
// own module: `go build -overlay`, see ../trace.
package main

import (
	"bufio"
	"fmt"
	"internal/trace"
	"io"
	"os"
)

func main() {
	file, err := os.Open(os.Args[1])
	if err != nil {
		panic(err)
	}
	reader, err := trace.NewReader(bufio.NewReaderSize(file, 1<<20))
	if err != nil {
		panic(err)
	}
	events := 0
	for {
		_, err := reader.ReadEvent()
		if err == io.EOF {
			break
		}
		if err != nil {
			panic(err)
		}
		events++
	}
	fmt.Println(events, "events")
}

// A Go program that asks C for memory, frees some of it, and says what is left by the Go function
// that asked. It waits for a line before it begins and before it ends.
package main

// #include <stdlib.h>
// #include <string.h>
//
// static void *held;
//
// __attribute__((noinline)) static void c_asks(unsigned long bytes) {
//	held = malloc(bytes);
//	*(volatile char *)held = 1;
// }
//
// __attribute__((noinline)) static void c_asks_deep(unsigned long bytes) {
//	char room[500];
//	memset(room, (int)bytes, sizeof room);
//	c_asks(bytes);
//	*(volatile char *)&room[bytes % 500] = 2;
// }
import "C"

import (
	"bufio"
	"fmt"
	"os"
	"sync"
	"unsafe"
)

var garbage [][]byte

//go:noinline
func leakInC() {
	for i := 0; i < 200; i++ {
		C.c_asks(500)
	}
	fmt.Println("main.leakInC", 200*500, 200)
}

//go:noinline
func leakDeep() {
	for i := 0; i < 50; i++ {
		C.c_asks_deep(3000)
	}
	fmt.Println("main.leakDeep", 50*3000, 50)
}

//go:noinline
func leakString() {
	for i := 0; i < 10; i++ {
		C.CString("a text of twenty-six bytes")
	}
	fmt.Println("main.leakString", 270, 10)
}

//go:noinline
func leakOne(group *sync.WaitGroup) {
	defer group.Done()
	for i := 0; i < 25; i++ {
		C.c_asks(640)
		garbage[0] = make([]byte, 1000)
	}
}

func noLeak() {
	for i := 0; i < 1000; i++ {
		text := C.CString("a text that is freed again")
		C.free(unsafe.Pointer(text))
	}
}

func main() {
	input := bufio.NewReader(os.Stdin)
	garbage = make([][]byte, 1)
	fmt.Println("ready")
	input.ReadString('\n')
	leakInC()
	leakDeep()
	leakString()
	noLeak()
	var group sync.WaitGroup
	for i := 0; i < 8; i++ {
		group.Add(1)
		go leakOne(&group)
	}
	group.Wait()
	fmt.Println("main.leakOne", 8*25*640, 200)
	fmt.Println("done")
	input.ReadString('\n')
}

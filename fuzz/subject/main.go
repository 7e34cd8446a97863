// Command subject is what the fuzz target goheap damages: a program with a small heap that
// has an object of every kind the reader knows. It says when it is ready and waits.
package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"
)

type leaf struct {
	name string
	data []byte
	next *leaf
}

// wide has an allocation header, huge a span of its own; the mask of both is built on
// demand in some releases.
type wide struct {
	leaves [96]*leaf
	count  int
}

type huge struct {
	wides [6000]struct {
		any   any
		bytes [3]uint8
		of    *wide
	}
}

type shaper interface{ shape() int }

func (l *leaf) shape() int { return len(l.data) }

var (
	users    = map[string]*leaf{}
	numbers  = map[int]int{}
	list     *leaf
	anything []any
	shapers  []shaper
	wides    []*wide
	large    *huge
	queue    = make(chan *leaf, 4)
	closure  func() int
	method   func() int
	hidden   atomic.Pointer[leaf]
	arrays   [3][20]*leaf
	spins    atomic.Bool
)

func fill() {
	for i := 0; i < 60; i++ {
		l := &leaf{name: "leaf-" + strconv.Itoa(i), data: make([]byte, i, 2*i+1), next: list}
		list = l
		users[l.name] = l
		numbers[i] = i
		anything = append(anything, l, *l, i, l.name, []int{i})
		shapers = append(shapers, l)
		arrays[i%3][i%20] = l
	}
	for i := 0; i < 3; i++ {
		w := &wide{count: i}
		for j := range w.leaves {
			w.leaves[j] = &leaf{next: list}
		}
		wides = append(wides, w)
	}
	large = &huge{}
	for i := range large.wides {
		large.wides[i].any = list
		large.wides[i].of = wides[i%3]
	}
	anything = append(anything, make([]huge, 1), make([]wide, 5), map[[2]string][]*leaf{{"a", "b"}: {list}})
	queue <- list
	hidden.Store(&leaf{name: "hidden" + strconv.Itoa(len(users))})
	seen := list.next
	closure = func() int { return len(seen.name) + len(users) }
	method = list.shape
	runtime.SetFinalizer(&leaf{next: list}, func(*leaf) {})
	runtime.SetFinalizer(list, func(*leaf) {})
}

//go:noinline
func deep(n int, l *leaf, c chan int) int {
	on := leaf{next: l, name: l.name}
	at := &on
	defer func() { at.data = nil }()
	if n == 0 {
		return <-c + len(at.name)
	}
	return deep(n-1, at, c) + len(on.name)
}

func main() {
	debug.SetGCPercent(-1)
	fill()
	c := make(chan int)
	for i := 0; i < 3; i++ {
		go deep(8*i, list, c)
	}
	go func() {
		for l := list; !spins.Load(); l = l.next {
			if l == nil {
				l = list
			}
		}
	}()
	go func() {
		var one [1]byte
		_, _ = os.Stdin.Read(one[:])
		os.Exit(0)
	}()
	time.Sleep(50 * time.Millisecond)
	runtime.GC()
	more()
	println("ready")
	select {}
}

// The subject of decode's tests of variables: it prints what the language and its own
// run-time type information say of the variables that the tests then look for.
package main

import (
	"fmt"
	"io"
	"os"
	"reflect"
	"runtime"
	"sync"
	"time"
	"unsafe"
)

type Point struct{ X, Y int32 }

type Embedded struct {
	mu   sync.Mutex
	Name string
}

type Pair[K comparable, V any] struct {
	Key K
	Val V
}

type Named map[string]*Node

type Callback func(int) error

type Link *Node

type Node struct {
	Embedded
	*Point
	next  *Node
	link  Link
	tags  []string
	raw   []byte
	attr  map[string]int
	sets  map[Point]struct{}
	ch    chan Point
	recv  <-chan *Node
	any   interface{}
	rd    io.Reader
	err   error
	f     func(int) int
	cb    Callback
	arr   [3]Point
	big   [300][2]uint16
	ptr   unsafe.Pointer
	up    uintptr
	c     complex128
	ok    bool
	r     rune
	pair  Pair[string, *Node]
	when  time.Time
	anon  struct{ a, b uint8 }
	empty struct{}
}

var (
	head    Node
	cache   = Named{}
	pair    Pair[string, int]
	pairs   []Pair[Point, []int]
	small   byte
	flags   [7]bool
	text    = "text"
	matrix  [4][4]float64
	fn                  = func(n int) int { return n }
	anyway  interface{} = 1
	reader  io.Reader   = os.Stdin
	queue               = make(chan *Node, 3)
	pointer *Pair[string, int]
	lazy    sync.Pool
)

// value prints a type and those below it, once each way they can be reached.
func value(path string, t reflect.Type, depth int) {
	fmt.Println("type", path, t.Kind(), t.Size(), descriptor(t))
	if depth == 0 {
		return
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Chan:
		value(path+"/elem", t.Elem(), depth-1)
	case reflect.Array:
		fmt.Println("count", path, t.Len())
		value(path+"/elem", t.Elem(), depth-1)
	case reflect.Map:
		value(path+"/key", t.Key(), depth-1)
		value(path+"/elem", t.Elem(), depth-1)
	case reflect.Interface:
		fmt.Println("methods", path, t.NumMethod())
	case reflect.Struct:
		for i := 0; i < t.NumField(); i++ {
			f := t.Field(i)
			fmt.Println("field", path, f.Name, f.Offset, f.Anonymous)
			value(path+"/"+f.Name, f.Type, depth-1)
		}
	}
}

// descriptor is the address of a type's descriptor.
func descriptor(t reflect.Type) uintptr {
	return (*[2]uintptr)(unsafe.Pointer(&t))[1]
}

func global[T any](name string, at *T) {
	t := reflect.TypeOf(at).Elem()
	fmt.Println("global", "main."+name, uintptr(unsafe.Pointer(at)), t.Size())
	value("main."+name, t, 4)
}

func framePointer() uintptr

// here is the address its call returns to.
//
//go:noinline
func here() uintptr {
	var pcs [1]uintptr
	runtime.Callers(2, pcs[:])
	return pcs[0]
}

//go:noinline
func use(pointers ...unsafe.Pointer) int { return len(pointers) }

// addr hides that a pointer is kept.
//
//go:nosplit
func addr(p unsafe.Pointer) uintptr { return uintptr(p) }

//go:noinline
func stack(n int, s string, list []int) (total int) {
	var array [5]int
	var node Node
	node.up = uintptr(n)
	point := Point{1, 2}
	for i := range array {
		array[i] = n + i
	}
	for i, v := range list {
		block := [2]int{i, v}
		total += use2(&block)
		if i == 1 {
			pc := here()
			println("frame main.stack", pc, framePointer()+16,
				"block", addr(unsafe.Pointer(&block)),
				"array", addr(unsafe.Pointer(&array)),
				"node", addr(unsafe.Pointer(&node)),
				"point", addr(unsafe.Pointer(&point)),
				"n", addr(unsafe.Pointer(&n)),
				"s", addr(unsafe.Pointer(&s)))
		}
	}
	return total + use3(&array, &node, &point) + len(s)
}

//go:noinline
func use2(p *[2]int) int { return p[0] + p[1] }

//go:noinline
func use3(a *[5]int, n *Node, p *Point) int { return a[1] + int(n.up) + int(p.X) }

// spilled keeps values alive over a call, in the frame.
//
//go:noinline
func spilled(p *Node, s string) int {
	q := p.next
	words := make([]string, len(s), 2*len(s))
	pc := here()
	println("pc main.spilled", pc)
	words[0] = s
	return cap(words) + use(unsafe.Pointer(p), unsafe.Pointer(q)) + len(s)
}

// inlined is too small to stay a function of its own.
func inlined(a int) int {
	product := a * 3
	product += int(here())
	return product
}

//go:noinline
func outer(x int) int {
	y := inlined(x)
	println("pc main.outer", y-x*3)
	return y
}

type generic[T any] struct{ item T }

//go:noinline
func (g *generic[T]) get(other T) T {
	copied := g.item
	println("pc main.get", here())
	use(unsafe.Pointer(&copied))
	return other
}

var sink []func() int

//go:noinline
func escape(n int) func() int {
	count := n
	name := fmt.Sprint(n)
	point := Point{int32(n), 2}
	pc := here()
	println("pc main.escape", pc)
	count++
	f := func() int {
		count++
		for i := 0; i < count; i++ {
			use(unsafe.Pointer(&count))
		}
		return count + len(name) + int(point.Y)
	}
	sink = append(sink, f)
	code := **(**uintptr)(unsafe.Pointer(&f))
	object := *(*unsafe.Pointer)(unsafe.Pointer(&f))
	found := [3]uintptr{}
	for at := uintptr(8); at < 40; at += 8 {
		switch *(*uintptr)(unsafe.Add(object, at)) {
		case uintptr(unsafe.Pointer(&count)):
			found[0] = at
		case uintptr(unsafe.Pointer(unsafe.StringData(name))):
			found[1] = at
		case uintptr(n) | 2<<32:
			found[2] = at
		}
	}
	println("captures", code, "count", found[0], "name", found[1], "point", found[2])
	return f
}

func main() {
	global("head", &head)
	global("cache", &cache)
	global("pair", &pair)
	global("pairs", &pairs)
	global("small", &small)
	global("flags", &flags)
	global("text", &text)
	global("matrix", &matrix)
	global("fn", &fn)
	global("anyway", &anyway)
	global("reader", &reader)
	global("queue", &queue)
	global("pointer", &pointer)
	global("lazy", &lazy)
	// println writes to standard error; both are read.
	stack(3, "words", []int{4, 5, 6})
	spilled(&head, "words")
	outer(7)
	(&generic[*Node]{&head}).get(&head)
	escape(3)()
	if len(os.Args) > 1 {
		fmt.Println(sink, runtime.Version())
	}
}

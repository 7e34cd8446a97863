package main

import (
	"bytes"
	"container/list"
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"
)

type node struct {
	next *node
	id   int
}

type tree struct {
	left, right *tree
	label       string
}

type order struct {
	Items []*item
	Note  any
	id    int
}

type item struct {
	name  string
	price float64
	tags  [2]string
}

// 800 bytes of pointers, so that it has a malloc header (beyond 512 bytes).
type middling struct {
	items [96]*item
	sum   int
}

// 3,200 bytes of pointers: a mask on demand since Go 1.27.
type sizable struct{ items [400]*item }

// 160,000 bytes of pointers: a mask on demand since Go 1.24, a program before.
type vast struct {
	items [20000]*item
	count int
}

type bulky struct{ words [40]int }

type box[T any] struct {
	value T
	next  *box[T]
}

type shape interface{ area() float64 }
type square struct{ side, color float64 }

func (s *square) area() float64 { return s.side * s.side }

type counter struct {
	total int
	seen  []*item
}

//go:noinline
func (c *counter) add(n int) { c.total += n }

var (
	linkedList    *node
	cyclicRing    *node
	binaryTree    *tree
	pointerSlice  []*item
	valueSlice    []item
	nestedSlices  [][]*item
	bigMap        map[string]*order
	smallMap      map[int]*item
	valueMap      map[int]int
	bulkyMap      map[string]bulky
	structKeyMap  map[[2]string]*item
	pointerChan   chan *item
	valueChan     chan int
	structChan    chan item
	closures      []func() int
	methodValue   func(int)
	emptyFaces    []any
	shapes        []shape
	longString    string
	substrings    []string
	subslice      []byte
	headerArray   []*item
	headerStructs []*middling
	headerTiles   []order
	unsafeSizable []unsafe.Pointer
	unsafeVast    unsafe.Pointer
	doublePointer []**item
	syncMap       sync.Map
	linked        *list.List
	contexts      context.Context
	generic       *box[map[string]int]
	atomicPointer atomic.Pointer[order]
	atomicValue   atomic.Value
	buffer        *bytes.Buffer
	builder       *strings.Builder
	arrayPointer  *[50]*item
	interior      *float64
	largeNoscan   []byte
	largePointers []*item
)

func newItem(i int) *item {
	return &item{name: fmt.Sprint("a rather long name ", i), price: float64(i), tags: [2]string{fmt.Sprint("a tag of some length ", i)}}
}

func newTree(depth int) *tree {
	if depth == 0 {
		return nil
	}
	return &tree{newTree(depth - 1), newTree(depth - 1), fmt.Sprint("a label of some length ", depth)}
}

func newItems(n int) []*item {
	items := make([]*item, n)
	for i := range items {
		items[i] = newItem(i)
	}
	return items
}

type contextKey int

func plantData() {
	n := *scale
	plantLists(n)
	plantMaps(n)
	plantOthers(n)
	plantSizes(n)
}

func plantLists(n int) {
	plant("main.linkedList", "main.node", func() {
		for i := 0; i < n; i++ {
			linkedList = &node{linkedList, i}
		}
	})
	plant("main.cyclicRing", "main.node", func() {
		first := &node{}
		cyclicRing = first
		for i := 0; i < n; i++ {
			cyclicRing = &node{cyclicRing, i}
		}
		first.next = cyclicRing
	})
	plant("main.binaryTree", "main.tree", func() { binaryTree = newTree(7) })
	plant("main.pointerSlice", "main.item", func() { pointerSlice = newItems(n) })
	plant("main.valueSlice", "[]main.item", func() {
		valueSlice = make([]item, n)
		for i := range valueSlice {
			valueSlice[i] = *newItem(i)
		}
	})
	plant("main.nestedSlices", "main.item", func() {
		for i := 0; i < 20; i++ {
			nestedSlices = append(nestedSlices, newItems(i))
		}
	})
	plant("main.linked", "list.Element", func() {
		linked = list.New()
		for i := 0; i < n; i++ {
			linked.PushBack(newItem(i))
		}
	})
	plant("main.generic", "main.box[map[string]int]", func() {
		for i := 0; i < 20; i++ {
			generic = &box[map[string]int]{map[string]int{"one": i, "two": i}, generic}
		}
	})
}

func plantMaps(n int) {
	plant("main.bigMap", "main.order", func() {
		bigMap = make(map[string]*order)
		for i := 0; i < 20*n; i++ {
			bigMap[fmt.Sprint("the order with number ", i)] = &order{newItems(2), &square{1, 2}, i}
		}
	})
	plant("main.smallMap", "main.item", func() { smallMap = map[int]*item{1: newItem(1), 2: newItem(2)} })
	plant("main.valueMap", "map[int]int", func() {
		valueMap = make(map[int]int)
		for i := 0; i < 50*n; i++ {
			valueMap[i] = i
		}
	})
	plant("main.bulkyMap", "main.bulky", func() {
		bulkyMap = make(map[string]bulky)
		for i := 0; i < n; i++ {
			bulkyMap[fmt.Sprint("a bulky thing with number ", i)] = bulky{}
		}
	})
	plant("main.structKeyMap", "main.item", func() {
		structKeyMap = make(map[[2]string]*item)
		for i := 0; i < n; i++ {
			structKeyMap[[2]string{fmt.Sprint("the first half of a key ", i), "second"}] = newItem(i)
		}
	})
	plant("main.syncMap", "main.item", func() {
		for i := 0; i < n; i++ {
			syncMap.Store(fmt.Sprint("a key of a sync.Map ", i), newItem(i))
		}
	})
}

func plantOthers(n int) {
	plant("main.pointerChan", "main.item", func() {
		pointerChan = make(chan *item, n)
		for i := 0; i < n/2; i++ {
			pointerChan <- newItem(i)
		}
	})
	plant("main.valueChan", "chan int", func() { valueChan = make(chan int, 1000) })
	plant("main.structChan", "[]main.item", func() {
		structChan = make(chan item, n)
		for i := 0; i < n/3; i++ {
			structChan <- *newItem(i)
		}
	})
	plant("main.closures", "main.item", func() {
		for i := 0; i < n; i++ {
			one, count := newItem(i), i
			closures = append(closures, func() int { count++; return len(one.name) + count })
		}
	})
	plant("main.methodValue", "main.counter", func() {
		methodValue = (&counter{seen: newItems(n)}).add
	})
	plant("main.emptyFaces", "main.item", func() {
		emptyFaces = []any{newItem(1), square{1, 2}, "a string in an interface" + fmt.Sprint(n), 1 << 40, newItems(3), map[string]int{"a": 1}}
	})
	plant("main.shapes", "main.square", func() {
		for i := 0; i < n; i++ {
			shapes = append(shapes, &square{1, 2})
		}
	})
	plant("main.contexts", "main.item", func() {
		contexts = context.Background()
		for i := 0; i < 20; i++ {
			contexts = context.WithValue(contexts, contextKey(i), newItem(i))
		}
	})
	plant("main.atomicPointer", "main.order", func() { atomicPointer.Store(&order{newItems(10), nil, 1}) })
	plant("main.atomicValue", "main.order", func() { atomicValue.Store(&order{newItems(10), nil, 1}) })
	plant("main.doublePointer", "main.item", func() {
		for i := 0; i < n; i++ {
			one := newItem(i)
			doublePointer = append(doublePointer, &one)
		}
	})
}

func plantSizes(n int) {
	plant("main.longString", "string data", func() { longString = strings.Repeat("long ", 50000) })
	plant("main.substrings", "string data", func() {
		whole := strings.Repeat("much more than is used ", 5000)
		for i := 0; i < 10; i++ {
			substrings = append(substrings, whole[i*10:i*10+10])
		}
	})
	plant("main.subslice", "[]uint8", func() { subslice = make([]byte, 100000)[500:600:700] })
	plant("main.headerArray", "main.item", func() { headerArray = newItems(300) })
	plant("main.headerStructs", "main.middling", func() {
		for i := 0; i < 10; i++ {
			one := &middling{}
			copy(one.items[:], newItems(90))
			headerStructs = append(headerStructs, one)
		}
	})
	plant("main.headerTiles", "[]main.order", func() {
		headerTiles = make([]order, 50)
		for i := range headerTiles {
			headerTiles[i] = order{newItems(2), i, i}
		}
	})
	plant("main.unsafeSizable", "main.sizable", func() {
		for i := 0; i < 10; i++ {
			one := &sizable{}
			copy(one.items[:], newItems(400))
			unsafeSizable = append(unsafeSizable, unsafe.Pointer(one))
		}
	})
	plant("main.unsafeVast", "main.vast", func() {
		one := &vast{}
		copy(one.items[10000:], newItems(10000))
		unsafeVast = unsafe.Pointer(one)
	})
	plant("main.arrayPointer", "main.item", func() {
		arrayPointer = new([50]*item)
		copy(arrayPointer[:], newItems(50))
	})
	// Its type is not known: only a number in it is pointed to.
	plant("main.interior", "", func() { interior = &newItem(1).price })
	// So large that the threads the runtime may start (5 KB each) do not matter to the total.
	plant("main.largeNoscan", "[]uint8", func() { largeNoscan = make([]byte, 48<<20) })
	plant("main.largePointers", "main.item", func() {
		largePointers = make([]*item, 100000)
		copy(largePointers[99000:], newItems(1000))
	})
	plant("main.buffer", "bytes.Buffer", func() { buffer = bytes.NewBuffer(make([]byte, 5000)) })
	plant("main.builder", "strings.Builder", func() {
		builder = &strings.Builder{}
		builder.Grow(5000)
	})
}

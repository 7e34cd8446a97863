// Fills a heap with objects of every size class, with and without pointers, and writes it
// with debug.WriteHeapDump: dump FILE.
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"
)

type Tag struct{ key, value string }

type User struct {
	ID   int
	Name string
	Tags []*Tag
	Next *User
	Meta any
	fn   func() int
}

type Word struct{ p *Tag }

var (
	users = map[string]*User{}
	bytes [][]byte
	words []*Word
	large [][]*Tag
	last  *User
	final = map[int]*Tag{}

	shared [50]*Tag
)

//go:noinline
func hold(tag *Tag, ready, done chan bool) {
	ready <- true
	<-done
	runtime.KeepAlive(tag)
}

// Arrays that are empty, that hold an object at their end, or are full.
func pointers(count, how int) []*Tag {
	array := append([]*Tag(nil), make([]*Tag, count)...)
	array = array[:cap(array)]
	if how%3 == 0 {
		return array
	}
	array[len(array)-1] = &Tag{key: "its own"}
	for i := 0; how%3 == 2 && i+1 < len(array); i++ {
		array[i] = shared[i%len(shared)]
	}
	return array
}

func main() {
	for i := range shared {
		shared[i] = &Tag{key: strconv.Itoa(i)}
	}
	for i := 0; i < 5000; i++ {
		user := &User{ID: i, Name: "user-" + strconv.Itoa(i), Next: last, Meta: &Tag{key: "meta"}}
		for j := 0; j < 3; j++ {
			user.Tags = append(user.Tags, &Tag{key: "key" + strconv.Itoa(j)})
		}
		user.fn = func() int { return user.ID }
		last = user
		users[user.Name] = user
	}
	for size := 1; size < 70000; size += 1 + size/9 {
		for i := 0; i < 9; i++ {
			bytes = append(bytes, make([]byte, size))
			large = append(large, pointers(size/8+1, i))
		}
	}
	for i := 0; i < 3000; i++ {
		words = append(words, &Word{&Tag{key: "word"}})
	}
	object := &Tag{key: strconv.Itoa(len(words))}
	final[1] = object
	runtime.SetFinalizer(object, func(tag *Tag) { final[2] = tag })
	ready, done := make(chan bool), make(chan bool)
	go hold(&Tag{key: strconv.Itoa(len(bytes))}, ready, done)
	<-ready
	time.Sleep(10 * time.Millisecond)
	runtime.GC()
	runtime.GC()
	file, err := os.Create(os.Args[1])
	if err != nil {
		panic(err)
	}
	debug.WriteHeapDump(file.Fd())
	file.Close()
	fmt.Println(len(users), len(large), object.key)
	close(done)
}

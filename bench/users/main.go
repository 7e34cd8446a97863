// Command users keeps a heap of many small objects of every shape: users in a map, each
// with a name, tags, a record behind an interface and a closure, and structs of more than
// 512 bytes, whose pointers have a header. It prints the runtime's own counts as JSON once
// all garbage is collected, and then sleeps until its input ends.
package main

import (
	"encoding/json"
	"flag"
	"io"
	"os"
	"runtime"
	"strconv"
)

type tag struct{ key, value string }

type user struct {
	id     int
	name   string
	tags   []*tag
	next   *user
	record any
	visit  func() int
	extra  [4]int64
}

type page struct {
	tags  [96]*tag
	count int
}

type book struct {
	tags  [300]*tag
	count [10]int
}

var (
	users  map[string]*user
	pages  []*page
	books  []*book
	latest *user
)

func newUser(id int) *user {
	u := &user{id: id, name: "user-" + strconv.Itoa(id)}
	for i := 0; i < 3; i++ {
		u.tags = append(u.tags, &tag{key: "key" + strconv.Itoa(i), value: "v"})
	}
	u.record = &tag{key: "record"}
	u.visit = func() int { return id + u.id }
	return u
}

func main() {
	count := flag.Int("n", 100_000, "users")
	isChain := flag.Bool("chain", false, "each user points to the one before")
	flag.Parse()
	users = make(map[string]*user)
	for id := 0; id < *count; id++ {
		u := newUser(id)
		if *isChain {
			u.next, latest = latest, u
		}
		users[u.name] = u
	}
	for i := 0; i < 1000; i++ {
		p, b := new(page), new(book)
		for i := range p.tags {
			p.tags[i] = &tag{key: "page"}
		}
		for i := range b.tags {
			b.tags[i] = &tag{key: "book"}
		}
		pages, books = append(pages, p), append(books, b)
	}
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"runtime": runtime.Version(), "objects": stats.HeapObjects, "bytes": stats.HeapAlloc,
	})
	io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(users)
}

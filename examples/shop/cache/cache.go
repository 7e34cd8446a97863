// Package cache keeps rendered pages, the least recently used ones go first. It
// fills for the first half minute and then stays as it is: what a naive tool calls
// a leak.
package cache

import (
	"container/list"
	"sync"
)

type entry struct {
	key  string
	page []byte
}

// Results is a bounded cache.
type Results struct {
	mu    sync.Mutex
	max   int
	order *list.List
	items map[string]*list.Element
}

// New makes a cache of at most max pages.
func New(max int) *Results {
	return &Results{max: max, order: list.New(), items: map[string]*list.Element{}}
}

// Get returns the page of key and makes it when it is not there.
func (r *Results) Get(key string, make func() []byte) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if element := r.items[key]; element != nil {
		r.order.MoveToFront(element)
		return element.Value.(*entry).page
	}
	page := make()
	r.items[key] = r.order.PushFront(&entry{key, page})
	for r.order.Len() > r.max {
		oldest := r.order.Back()
		r.order.Remove(oldest)
		delete(r.items, oldest.Value.(*entry).key)
	}
	return page
}

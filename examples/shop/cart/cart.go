// Package cart keeps carts until they expire.
package cart

import (
	"context"
	"sync"
	"time"
)

type cart struct {
	items   []string
	touched time.Time
}

// Store holds the carts of all users.
type Store struct {
	mu    sync.Mutex
	carts map[string]*cart
	ttl   time.Duration
}

// New makes a store whose carts expire after ttl.
func New(ttl time.Duration) *Store {
	return &Store{carts: map[string]*cart{}, ttl: ttl}
}

// Add puts an item into a user's cart and says how many it has.
func (s *Store) Add(user, item string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.carts[user]
	if c == nil || len(c.items) >= 50 {
		c = &cart{}
		s.carts[user] = c
	}
	c.items = append(c.items, item)
	c.touched = time.Now()
	return len(c.items)
}

// Expire drops old carts until ctx ends.
func (s *Store) Expire(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			s.mu.Lock()
			for user, c := range s.carts {
				if now.Sub(c.touched) > s.ttl {
					delete(s.carts, user)
				}
			}
			s.mu.Unlock()
		}
	}
}

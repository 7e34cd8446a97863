// Package session knows who is in the shop.
package session

import (
	"sync"
	"time"
)

// Event is one request of a user.
type Event struct {
	User, Path, Agent string
	Time              time.Time
	Snapshot          [2048]byte
}

// Registry holds the sessions.
type Registry struct {
	mu    sync.Mutex
	last  map[string]time.Time
	audit bool
	trail []*Event
}

// New makes a registry. With audit it remembers every request, for ever.
func New(audit bool) *Registry {
	return &Registry{last: map[string]time.Time{}, audit: audit}
}

// Track notes a request.
func (r *Registry) Track(user, path, agent string) {
	event := &Event{User: user, Path: path, Agent: agent, Time: time.Now()}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last[user] = event.Time
	if r.audit {
		// The planted leak: nobody ever reads or cuts the trail.
		r.trail = append(r.trail, event)
	}
}

// Package live has what goes on by rights that peers have: what ends with them, and what is read by them.
package live

import (
	"maps"
	"slices"
	"sync"
)

// Runs are what goes on by rights that were found good. The zero value has none. It is safe for concurrent use.
type Runs struct {
	mu  sync.Mutex
	all map[*run]struct{}
}

// run is one thing that ends with a right.
type run struct {
	holds func() bool
	end   func()
	once  sync.Once
}

// Add enters a run, until stop. If its right does not hold any more, it ends at once.
func (r *Runs) Add(holds func() bool, end func()) (stop func()) {
	x := &run{holds: holds, end: end}
	r.mu.Lock()
	if r.all == nil {
		r.all = make(map[*run]struct{})
	}
	r.all[x] = struct{}{}
	r.mu.Unlock()
	x.look() // a change before it was entered went past it
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.all, x)
	}
}

// Recheck ends all runs whose rights do not hold any more.
func (r *Runs) Recheck() {
	r.mu.Lock()
	all := slices.Collect(maps.Keys(r.all))
	r.mu.Unlock()
	for _, x := range all {
		x.look()
	}
}

func (x *run) look() {
	if !x.holds() {
		x.once.Do(x.end)
	}
}

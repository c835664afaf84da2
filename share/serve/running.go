package serve

import (
	"maps"
	"slices"
	"sync"
)

// running is what goes on by rights that were found good. The zero value has nothing.
type running struct {
	mu  sync.Mutex
	all map[*run]struct{}
}

// run is one thing that ends with a right.
type run struct {
	holds func() bool
	end   func()
	once  sync.Once
}

// add enters a run, until stop. If its right does not hold any more, it ends at once.
func (r *running) add(holds func() bool, end func()) (stop func()) {
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

// recheck ends all runs whose rights do not hold any more.
func (r *running) recheck() {
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

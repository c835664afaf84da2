// Package queue is the files of one share that wait to be put at their owner: in which order, not before when, and what a
// rename or a removal makes of them. It is values in, values out: it knows no clock, and no file.
package queue

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// Item is a file that waits. Its ID is the caller's.
type Item struct {
	ID      uint64
	Path    string    // in the share, components between slashes
	After   time.Time // it is not sent before
	Sending bool
	order   uint64
}

// Queue is the items of a share. The zero Queue is empty.
type Queue struct {
	items map[uint64]*Item
	held  map[string]int // paths at and below which nothing is sent
	last  uint64
}

// within reports whether a path is a folder or below it.
func within(path, dir string) bool {
	return path == dir || dir == "" || strings.HasPrefix(path, dir) && path[len(dir)] == '/'
}

// Set adds an item, or changes where it goes and when. One that is being sent is sent again after that.
func (q *Queue) Set(id uint64, path string, after time.Time) {
	if q.items == nil {
		q.items, q.held = make(map[uint64]*Item), make(map[string]int)
	}
	it := q.items[id]
	if it == nil {
		q.last++
		it = &Item{ID: id, order: q.last}
		q.items[id] = it
	}
	it.Path, it.After = path, after
}

// Get gives an item.
func (q *Queue) Get(id uint64) (Item, bool) {
	if it := q.items[id]; it != nil {
		return *it, true
	}
	return Item{}, false
}

// Drop takes an item out.
func (q *Queue) Drop(id uint64) { delete(q.items, id) }

// Len is how many items there are.
func (q *Queue) Len() int { return len(q.items) }

// All are the items, oldest first.
func (q *Queue) All() []Item {
	all := make([]Item, 0, len(q.items))
	for it := range maps.Values(q.items) {
		all = append(all, *it)
	}
	slices.SortFunc(all, func(a, b Item) int { return cmp.Compare(a.order, b.order) })
	return all
}

// Take takes up to so many items that may be sent at a time, oldest first. If there are none, when is the time of the next one,
// zero if nothing but a change of the queue brings one.
func (q *Queue) Take(now time.Time, most int) (items []Item, when time.Time) {
	var ready []*Item
	for _, it := range q.items {
		switch {
		case it.Sending || q.heldBack(it.Path):
		case !it.After.After(now):
			ready = append(ready, it)
		case when.IsZero() || it.After.Before(when):
			when = it.After
		}
	}
	slices.SortFunc(ready, func(a, b *Item) int { return cmp.Compare(a.order, b.order) })
	for _, it := range ready[:min(len(ready), most)] {
		it.Sending = true
		items = append(items, *it)
	}
	if len(items) > 0 {
		when = time.Time{}
	}
	return items, when
}

func (q *Queue) heldBack(path string) bool {
	for dir := range q.held {
		if within(path, dir) {
			return true
		}
	}
	return false
}

// Sent ends the sending of an item, which waits again until after.
func (q *Queue) Sent(id uint64, after time.Time) {
	if it := q.items[id]; it != nil {
		it.Sending = false
		if it.After.Before(after) {
			it.After = after
		}
	}
}

// Hold keeps all at and below a path from being sent until as many calls of Release; what is being sent goes on.
func (q *Queue) Hold(path string) {
	if q.held == nil {
		q.items, q.held = make(map[uint64]*Item), make(map[string]int)
	}
	q.held[path]++
}

// Release ends a Hold.
func (q *Queue) Release(path string) {
	if q.held[path]--; q.held[path] <= 0 {
		delete(q.held, path)
	}
}

// Sending reports whether something at or below a path is being sent.
func (q *Queue) Sending(path string) bool {
	for _, it := range q.items {
		if it.Sending && within(it.Path, path) {
			return true
		}
	}
	return false
}

// Rename gives all at and below a path their new paths, and tells which they were. What waited at the new path is dropped
// before, by Remove.
func (q *Queue) Rename(from, to string) (moved []Item) {
	for _, it := range q.items {
		if within(it.Path, from) {
			it.Path = to + strings.TrimPrefix(it.Path, from)
			moved = append(moved, *it)
		}
	}
	slices.SortFunc(moved, func(a, b Item) int { return cmp.Compare(a.order, b.order) })
	return moved
}

// Remove drops all at and below a path, and tells which they were.
func (q *Queue) Remove(path string) (dropped []Item) {
	for _, it := range q.items {
		if within(it.Path, path) {
			dropped = append(dropped, *it)
			delete(q.items, it.ID)
		}
	}
	return dropped
}

package queue

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestAgainstModel does random things to a queue and to a plain map of paths, and compares.
func TestAgainstModel(t *testing.T) {
	paths := []string{"a", "a/b", "a/b/c", "ab", "b", "b/a", "c"}
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var q Queue
		model := map[uint64]string{}
		sending := map[uint64]bool{}
		held := map[string]int{}
		now := time.Unix(1000, 0)
		for range 200 {
			p, to := paths[r.IntN(len(paths))], paths[r.IntN(len(paths))]
			id := uint64(r.IntN(10))
			switch r.IntN(8) {
			case 0, 1:
				q.Set(id, p, now.Add(time.Duration(r.IntN(3)-1)*time.Second))
				model[id] = p
			case 2:
				if to == p || strings.HasPrefix(to, p+"/") {
					break
				}
				moved := q.Rename(p, to)
				n := 0
				for id, at := range model {
					if within(at, p) {
						model[id] = to + strings.TrimPrefix(at, p)
						n++
					}
				}
				if len(moved) != n {
					t.Fatalf("seed %d: %d were renamed, want %d", seed, len(moved), n)
				}
			case 3:
				for _, it := range q.Remove(p) {
					if !within(model[it.ID], p) {
						t.Fatalf("seed %d: %s was removed with %s", seed, it.Path, p)
					}
				}
				maps.DeleteFunc(model, func(id uint64, at string) bool {
					gone := within(at, p)
					if gone {
						delete(sending, id)
					}
					return gone
				})
			case 4:
				if held[p] > 0 && r.IntN(2) == 0 {
					q.Release(p)
					if held[p]--; held[p] == 0 {
						delete(held, p)
					}
				} else {
					q.Hold(p)
					held[p]++
				}
			case 5:
				now = now.Add(time.Second)
			case 6:
				if sending[id] {
					q.Sent(id, now.Add(time.Second))
					delete(sending, id)
				}
				if r.IntN(4) == 0 {
					q.Drop(id)
					delete(model, id)
					delete(sending, id)
				}
			case 7:
				items, when := q.Take(now, 1+r.IntN(4))
				for i, it := range items {
					if sending[it.ID] || it.After.After(now) || i > 0 && items[i-1].order > it.order {
						t.Fatalf("seed %d: %+v is sent at %v", seed, items, now)
					}
					for dir := range held {
						if within(it.Path, dir) {
							t.Fatalf("seed %d: %s is sent, and %s is held", seed, it.Path, dir)
						}
					}
					sending[it.ID] = true
				}
				if len(items) == 0 && !when.IsZero() && !when.After(now) {
					t.Fatalf("seed %d: nothing to send, but something at %v", seed, when)
				}
			}
			got := map[uint64]string{}
			for _, it := range q.All() {
				got[it.ID] = it.Path
				if it.Sending != sending[it.ID] {
					t.Fatalf("seed %d: %+v, sending %v", seed, it, sending[it.ID])
				}
			}
			if !maps.Equal(got, model) || q.Len() != len(model) {
				t.Fatalf("seed %d: %v waits, want %v", seed, got, model)
			}
			for _, p := range paths {
				want := slices.ContainsFunc(slices.Collect(maps.Keys(sending)), func(id uint64) bool { return within(model[id], p) })
				if q.Sending(p) != want {
					t.Fatalf("seed %d: sending at %s: %v", seed, p, !want)
				}
			}
		}
	}
}

func TestOldestFirst(t *testing.T) {
	var q Queue
	for id := range uint64(5) {
		q.Set(id, "f", time.Time{})
	}
	q.Set(0, "g", time.Time{}) // changed, and still the oldest
	items, _ := q.Take(time.Unix(1, 0), 3)
	if len(items) != 3 || items[0].ID != 0 || items[0].Path != "g" || items[2].ID != 2 {
		t.Errorf("%+v", items)
	}
}

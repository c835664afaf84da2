package change_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/change/disk"
	"github.com/peerd/peerd/share/change/disktest"
	"github.com/peerd/peerd/share/sharetest"
)

var (
	anna = change.By{Peer: "\x00\x24\x08\x01\x12\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", Name: "anna"}
	bob  = change.By{Peer: "\x00\x24\x08\x01\x12\x20bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", Name: "bob"}
)

// clock makes every look at it a second later.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { c.now = c.now.Add(time.Second); return c.now }

func newClock() *clock { return &clock{time.Date(2026, 11, 25, 20, 43, 56, 0, time.UTC)} }

// TestCrash (2) runs random histories on a disk that loses power at a random operation, and loses with it what was not made to
// last. After each: every path holds exactly an old or a new content, all that was acknowledged is there, and recovering again
// changes nothing. CRASH_SEED runs one again.
func TestCrash(t *testing.T) {
	histories := uint64(350)
	from := uint64(0)
	if s := os.Getenv("CRASH_SEED"); s != "" {
		from, _ = strconv.ParseUint(s, 10, 64)
		histories = 1
	} else if s := os.Getenv("CRASH_HISTORIES"); s != "" {
		histories, _ = strconv.ParseUint(s, 10, 64)
	}
	for _, swaps := range []bool{true, false} {
		crashes := 0
		for seed := from; seed < from+histories && !t.Failed(); seed++ {
			h := &crashHistory{t: t, r: rand.New(rand.NewPCG(seed, 1)), disk: disktest.NewMem(swaps), clock: newClock(),
				model: map[string]string{}, kept: map[string]string{}}
			h.run(30)
			crashes += h.crashes
			if t.Failed() {
				t.Logf("swaps %v, seed %d", swaps, seed)
			}
		}
		t.Logf("swaps %v: %d crashes", swaps, crashes)
	}
}

type crashHistory struct {
	t       *testing.T
	r       *rand.Rand
	disk    *disktest.Mem
	clock   *clock
	e       *change.Editor
	model   map[string]string       // acknowledged
	kept    map[string]string       // path@version → content, acknowledged
	touched map[share.Path]disk.Set // what the last change set, which lasts
	n       int
	crashes int
}

func (h *crashHistory) run(steps int) {
	h.open()
	for range steps {
		if h.r.IntN(4) == 0 {
			h.disk.CrashAfter(h.r.IntN(40))
		}
		h.touched = nil
		next := h.change()
		if !h.disk.Crashed() {
			h.disk.CrashAfter(-1)
			h.check("after a change", h.model)
			continue
		}
		h.crashes++
		h.disk.PowerOn(h.r)
		for h.r.IntN(3) == 0 { // and again, while it recovers
			h.disk.CrashAfter(h.r.IntN(12))
			_, _ = change.Open(context.Background(), h.disk, h.options())
			h.disk.PowerOn(h.r)
		}
		h.open()
		h.check("after a crash", append(next, next[0])...)
		for p, set := range h.touched {
			f, err := h.disk.Open(p.Dir())
			if err != nil {
				h.t.Fatal(err)
			}
			if st, err := f.Stat(p.Base()); err != nil || !st.ModTime.Equal(*set.ModTime) || st.Exec != *set.Exec {
				h.t.Errorf("after a crash, %s is %+v, %v, and not %v, %t", p, st, err, *set.ModTime, *set.Exec)
			}
		}
		before := h.disk.Files(true)
		h.open()
		if after := h.disk.Files(true); !maps.Equal(before, after) {
			h.t.Errorf("a second recovery changes %v to %v", before, after)
		}
		h.adopt()
		if h.t.Failed() {
			return
		}
	}
}

func (h *crashHistory) options() change.Options {
	return change.Options{Now: h.clock.Now, Limits: func() change.Limits { return change.Limits{} }}
}

func (h *crashHistory) open() {
	e, err := change.Open(h.t.Context(), h.disk, h.options())
	if err != nil {
		h.t.Fatal(err)
	}
	h.e = e
}

// adopt takes what the disk holds for what is to be held.
func (h *crashHistory) adopt() { h.model = h.disk.Files(false) }

// check compares the disk with what it may be: each path by itself, and all versions.
func (h *crashHistory) check(when string, may ...map[string]string) {
	h.t.Helper()
	files := h.disk.Files(false)
	paths := maps.Clone(files)
	for _, m := range may {
		maps.Copy(paths, m)
	}
	for p := range paths {
		got, there := files[p]
		if !slices.ContainsFunc(may, func(m map[string]string) bool { want, ok := m[p]; return want == got && ok == there }) {
			h.t.Errorf("%s, %s is %q (%v)", when, p, got, there)
			for _, m := range may {
				h.t.Errorf("it may be %q", m[p])
			}
		}
	}
	if len(may) == 1 {
		return // versions are looked at when something was lost
	}
	for key, want := range h.kept {
		p, id := splitKey(h.t, key)
		if got, err := readVersion(h.t.Context(), h.e, p, id); err != nil || got != want {
			h.t.Errorf("%s, version %s holds %q, %v; want %q", when, key, got, err, want)
		}
	}
}

func splitKey(t *testing.T, key string) (share.Path, change.VersionID) {
	i := len(key) - 20
	id, err := change.ParseVersionID(key[i:])
	if err != nil {
		t.Fatal(err)
	}
	return sharetest.P(t, key[:i-1]), id
}

func readVersion(ctx context.Context, e *change.Editor, p share.Path, id change.VersionID) (string, error) {
	f, err := e.OpenVersion(ctx, p, id)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
	return string(b), err
}

// change makes one change, and gives what the share may be if the power went meanwhile.
func (h *crashHistory) change() (may []map[string]string) {
	h.n++
	by := []change.By{anna, bob, {}}[h.r.IntN(3)]
	before := maps.Clone(h.model)
	switch h.r.IntN(9) {
	case 8:
		when := h.clock.Now()
		set := disk.Set{ModTime: &when, Exec: new(h.r.IntN(2) == 0)}
		p := sharetest.P(h.t, h.pick(false))
		res := h.e.Touch(h.t.Context(), p, change.Base{Any: true}, set, by)
		if res.Err == nil {
			h.touched = map[share.Path]disk.Set{p: set}
			h.ack(res, before, "", "")
		}
		return []map[string]string{before}
	case 0, 1, 2, 3:
		return h.put(before, by)
	case 4:
		p := h.pick(false)
		after := maps.Clone(before)
		delete(after, p)
		for res := range h.e.Remove(h.t.Context(), sharetest.P(h.t, p), change.Base{Any: true}, false, by) {
			h.ack(res, after, p, before[p])
		}
		return []map[string]string{before, after}
	case 5:
		return h.move(before, by)
	case 6:
		return h.restore(before, by)
	}
	p := fmt.Sprintf("d%d/e%d/", h.r.IntN(3), h.r.IntN(2))
	after := maps.Clone(before)
	parents(after, p)
	after[p] = ""
	h.ack(h.e.Mkdir(h.t.Context(), sharetest.P(h.t, p), true, by), after, "", "")
	return []map[string]string{before, after}
}

// pick is a path of a file, mostly one that is there unless fresh.
func (h *crashHistory) pick(fresh bool) string {
	var files []string
	for p := range h.model {
		if p[len(p)-1] != '/' {
			files = append(files, p)
		}
	}
	slices.Sort(files)
	if len(files) > 0 && (!fresh || h.r.IntN(2) == 0) {
		return files[h.r.IntN(len(files))]
	}
	return []string{"a", "b", "d0/a", "d1/b", "d1/e0/c", "d2/x"}[h.r.IntN(6)]
}

func parents(m map[string]string, p string) {
	for i := range len(p) - 1 {
		if p[i] == '/' {
			m[p[:i+1]] = ""
		}
	}
}

func (h *crashHistory) ack(res change.Result, after map[string]string, p, old string) {
	if res.Err != nil {
		return
	}
	h.model = maps.Clone(after)
	if res.Kept != 0 {
		h.kept[p+"@"+res.Kept.String()] = old
	}
}

func (h *crashHistory) put(before map[string]string, by change.By) []map[string]string {
	after := maps.Clone(before)
	var puts []change.Put
	seen := map[string]bool{}
	for i := range 1 + h.r.IntN(4) {
		p := h.pick(true)
		if seen[p] {
			continue
		}
		seen[p] = true
		content := fmt.Sprintf("content %d.%d by %s", h.n, i, by.Name)
		staged := fmt.Sprintf("up-%d-%d", h.n, i)
		if h.disk.Stage(staged, content, h.clock.Now()) != nil {
			return []map[string]string{before}
		}
		puts = append(puts, change.Put{Staged: staged, Path: sharetest.P(h.t, p), Base: change.Base{Any: true}, Parents: true, By: by})
		parents(after, p)
		after[p] = content
	}
	for i, res := range h.e.Commit(h.t.Context(), puts) {
		p := puts[i].Path.String()
		if res.Err == nil {
			step := maps.Clone(h.model)
			parents(step, p)
			step[p] = after[p]
			h.ack(res, step, p, before[p])
		} else if !h.disk.Crashed() {
			h.t.Error(res.Err)
		}
	}
	return []map[string]string{before, after}
}

func (h *crashHistory) move(before map[string]string, by change.By) []map[string]string {
	from, to := h.pick(false), h.pick(true)
	after := maps.Clone(before)
	if content, ok := before[from]; ok {
		delete(after, from)
		after[to] = content
	}
	res := h.e.Move(h.t.Context(), sharetest.P(h.t, from), sharetest.P(h.t, to), change.Base{Any: true}, change.Base{Any: true}, by)
	h.ack(res, after, to, before[to])
	return []map[string]string{before, after}
}

func (h *crashHistory) restore(before map[string]string, by change.By) []map[string]string {
	keys := slices.Sorted(maps.Keys(h.kept))
	if len(keys) == 0 {
		return []map[string]string{before}
	}
	key := keys[h.r.IntN(len(keys))]
	p, id := splitKey(h.t, key)
	to := p.String()
	after := maps.Clone(before)
	parents(after, to)
	after[to] = h.kept[key]
	res := h.e.Restore(h.t.Context(), p, id, p, change.Base{Any: true}, by)
	if res.Err != nil && !h.disk.Crashed() {
		h.t.Error(res.Err)
	}
	h.ack(res, after, to, before[to])
	return []map[string]string{before, after}
}

package history

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change/disk"
	"github.com/peerd/peerd/share/change/disktest"
	"github.com/peerd/peerd/share/sharetest"
)

const day = 24 * time.Hour

func TestID(t *testing.T) {
	moment := time.Date(2026, 11, 25, 20, 43, 56, 622_000_000, time.UTC)
	id := idOf(moment)
	if id.String() != "20261125-204356-9f3b" || id.Time().Sub(moment).Abs() > time.Millisecond {
		t.Errorf("%v is %v", id, id.Time())
	}
	if got, err := ParseID(id.String()); err != nil || got != id {
		t.Errorf("%v, %v", got, err)
	}
	for _, s := range []string{"", "20261125-204356", "20261125-204356-9F3B", "20261125-204356-9f3", "20261125-204356-+f3b", "20261125-246056-9f3b",
		"20261125-204356-9f3bb", "2026112 -204356-9f3b", "19700101-000000-0001"} {
		if id, err := ParseID(s); err == nil {
			t.Errorf("%q is %v", s, id)
		}
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("20261125-204356-9f3b")
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := ParseID(s); err == nil && id.String() != s {
			t.Errorf("%q became %q", s, id.String())
		}
	})
}

func TestRecord(t *testing.T) {
	var e share.Entry
	e.Kind, e.Size, e.ModTime, e.Exec, e.Path = share.File, 12, time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), true, sharetest.P(t, "d/a<b>")
	e.Version[3] = 7
	r := Record{ID: idOf(e.ModTime), Verb: "mv", Act: Place, Path: e.Path, From: sharetest.P(t, "x"), Before: e, After: e, Swap: true,
		Node: disk.Node{Device: 1 << 63, File: 2}, By: By{Name: "anna", Peer: "\x00\x24\x08\x01\x12\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}}
	b, err := encode([]Record{r, {ID: 1 << 16, Act: Mkdir, Path: e.Path}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := decode(b)
	if err != nil || len(got) != 2 || got[0] != r {
		t.Errorf("%+v became %+v, %v", r, got, err)
	}
	if got, err := decode(b[:len(b)-5]); err == nil || len(got) != 1 {
		t.Errorf("what was cut short gives %d records, %v", len(got), err)
	}
}

// TestThin makes a version of a path every few minutes for two years, sweeping at times.
func TestThin(t *testing.T) {
	now := time.Date(2026, 11, 25, 20, 0, 0, 0, time.UTC)
	ages := func(r Retention, step, span time.Duration, by uint16) (left []time.Duration) {
		var vs []Version
		for age := step; age < span; age += step {
			vs = append(vs, Version{idOf(now.Add(-age)), by})
		}
		drop := map[ID]bool{}
		for _, id := range r.Thin(now, vs) {
			drop[id] = true
		}
		for _, v := range slices.Backward(vs) {
			if !drop[v.ID] {
				left = append(left, now.Sub(v.ID.Time()).Round(time.Second))
			}
		}
		return left
	}
	count := func(ages []time.Duration, from, to time.Duration) (n int) {
		for _, a := range ages {
			if a > from && a <= to {
				n++
			}
		}
		return n
	}
	for _, c := range []struct {
		name string
		r    Retention
		step time.Duration
		by   uint16
		want [5]int // up to 1 h, 24 h, 30 d, 365 d, beyond
	}{
		{"the owner's", Retention{PerPath: 1000}, 20 * time.Minute, 0, [5]int{3, 24, 30, 48, 0}},
		{"a peer's", Retention{PerPath: 1000}, 20 * time.Minute, 5, [5]int{3, 69, 30, 48, 0}},
		{"once a day", Retention{}, day, 5, [5]int{0, 1, 29, 48, 0}},
		{"own settings", Retention{All: 2 * time.Hour, Weekly: 40 * day, Safe: time.Second}, time.Hour, 5, [5]int{1, 23, 30, 1, 0}},
	} {
		left := ages(c.r, c.step, 500*day, c.by)
		edges := []time.Duration{0, time.Hour, day, 30 * day, 365 * day, 1000 * day}
		for i, want := range c.want {
			if got := count(left, edges[i], edges[i+1]); got < want-1 || got > want+1 {
				t.Errorf("%s: %d versions between %v and %v, want %d", c.name, got, edges[i], edges[i+1], want)
			}
		}
	}
	if n := len(ages(Retention{}, 10*time.Minute, 500*day, 0)); n != 100 {
		t.Errorf("%d of one path", n)
	}
}

// TestThinFlood is about a peer that writes a path a thousand times to be rid of what it was.
func TestThinFlood(t *testing.T) {
	now := time.Date(2026, 11, 25, 20, 0, 0, 0, time.UTC)
	first := Version{idOf(now.Add(-3 * time.Hour)), 9}
	vs := []Version{{idOf(now.Add(-5 * day)), 3}, {idOf(now.Add(-4 * time.Hour)), 3}, first}
	for i := range 1000 {
		vs = append(vs, Version{first.ID + ID(i+1)<<10, 9})
	}
	drop := Retention{}.Thin(now, vs)
	if len(vs)-len(drop) != 100 {
		t.Errorf("%d are left", len(vs)-len(drop))
	}
	for _, v := range vs[:3] {
		if slices.Contains(drop, v.ID) {
			t.Errorf("%v is gone", v.ID)
		}
	}
}

func FuzzThin(f *testing.F) {
	f.Add(uint64(1), 100)
	f.Fuzz(func(t *testing.T, seed uint64, n int) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		now := time.Date(2026, 11, 25, 20, 0, 0, 0, time.UTC)
		span := []time.Duration{time.Minute, time.Hour, day, 50 * day, 900 * day}[rnd.IntN(5)]
		vs := make([]Version, max(0, n%300))
		seen := map[ID]bool{}
		for i := range vs {
			vs[i] = Version{idOf(now.Add(-time.Duration(rnd.Int64N(int64(span))))), uint16(rnd.IntN(3))}
			for seen[vs[i].ID] {
				vs[i].ID++
			}
			seen[vs[i].ID] = true
		}
		r := Retention{PerPath: 1 + rnd.IntN(120)}
		drop := r.Thin(now, vs)
		left := slices.DeleteFunc(slices.Clone(vs), func(v Version) bool { return slices.Contains(drop, v.ID) })
		if len(left)+len(drop) != len(vs) {
			t.Fatalf("%d of %d, %d dropped", len(left), len(vs), len(drop))
		}
		if again := r.Thin(now, left); len(again) > 0 {
			t.Errorf("thinning again drops %d more", len(again))
		}
		if len(vs) <= r.PerPath {
			for _, v := range vs {
				if now.Sub(v.ID.Time()) < time.Hour && slices.Contains(drop, v.ID) {
					t.Errorf("%v is gone, of the last hour", v.ID)
				}
			}
		}
	})
}

// TestSweep keeps versions of many paths over two years, and sweeps.
func TestSweep(t *testing.T) {
	now := time.Date(2024, 11, 25, 20, 0, 0, 0, time.UTC)
	d := disktest.NewMem(true)
	s, err := Open(t.Context(), d, func() time.Time { return now })
	must(t, err)
	keep := func(path, content string) ID {
		r := Record{ID: s.Next(), Verb: "rm", Act: Take, Path: sharetest.P(t, path)}
		r.Before.Kind, r.Before.Size = share.File, int64(len(content))
		f, name, err := s.Place(r)
		must(t, err)
		must(t, f.Create(name, []byte(content)))
		must(t, s.Begin([]Record{r}))
		must(t, s.End(r.ID, []Record{r}))
		must(t, s.Done(r.ID))
		return r.ID
	}
	var last ID
	for i := range 200 {
		now = now.Add(3 * day)
		last = keep(fmt.Sprintf("f%d", i%5), fmt.Sprintf("content %d", i))
	}
	_, before, err := s.Usage(t.Context())
	must(t, err)
	freed, err := s.Sweep(t.Context(), Retention{}, 1<<40)
	must(t, err)
	bytes, after, err := s.Usage(t.Context())
	must(t, err)
	s.Recount()
	if b, n, err := s.Usage(t.Context()); err != nil || b != bytes || n != after {
		t.Errorf("%d bytes in %d versions, counted anew %d in %d, %v", bytes, after, b, n, err)
	}
	if before != 200 || after >= before || after < 100 || freed == 0 {
		t.Errorf("%d versions became %d, %d bytes freed", before, after, freed)
	}
	hours, err := s.hours(t.Context())
	must(t, err)
	if len(hours) != after {
		t.Errorf("%d hours of the log for %d versions", len(hours), after)
	}
	n := 0
	for k, err := range s.Of(t.Context(), sharetest.P(t, "f4")) {
		must(t, err)
		if n == 0 && k.ID != last || k.Verb != "rm" {
			t.Errorf("%+v", k)
		}
		n++
	}
	if n == 0 || n > 40 {
		t.Errorf("%d versions of one path", n)
	}
	must(t, s.Room(t.Context(), 100, bytes, Retention{})) // the oldest go
	if b, _, _ := s.Usage(t.Context()); b > bytes-100 || b < bytes-120 {
		t.Errorf("%d of %d bytes are left", b, bytes)
	}
	keep("young", "0123456789")
	if err := s.Room(t.Context(), 100, 105, Retention{}); err == nil {
		t.Error("a version of today went for room")
	}
	reopened, err := Open(t.Context(), d, func() time.Time { return now.Add(-1000 * day) })
	must(t, err)
	if id := reopened.Next(); id <= s.last {
		t.Errorf("%v comes after %v", id, s.last)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

package tracker_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/tracker"
)

var (
	start = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	movie = file(1)
	other = file(2)
)

// file is number n, of a share of its own.
func file(n uint32) (f transfer.File) {
	binary.BigEndian.PutUint32(f.Version[:], n)
	f.Share = transfer.ShareID(f.Version)
	return f
}

func source(name string) tracker.Source { return tracker.Source{Peer: peer.ID(name)} }

// told is what a member hears at a time: the others' names in order, and its number.
func told(m *tracker.Member, at time.Time) string {
	n, _ := m.News(at)
	var names []string
	for _, s := range n.Sources {
		names = append(names, string(s.Peer))
	}
	return fmt.Sprintf("%v %d/%d", names, n.Index, n.Of)
}

// inTheMiddle has somebody join after another and before a third.
func inTheMiddle(x *tracker.Table) *tracker.Member {
	x.Join(start, movie, source("a"), true)
	m := x.Join(start, movie, source("b"), true)
	x.Join(start, movie, source("c"), true)
	return m
}

// TestMeeting: that there is more to be told is said with the news, and when.
func TestMeeting(t *testing.T) {
	m := inTheMiddle(tracker.New())
	n, _ := m.News(start)
	if n.More.IsZero() || !n.More.After(start) {
		t.Fatalf("more is to be told at %v, want a moment after %v", n.More, start)
	}
	if got := told(m, n.More.Add(-1)); got != "[a] 1/3" {
		t.Errorf("just before: %s", got)
	}
	if got := told(m, n.More); got != "[c a] 1/3" {
		t.Errorf("then: %s", got)
	}
	if n, _ := m.News(n.More); !n.More.IsZero() {
		t.Errorf("and more at %v", n.More)
	}
}

// TestNews is the table of who is told of whom, and of which number each is.
func TestNews(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(*tracker.Table) *tracker.Member
		at   time.Duration
		want string
	}{
		"alone":                                {func(x *tracker.Table) *tracker.Member { return x.Join(start, movie, source("a"), true) }, 0, "[] 0/1"},
		"the newest first, each by its number": {inTheMiddle, time.Second, "[c a] 1/3"},
		"who came later reaches who was there": {inTheMiddle, 0, "[a] 1/3"},
		"but not who gives nothing, and is named to nobody": {func(x *tracker.Table) *tracker.Member {
			m := x.Join(start, movie, source("b"), false)
			x.Join(start, movie, source("c"), true)
			return m
		}, 0, "[c] 0/0"},
		"nor does who has all look for others": {func(x *tracker.Table) *tracker.Member {
			m := x.Join(start, movie, source("b"), true)
			x.Add(start, movie, source("c"))
			return m
		}, 0, "[c] 0/1"},
		"who gives nothing is not named and has no number": {func(x *tracker.Table) *tracker.Member {
			x.Join(start, movie, source("a"), false)
			return x.Join(start, movie, source("b"), true)
		}, 0, "[] 0/1"},
		"who gives nothing hears of others": {func(x *tracker.Table) *tracker.Member {
			x.Join(start, movie, source("a"), true)
			return x.Join(start, movie, source("b"), false)
		}, 0, "[a] 0/0"},
		"another file": {func(x *tracker.Table) *tracker.Member {
			x.Join(start, other, source("a"), true)
			return x.Join(start, movie, source("b"), true)
		}, 0, "[] 0/1"},
		"who has all is named, and has no number": {func(x *tracker.Table) *tracker.Member {
			x.Join(start, movie, source("a"), true).Done(start)
			x.Add(start, movie, source("c"))
			return x.Join(start, movie, source("b"), true)
		}, tracker.Linger - 1, "[c a] 0/1"},
		"who had all is forgotten in the end": {func(x *tracker.Table) *tracker.Member {
			x.Join(start, movie, source("a"), true).Done(start)
			return x.Join(start, movie, source("b"), true)
		}, tracker.Linger, "[] 0/1"},
		"whose stream broke counts for a minute": {func(x *tracker.Table) *tracker.Member {
			x.Join(start, movie, source("a"), true).Leave(start)
			return x.Join(start, movie, source("b"), true)
		}, time.Minute - 1, "[a] 0/1"},
		"and no longer": {func(x *tracker.Table) *tracker.Member {
			x.Join(start, movie, source("a"), true).Leave(start)
			return x.Join(start, movie, source("b"), true)
		}, time.Minute, "[] 0/1"},
		"a stream that ends after all is there": {func(x *tracker.Table) *tracker.Member {
			a := x.Join(start, movie, source("a"), true)
			a.Done(start)
			a.Leave(start.Add(time.Second))
			return x.Join(start, movie, source("b"), true)
		}, tracker.Linger - 1, "[a] 0/1"},
		"all is there, said after the stream broke": {func(x *tracker.Table) *tracker.Member {
			a := x.Join(start, movie, source("a"), true)
			a.Leave(start)
			a.Done(start)
			return x.Join(start, movie, source("b"), true)
		}, time.Minute, "[] 0/1"},
		"who gives nothing leaves nothing": {func(x *tracker.Table) *tracker.Member {
			x.Join(start, movie, source("a"), false).Done(start)
			return x.Join(start, movie, source("b"), true)
		}, 0, "[] 0/1"},
		"again, in place of before": {func(x *tracker.Table) *tracker.Member {
			old := x.Join(start, movie, source("a"), true)
			x.Join(start, movie, source("c"), true)
			x.Join(start, movie, source("a"), true)
			old.Leave(start) // its stream ends last
			return x.Join(start, movie, source("b"), true)
		}, time.Hour, "[a c] 2/3"},
		"numbers close up": {func(x *tracker.Table) *tracker.Member {
			x.Join(start, movie, source("a"), true).Done(start)
			x.Join(start, movie, source("c"), true).Leave(start)
			return x.Join(start, movie, source("b"), true)
		}, 0, "[c a] 0/1"},
	} {
		t.Run(name, func(t *testing.T) {
			m := tc.do(tracker.New())
			if got := told(m, start.Add(tc.at)); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
}

func TestForget(t *testing.T) {
	table := tracker.New()
	in := map[uint8]*tracker.Member{}
	for n, f := range []transfer.File{movie, other} {
		table.Join(start, f, source("a"), true).Done(start)
		table.Join(start, f, source("c"), true)
		in[uint8(n)] = table.Join(start, f, source("b"), true)
	}
	_, changed := in[0].News(start)
	_, still := in[1].News(start)
	table.Forget(movie.Share)
	if got := told(in[0], start); got != "[c] 1/2" {
		t.Errorf("of the share, those who only give are named still: %s", got)
	}
	if got := told(in[1], start); got != "[c a] 1/2" {
		t.Errorf("of another share: %s", got)
	}
	if !closed(changed) || closed(still) {
		t.Errorf("told: %v of the share, %v of the other", closed(changed), closed(still))
	}
}

// TestGivers: those who give on files of a share are told when rights end.
func TestGivers(t *testing.T) {
	table := tracker.New()
	table.Join(start, movie, source("a"), true)
	table.Join(start, movie, source("b"), false)
	table.Add(start, movie, source("c"))
	table.Join(start, other, source("d"), true)
	got := table.Givers(movie.Share)
	slices.Sort(got)
	if want := []peer.ID{"a", "c"}; !slices.Equal(got, want) {
		t.Errorf("%q give, want %q", got, want)
	}
}

// TestAskers: who fetches and gives is one to ask, until it ends; who only takes or has all does not ask.
func TestAskers(t *testing.T) {
	table := tracker.New()
	_, first := table.Askers(movie)
	m := table.Join(start, movie, source("a"), true)
	table.Join(start, movie, source("b"), false)
	table.Add(start, movie, source("c"))
	table.Join(start, other, source("d"), true)
	all, then := table.Askers(movie)
	if len(all) != 1 || all[0].Peer != "a" || !closed(first) || closed(then) {
		t.Errorf("%v ask, told %v, and before anything happened %v", all, closed(first), closed(then))
	}
	m.Leave(start)
	if all, _ := table.Askers(movie); len(all) != 0 || !closed(then) {
		t.Errorf("%v ask after it left, told %v", all, closed(then))
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// TestChanged: whoever listens hears of each change, and of nothing else.
func TestChanged(t *testing.T) {
	table := tracker.New()
	m := table.Join(start, movie, source("m"), true)
	var a *tracker.Member
	for _, step := range []struct {
		what string
		do   func()
		want bool
	}{
		{"somebody joins", func() { a = table.Join(start, movie, source("a"), true) }, true},
		{"asks what is new", func() { a.News(start) }, false},
		{"joins another file", func() { table.Join(start, other, source("a"), true) }, false},
		{"has all", func() { a.Done(start) }, true},
		{"says so again", func() { a.Done(start) }, false},
		{"leaves", func() { a.Leave(start) }, false},
	} {
		_, changed := m.News(start)
		step.do()
		if got := closed(changed); got != step.want {
			t.Errorf("%s: told %v, want %v", step.what, got, step.want)
		}
	}
}

func TestBounds(t *testing.T) {
	table := tracker.New()
	many := source("first")
	for i := range 3 * tracker.MaxAddrs {
		many.Addrs = append(many.Addrs, ma.StringCast(fmt.Sprintf("/ip4/10.0.0.%d/tcp/1", i+1)))
	}
	table.Join(start, movie, many, true)
	many.Addrs[0] = nil // the table has a copy
	one := table.Join(start, movie, source("one"), true)
	n, _ := one.News(start)
	if len(n.Sources) != 1 || len(n.Sources[0].Addrs) != tracker.MaxAddrs || n.Sources[0].Addrs[0] == nil {
		t.Errorf("the first is %+v", n.Sources)
	}
	for i := range 3 * tracker.MaxMembers {
		m := table.Join(start, movie, source(fmt.Sprint(i)), true)
		if n, _ := m.News(start); n.Index >= n.Of || n.Of > tracker.MaxMembers || len(n.Sources) > tracker.MaxNamed {
			t.Fatalf("member %d is number %d of %d and hears of %d", i, n.Index, n.Of, len(n.Sources))
		}
		m.Leave(start)
	}
	n, _ = one.News(start)
	if n.Index != 1 || len(n.Sources) != tracker.MaxNamed {
		t.Errorf("who came in time is number %d and hears of %d", n.Index, len(n.Sources))
	}

	// The file that was asked for is kept, whatever comes; the others make room for each other.
	for i := range uint32(tracker.MaxFiles) {
		table.Join(start, file(100+i), source("a"), true)
		one.News(start)
	}
	if n, _ := one.News(start); n.Index != 1 || len(n.Sources) != tracker.MaxNamed {
		t.Errorf("after many files it is number %d and hears of %d", n.Index, len(n.Sources))
	}
	if got := told(table.Join(start, file(100), source("b"), true), start); got != "[] 0/1" {
		t.Errorf("a file that had to make room: %s", got)
	}
	if got := told(table.Join(start, file(100+tracker.MaxFiles-1), source("b"), true), start); got != "[a] 1/2" {
		t.Errorf("the newest file: %s", got)
	}
}

// TestAtOnce: many may do all of it at once; run with -race.
func TestAtOnce(t *testing.T) {
	table := tracker.New()
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 300 {
				f := file(uint32(i % 3))
				m := table.Join(start, f, source(fmt.Sprint(g)), g%4 > 0)
				n, _ := m.News(start.Add(time.Duration(i) * time.Second))
				if len(n.Sources) > 7 || n.Of > 8 || (n.Of > 0 && n.Index >= n.Of) {
					t.Errorf("number %d of %d, and %d sources", n.Index, n.Of, len(n.Sources))
				}
				switch i % 4 {
				case 0:
					m.Done(start)
				case 1:
					m.Leave(start)
				case 2:
					table.Forget(f.Share)
				}
				table.Add(start, f, source("seed"))
			}
		})
	}
	all.Wait()
}

// TestDrop: who may not have a share's files any more is named to nobody who fetches them.
func TestDrop(t *testing.T) {
	table := tracker.New()
	now := time.Now()
	f, other := transfer.File{Owner: "o", Share: transfer.ShareID{1}, Path: []string{"f"}}, transfer.File{Owner: "o", Share: transfer.ShareID{2}, Path: []string{"f"}}
	a := table.Join(now, f, tracker.Source{Peer: "a"}, true)
	b := table.Join(now, f, tracker.Source{Peer: "b"}, true)
	table.Add(now, f, tracker.Source{Peer: "c"})
	table.Add(now, other, tracker.Source{Peer: "b"})
	_, changed := a.News(now)
	table.Drop(f.Share, "b")
	<-changed
	if n, _ := a.News(now); len(n.Sources) != 1 || n.Sources[0].Peer != "c" || n.Of != 1 {
		t.Errorf("a hears of %+v", n)
	}
	if g := table.Givers(other.Share); len(g) != 1 || g[0] != "b" {
		t.Errorf("of the other share %v give", g)
	}
	b.Done(now)
	b.Leave(now)
	if g := table.Givers(f.Share); len(g) != 2 {
		t.Errorf("%v give", g)
	}
}

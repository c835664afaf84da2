package swarm

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
)

const ms = time.Millisecond

// desk is a swarm under test. Its helpers read as what happens and what must follow.
type desk struct {
	*Swarm
	t   *testing.T
	now time.Duration
}

// sit is a swarm for a file of so many pieces of 256 KiB; the hashes of all are known.
func sit(t *testing.T, pieces int, opts Options) *desk {
	d := &desk{Swarm: New(transfer.Layout{Size: int64(pieces) << 18, Bits: 18}, opts), t: t}
	for p := range pieces {
		d.Apply(0, Known{p})
	}
	return d
}

// on applies an event after the invariants and gives what follows.
func (d *desk) on(e Event) []Action {
	d.t.Helper()
	actions := d.Apply(d.now, e)
	if err := d.Check(); err != nil {
		d.t.Fatalf("after %T%v: %v", e, e, err)
	}
	return actions
}

// expect applies an event of which exactly the actions must follow.
func (d *desk) expect(e Event, want ...Action) {
	d.t.Helper()
	if got := d.on(e); !slices.Equal(got, want) {
		d.t.Fatalf("after %T%v: %s, want %s", e, e, show(got), show(want))
	}
}

func show(actions []Action) string {
	var s []string
	for _, a := range actions {
		s = append(s, fmt.Sprintf("%T%v", a, a))
	}
	return fmt.Sprint(s)
}

// asks are the pieces that a source is asked for among actions.
func asks(actions []Action, id peer.ID) (pieces []int) {
	for _, a := range actions {
		if ask, ok := a.(Ask); ok && ask.Source == id {
			pieces = append(pieces, ask.Piece)
		}
	}
	return pieces
}

// owed are the pieces that a source owes, in the order asked.
func (d *desk) owed(id peer.ID) (pieces []int) {
	for _, r := range d.sources[id].owed {
		pieces = append(pieces, r.piece)
	}
	return pieces
}

// serve has a source give what it owes, one piece each so often, until it gave n.
func (d *desk) serve(id peer.ID, each time.Duration, n int) {
	d.t.Helper()
	for range n {
		d.now += each
		d.on(Got{id, d.owed(id)[0]})
	}
}

func TestFetchesOnePiece(t *testing.T) {
	d := &desk{Swarm: New(transfer.Layout{Bits: 18}, Options{}), t: t}
	d.expect(Joined{Source: "a", Origin: true})
	d.expect(Known{0}, Ask{"a", 0})
	d.expect(Known{0})
	d.expect(Got{"a", 0}, Done{})
	d.expect(Got{"a", 0})
	if d.Left() != 0 || !d.Have(0) || d.Have(1) {
		t.Error("it is not done")
	}
}

func TestNewSourceIsUsedAtOnce(t *testing.T) {
	d := sit(t, 20, Options{})
	if n := len(asks(d.on(Joined{Source: "a", Origin: true}), "a")); n != firstWindow {
		t.Errorf("an unproven origin owes %d", n)
	}
	if got := d.on(Joined{Source: "b"}); len(got) != 0 {
		t.Errorf("%s of a source that has nothing", show(got))
	}
	d.now = 5 * ms
	free := 0
	for slices.Contains(d.owed("a"), free) {
		free++
	}
	d.expect(Has{"b", []int{free, free}}, Ask{"b", free})
	if n := len(asks(d.on(HasSet{"b", transfer.FullSet(20)}), "b")); n != firstWindow-1 {
		t.Errorf("%d asked of a source that has one", n)
	}
}

func TestOnlyKnownPiecesAreAsked(t *testing.T) {
	d := &desk{Swarm: New(transfer.Layout{Size: 4 << 18, Bits: 18}, Options{}), t: t}
	d.expect(Joined{Source: "a", Origin: true})
	d.expect(Here{2})
	d.expect(Known{2})
	d.expect(Known{3}, Ask{"a", 3})
	d.expect(Here{3}, Cancel{"a", 3})
	d.expect(Known{1}, Ask{"a", 1})
	if d.Left() != 2 {
		t.Errorf("%d left", d.Left())
	}
}

func TestRarestFirst(t *testing.T) {
	for seed := range uint64(20) {
		d := sit(t, 100, Options{Seed: seed})
		for id, n := range map[peer.ID]int{"a": 99, "b": 98} {
			d.on(Joined{Source: id})
			d.sources[id].window = 0 // silent until all have said what they have
			for p := range n {
				d.on(Has{id, []int{p}})
			}
		}
		d.on(Joined{Source: "c"})
		d.sources["c"].window = 0
		d.on(HasSet{"c", transfer.FullSet(100)})
		d.sources["c"].window = firstWindow
		d.expect(Tick{}, Ask{"c", 99}, Ask{"c", 98})
	}
}

func TestTiesAreBrokenBySeed(t *testing.T) {
	order := func(seed uint64) (all []int) {
		d := sit(t, 200, Options{Seed: seed})
		d.on(Joined{Source: "a", Origin: true})
		for len(d.owed("a")) > 0 {
			all = append(all, d.owed("a")[0])
			d.serve("a", ms, 1)
		}
		return all
	}
	one, again, other := order(1), order(1), order(2)
	if !reflect.DeepEqual(one, again) {
		t.Error("the same seed gives two orders")
	}
	if reflect.DeepEqual(one, other) || slices.IsSorted(one) {
		t.Error("the seed does not matter")
	}
}

// want has one reader at a piece, with so many from there on wanted.
func want(at, n int) Want { return Want{[]Span{{at, at + n}}} }

func TestReading(t *testing.T) {
	d := sit(t, 100, Options{Reading: true})
	d.expect(Joined{Source: "a", Origin: true}) // nothing is wanted yet
	d.expect(want(0, 4), Ask{"a", 0}, Ask{"a", 1})
	d.now = ms
	d.expect(Got{"a", 0}, Ask{"a", 2}, Ask{"a", 3}) // its window is 3
	d.expect(Got{"a", 1})                           // and 4 now, but what is beyond the read-ahead waits
	d.expect(want(2, 3), Ask{"a", 4})
	d.expect(want(50, 9), Cancel{"a", 2}, Cancel{"a", 3}, Cancel{"a", 4}, Ask{"a", 50}, Ask{"a", 51}, Ask{"a", 52}, Ask{"a", 53})
	d.expect(want(-5, 3), Cancel{"a", 50}, Cancel{"a", 51}, Cancel{"a", 52}, Cancel{"a", 53})
	d.expect(want(98, 9), Ask{"a", 98}, Ask{"a", 99})
	d.expect(Want{}, Cancel{"a", 98}, Cancel{"a", 99})
}

// Several readers are served at their places, in the order in which they are named, and what all of them want is asked once.
func TestReadingAtSeveralPlaces(t *testing.T) {
	d := sit(t, 100, Options{Reading: true})
	d.on(Joined{Source: "a", Origin: true})
	d.expect(Want{[]Span{{10, 14}}}, Ask{"a", 10}, Ask{"a", 11})
	d.expect(Want{[]Span{{70, 71}, {10, 14}, {12, 13}}}) // there is no room, and nothing is taken back
	d.now = ms
	d.expect(Got{"a", 10}, Ask{"a", 70}, Ask{"a", 12}) // in this order, and its window is 3
	d.expect(Got{"a", 11}, Ask{"a", 13})
	d.expect(Want{[]Span{{70, 71}}}, Cancel{"a", 12}, Cancel{"a", 13})
}

func TestGone(t *testing.T) {
	d := sit(t, 4, Options{Reading: true})
	d.on(Joined{Source: "a", Origin: true})
	d.on(want(0, 4))
	d.now = ms
	for p := range 4 {
		got := d.on(Got{"a", p})
		if done := slices.Contains(got, Action(Done{})); done != (p == 3) {
			t.Fatalf("after piece %d: %s", p, show(got))
		}
	}
	d.expect(Want{})
	d.expect(Gone{2}) // and nobody wants it
	if d.Have(2) || d.Left() != 1 {
		t.Error("it is here still")
	}
	d.expect(want(0, 4), Ask{"a", 2})
	d.expect(Gone{2})
	d.expect(Got{"a", 2}) // done is said once
	d.expect(Gone{9})
	d = sit(t, 4, Options{})
	d.on(Here{2})
	if d.on(Gone{2}); !d.Have(2) {
		t.Error("a copy lost a piece")
	}
}

func TestPlace(t *testing.T) {
	d := sit(t, 12, Options{})
	part := ownPart(12, 1, 3)
	own := slices.Collect(part.All()) // four pieces
	d.on(Joined{Source: "b"})
	d.expect(Place{"b", 1, 3}) // of no origin
	d.expect(Has{"b", own[2:3]}, Ask{"b", own[2]})
	asked := asks(d.on(Joined{"a", true, 1, 3}), "a")
	for range 2 {
		d.now += 10 * ms
		asked = append(asked, asks(d.on(Got{"a", d.owed("a")[0]}), "a")...)
	}
	if slices.Sort(asked); !slices.Equal(asked, []int{own[0], own[1], own[3]}) {
		t.Errorf("the origin was asked for %v of its part %v, and %d is what another has", asked, own, own[2])
	}
	d.now += 10 * ms
	d.expect(Got{"a", d.owed("a")[0]}) // others bring what is missing
	// Nobody brings anything: the origin is asked for what is in the own stretch, and for one piece at a time of the rest.
	helps := stretch(12, 1, 3)
	if got := asks(d.on(Got{"b", own[2]}), "a"); len(got) == 0 || !helps.Has(got[0]) {
		t.Errorf("nobody else can bring anything, and the origin is asked for %v", got)
	}
	for d.Left() > 0 {
		beyond := slices.DeleteFunc(d.owed("a"), helps.Has)
		if len(beyond) > 1 || len(beyond) > 0 && len(d.owed("a")) > 1 {
			t.Errorf("the origin owes %v beyond the own part and stretch", d.owed("a"))
		}
		d.serve("a", 10*ms, 1)
	}
}

// TestStretch: with the own part here, the origin is asked for more than one of others' pieces only once most of the others have
// nothing to bring, and then for those of the own stretch.
func TestStretch(t *testing.T) {
	const pieces = 24
	own, helps := ownPart(pieces, 0, 2), stretch(pieces, 0, 2)
	var theirs []int
	for p := range pieces {
		if !own.Has(p) {
			theirs = append(theirs, p)
		}
	}
	for name, tc := range map[string]struct {
		owe  int // of the two others, who have something
		left int // pieces of the other part that nobody but the origin has
		want bool

		nothing, missing bool // they have nothing yet; a piece of the own part is not here
	}{
		"nobody brings anything":         {0, 10, true, false, false},
		"one of two does":                {1, 10, true, false, false},
		"both do":                        {2, 10, false, false, false},
		"few are left: they are coming":  {1, fewLeft, false, false, false},
		"nobody has anything to bring":   {0, 10, false, true, false},
		"the own part is not whole here": {0, 10, false, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			d := sit(t, pieces, Options{})
			mine := slices.Collect(own.All())
			for p := range own.All() {
				if p != mine[0] || !tc.missing {
					d.on(Here{p})
				}
			}
			for _, p := range theirs[tc.left+tc.owe:] {
				d.on(Here{p})
			}
			for i, id := range []peer.ID{"b", "c"} {
				d.on(Joined{Source: id})
				if tc.nothing {
					continue
				}
				d.on(Has{id, mine[1:2]})
				if i < tc.owe {
					d.expect(Has{id, theirs[tc.left+i : tc.left+i+1]}, Ask{id, theirs[tc.left+i]})
				}
			}
			asked := asks(d.on(Joined{"a", true, 0, 2}), "a")
			if got := len(asked) > 1; got != tc.want || slices.ContainsFunc(asked, func(p int) bool { return !helps.Has(p) }) {
				t.Errorf("the origin is asked for %v, the own stretch is %v", asked, slices.Collect(helps.All()))
			}
		})
	}
}

func TestPlaceBeforeHashes(t *testing.T) {
	d := &desk{Swarm: New(transfer.Layout{Size: 6 << 18, Bits: 18}, Options{}), t: t}
	d.on(Joined{"a", true, 1, 2})
	d.expect(Known{0}) // it is the other's
	d.expect(Known{1}, Ask{"a", 1})
	d.expect(Known{3}, Ask{"a", 3})
	d.on(Got{"a", 1})
	d.expect(Got{"a", 3})
	d.expect(Known{5}, Ask{"a", 5})
	d.expect(Got{"a", 5}, Ask{"a", 0}) // and nobody brings it
}

func TestPlaceChanges(t *testing.T) {
	d := sit(t, 300, Options{})
	d.on(Joined{"a", true, 0, 1})
	d.serve("a", ms, 20)
	d.on(Place{"a", 2, 3})
	own := ownPart(300, 2, 3)
	for i, p := range d.owed("a") {
		if i > 0 && !own.Has(p) {
			t.Errorf("the origin owes piece %d, which is another's", p)
		}
	}
}

func TestPlaceIsTakenBack(t *testing.T) {
	for name, e := range map[string]Event{
		"alone":    Place{"a", 0, 1},
		"negative": Place{"a", -1, 3},
		"no index": Place{"a", 3, 3},
		"left":     Left{"a"},
	} {
		d := sit(t, 12, Options{})
		d.on(Joined{Source: "a", Origin: true})
		d.on(Place{"a", 1, 3})
		d.on(e)
		if d.place.Of != 0 {
			t.Errorf("%s: %v still counts", name, d.place)
		}
	}
}

func TestWindowFollowsTheLink(t *testing.T) {
	for name, c := range map[string]struct {
		each     time.Duration // that a piece takes on the link
		rtt      time.Duration
		low, top int
	}{
		"50 Mbit/s":              {42 * ms, ms, 2, 3},
		"1 Gbit/s":               {2 * ms, ms, 12, 26},
		"10 Gbit/s":              {200 * time.Microsecond, ms / 2, maxWindow, maxWindow},
		"100 Mbit/s, far":        {21 * ms, 100 * ms, 7, 9},
		"5 Mbit/s":               {420 * ms, ms, 2, 3},
		"1 Gbit/s, other planet": {2 * ms, 400 * ms, maxWindow, maxWindow},
	} {
		d := sit(t, 4000, Options{})
		d.on(Joined{Source: "a", Origin: true})
		free := time.Duration(0) // when the link is
		arrival := map[int]time.Duration{}
		worst := 0
		for n := 0; n < 2000; n++ {
			for _, r := range d.sources["a"].owed {
				if arrival[r.piece] == 0 {
					free = max(free, r.at+c.rtt) + c.each
					arrival[r.piece] = free
				}
			}
			first := d.owed("a")[0]
			d.now = arrival[first]
			d.Apply(d.now, Got{"a", first}) // invariants are for shorter runs
			if n > 1000 {
				worst = max(worst, len(d.owed("a")))
			}
		}
		if worst < c.low || worst > c.top {
			t.Errorf("%s: %d pieces owed, want %d to %d", name, worst, c.low, c.top)
		}
	}
}

func TestLiarIsBanned(t *testing.T) {
	d := sit(t, 50, Options{})
	d.on(Joined{Source: "liar", Origin: true})
	d.on(Bad{"liar", d.owed("liar")[0]})
	if n := len(d.owed("liar")); n > 2 {
		t.Errorf("owes %d after one lie", n)
	}
	d.on(Bad{"liar", d.owed("liar")[0]})
	if n := len(d.owed("liar")); n > 1 {
		t.Errorf("owes %d after two lies", n)
	}
	d.expect(Bad{"liar", d.owed("liar")[0]}, Drop{"liar", Lying})
	d.expect(Joined{Source: "liar", Origin: true}, Drop{"liar", Lying})
	d.expect(Bad{"liar", 7})
	if st := d.Stats(); len(st) != 1 || !st[0].Banned || st[0].Bad != maxLies || len(d.Missing()) != 50 {
		t.Errorf("%+v", st)
	}
}

func TestLiesOutlastLeaving(t *testing.T) {
	d := sit(t, 50, Options{})
	for n := 1; n < maxLies; n++ {
		d.on(Joined{Source: "liar", Origin: true})
		d.on(Bad{"liar", d.owed("liar")[0]})
		d.on(Left{"liar"})
	}
	d.on(Joined{Source: "liar", Origin: true})
	d.on(Got{"liar", d.owed("liar")[0]})
	d.expect(Bad{"liar", d.owed("liar")[0]}, Drop{"liar", Lying})
}

func TestBadPieceIsAskedOfOthersFirst(t *testing.T) {
	d := sit(t, 2, Options{})
	d.on(Joined{Source: "a", Origin: true})
	d.on(Here{1})
	d.expect(Bad{"a", 0}, Ask{"a", 0}) // nobody else has it
	d.on(Left{"a"})
	d.on(Joined{Source: "b", Origin: true})
	d.expect(Joined{Source: "a", Origin: true})
	d.expect(Refused{"b", 0}, Ask{"a", 0})
	d.expect(Left{"a"})
	if m := d.Missing(); !slices.Equal(m, []int{0}) {
		t.Errorf("%v is missing", m)
	}
	d.expect(Has{"b", []int{0}}, Ask{"b", 0}) // it has it again
	d.expect(Bad{"b", 0}, Ask{"b", 0})
	d.expect(Joined{Source: "a", Origin: true}) // both gave it wrong, and b is at it
	d.expect(Left{"b"}, Ask{"a", 0})
}

// TestLiarIsTheLastResort: who gave a piece wrong is asked again once nobody else can give it right.
func TestLiarIsTheLastResort(t *testing.T) {
	for _, e := range []Event{Left{"b"}, Refused{"b", 0}, Bad{"b", 0}} {
		d := sit(t, 9, Options{})
		d.on(Joined{Source: "a"})
		d.on(Joined{Source: "b"})
		d.on(Has{"b", []int{1, 2}})
		d.on(Has{"b", []int{0}})
		d.expect(Has{"a", []int{0}}, Ask{"a", 0})
		d.expect(Bad{"a", 0})
		d.expect(e, Ask{"a", 0})
	}
}

// TestPatienceGrows: of sources that are all slower than patience one brings the piece at last.
func TestPatienceGrows(t *testing.T) {
	d := sit(t, 1, Options{})
	asked := map[peer.ID]time.Duration{}
	done := false
	note := func(actions []Action) {
		for _, a := range actions {
			switch a := a.(type) {
			case Ask:
				asked[a.Source] = d.now
			case Cancel:
				delete(asked, a.Source)
			case Done:
				done = true
			}
		}
	}
	for _, id := range []peer.ID{"a", "b", "c"} {
		note(d.on(Joined{Source: id, Origin: true}))
	}
	for !done && d.now < 5*time.Minute {
		d.now += 100 * ms
		note(d.on(Tick{}))
		for id, at := range asked {
			if d.now >= at+9*time.Second {
				note(d.on(Got{id, 0}))
				break
			}
		}
	}
	if !done {
		t.Error("they take the piece from each other for ever")
	}
}

func TestRefusedIsNotAskedAgain(t *testing.T) {
	d := sit(t, 1, Options{})
	d.on(Joined{Source: "a"})
	d.expect(Has{"a", []int{0}}, Ask{"a", 0})
	d.expect(Refused{"a", 0})
	d.expect(Tick{})
	d.expect(Refused{"a", 0})
	if !slices.Equal(d.Missing(), []int{0}) {
		t.Error("nothing is missing")
	}
	d.expect(Has{"a", []int{0}}, Ask{"a", 0})
}

func TestLeftFreesWhatItOwed(t *testing.T) {
	d := sit(t, 2, Options{})
	d.on(Joined{Source: "a", Origin: true})
	d.on(Joined{Source: "b", Origin: true})
	if got := d.on(Left{"a"}); len(asks(got, "b"))+len(d.owed("b")) != 4 && len(d.owed("b")) != 2 {
		t.Errorf("%s", show(got))
	}
	d.on(Left{"b"})
	d.expect(Got{"b", 0}) // it came just before
	if d.Left() != 1 {
		t.Error("what came from who left is lost")
	}
}

func TestStalledSource(t *testing.T) {
	d := sit(t, 500, Options{Seed: 3})
	d.on(Joined{Source: "slow", Origin: true})
	d.serve("slow", 100*ms, 5)
	stuck := d.owed("slow")
	d.on(Joined{Source: "quick", Origin: true})
	d.on(Here{199})
	at, ok := d.NextTick()
	if want := d.now + minPatience; !ok || at != want {
		t.Fatalf("a tick at %v, want %v", at, want)
	}
	for d.now < at {
		if slices.ContainsFunc(stuck, func(p int) bool { return slices.Contains(d.owed("quick"), p) }) {
			t.Fatalf("at %v a piece is asked twice that is not late", d.now)
		}
		d.serve("quick", 10*ms, 1)
	}
	if !d.sources["slow"].stalled {
		t.Fatal("it is not late")
	}
	first := stuck[0]
	for !slices.Contains(d.owed("quick"), first) && d.Left() > 0 {
		d.serve("quick", 10*ms, 1)
	}
	i := slices.Index(d.owed("quick"), first)
	d.serve("quick", ms, i)
	if got := d.on(Got{"quick", first}); !slices.Contains(got, Action(Cancel{"slow", first})) {
		t.Errorf("%s: the late copy is not cancelled", show(got))
	}
}

func TestSilentSourceIsDropped(t *testing.T) {
	for _, others := range []bool{true, false} {
		d := sit(t, 5000, Options{})
		d.on(Joined{Source: "silent", Origin: true})
		d.on(Joined{Source: "quick", Origin: true})
		dropped := time.Duration(0)
		for d.now < 20*time.Second && dropped == 0 {
			d.now += 100 * ms
			e := Event(Tick{})
			if others {
				e = Got{"quick", d.owed("quick")[0]}
			}
			if slices.Contains(d.on(e), Action(Drop{"silent", Slow})) {
				dropped = d.now
			}
		}
		if want := map[bool]time.Duration{true: minSilence}[others]; dropped != want {
			t.Errorf("others deliver: %t; dropped at %v, want %v", others, dropped, want)
		}
		if others {
			if got := d.on(Joined{Source: "silent", Origin: true}); len(asks(got, "silent")) == 0 {
				t.Error("it may not join again")
			}
		}
	}
}

// TestSilentSourceIsNotProbedForEver: that others bring what it owed does not hide that it gives nothing.
func TestSilentSourceIsNotProbedForEver(t *testing.T) {
	d := sit(t, 3000, Options{Reading: true})
	at := 0
	d.on(want(at, 10))
	d.on(Joined{Source: "silent", Origin: true})
	d.on(Joined{Source: "quick", Origin: true})
	for d.now < 60*time.Second {
		d.now += 50 * ms
		var actions []Action
		if len(d.owed("quick")) > 0 {
			actions = d.on(Got{"quick", d.owed("quick")[0]})
		}
		for d.Have(at) {
			at++
			actions = append(actions, d.on(want(at, 10))...)
		}
		if slices.Contains(actions, Action(Drop{"silent", Slow})) {
			return
		}
	}
	t.Errorf("after a minute it is asked still, silent for %v", d.sources["silent"].mute)
}

func TestNobodyIsDroppedForTheOwnSleep(t *testing.T) {
	d := sit(t, 3000, Options{})
	for _, id := range []peer.ID{"a", "b", "c"} {
		d.on(Joined{Source: id, Origin: true})
	}
	for range 10 {
		for _, id := range []peer.ID{"a", "b", "c"} {
			d.serve(id, ms, 1)
		}
	}
	d.now += time.Hour
	for range 10 {
		for _, a := range d.on(Tick{}) {
			if drop, ok := a.(Drop); ok {
				t.Errorf("%v", drop)
			}
		}
		d.now += time.Minute
	}
	for _, a := range d.on(Got{"a", d.owed("a")[0]}) {
		if drop, ok := a.(Drop); ok {
			t.Errorf("%v, since another answered first", drop)
		}
	}
}

func TestLateSourceRecovers(t *testing.T) {
	d := sit(t, 100, Options{})
	d.on(Joined{Source: "a", Origin: true})
	d.now = 3 * time.Second
	d.on(Tick{})
	if !d.sources["a"].stalled || d.sources["a"].room(d.Swarm) > 0 {
		t.Fatal("it is not late")
	}
	d.on(Got{"a", d.owed("a")[0]})
	if d.sources["a"].stalled || len(d.owed("a")) == 0 {
		t.Error("it is late still")
	}
}

func TestEndgame(t *testing.T) {
	d := sit(t, 40, Options{Seed: 5})
	d.on(Joined{Source: "slow", Origin: true})
	d.on(Joined{Source: "quick", Origin: true})
	d.serve("slow", 300*ms, 2)
	for d.open() > 0 {
		d.serve("quick", 5*ms, 1)
	}
	for len(d.owed("quick")) > 1 || len(d.owed("quick")) == 1 && !slices.Contains(d.owed("slow"), d.owed("quick")[0]) {
		d.serve("quick", 5*ms, 1)
	}
	last := d.owed("slow")
	if got := d.owed("quick"); len(got) == 0 || !slices.Contains(last, got[0]) {
		t.Fatalf("slow owes %v, quick %v: nothing is asked twice", last, got)
	}
	for len(d.owed("quick")) > 0 && d.Left() > 1 {
		p := d.owed("quick")[0]
		d.now += 5 * ms
		if got := d.on(Got{"quick", p}); !slices.Contains(got, Action(Cancel{"slow", p})) {
			t.Errorf("%s: the later copy is not cancelled", show(got))
		}
	}
}

func (s *Swarm) open() int { return s.pieces.open.Len() }

func TestNobodyIsTrustedToCount(t *testing.T) {
	d := sit(t, 3, Options{})
	d.on(Joined{Source: "a", Origin: true})
	for _, e := range []Event{
		Known{-1}, Known{3}, Here{-1}, Here{3}, Got{"a", -1}, Got{"a", 3}, Bad{"a", 3}, Bad{"a", -1}, Refused{"a", 9},
		Has{"a", []int{-1, 3}}, Has{"nobody", []int{1}}, HasSet{"nobody", transfer.FullSet(3)}, HasSet{"a", transfer.FullSet(9)},
		Got{"nobody", 1}, Bad{"nobody", 1}, Refused{"nobody", 1}, Left{"nobody"}, want(2, 1), Gone{1}, Place{"nobody", 0, 2},
	} {
		if got := d.on(e); len(got) > 0 {
			t.Errorf("%T%v: %s", e, e, show(got))
		}
	}
}

func TestStats(t *testing.T) {
	d := sit(t, 50, Options{})
	d.on(Joined{Source: "a", Origin: true})
	if st := d.Stats()[0]; st.Rate != 0 || !st.Joined || st.Owed != firstWindow {
		t.Errorf("%+v", st)
	}
	d.serve("a", 10*ms, 30)
	st := d.Stats()[0]
	if want := float64(1<<18) / 0.01; st.Rate < 0.7*want || st.Rate > 1.3*want || st.Bytes != 30<<18 {
		t.Errorf("%+v, want a rate of %.0f", st, want)
	}
	if Slow.String() != "slow" || Lying.String() != "lying" {
		t.Error("a reason has no name")
	}
}

// BenchmarkGot has 16 sources that hold all, or ever more, of a file of 65,536 pieces give them as fast as they are asked.
func BenchmarkGot(b *testing.B) {
	for _, whole := range []bool{true, false} {
		b.Run(map[bool]string{true: "seeds", false: "fetchers"}[whole], func(b *testing.B) {
			const pieces, sources = 1 << 16, 16
			events := 0
			for b.Loop() {
				events += drain(pieces, sources, whole)
			}
			b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "got/s")
		})
	}
}

// drain fetches a file and gives how many pieces came. Sources that do not hold all come to hold what was fetched.
func drain(pieces, sources int, whole bool) (events int) {
	s := New(transfer.Layout{Size: int64(pieces) << 18, Bits: 18}, Options{})
	var asked []Ask
	now := time.Duration(0)
	apply := func(e Event) {
		for _, a := range s.Apply(now, e) {
			if ask, ok := a.(Ask); ok {
				asked = append(asked, ask)
			}
		}
	}
	for p := range pieces {
		apply(Known{p})
	}
	for i := range sources {
		apply(Joined{Source: peer.ID(fmt.Sprint("source", i)), Origin: i == 0 || whole})
	}
	if !whole {
		apply(Place{"source0", 0, sources})
	}
	for ; len(asked) > 0; events++ {
		ask := asked[0]
		asked = asked[1:]
		now += 100 * time.Microsecond
		if !whole {
			apply(Has{peer.ID(fmt.Sprint("source", 1+events%(sources-1))), []int{(events * 40503) % pieces}})
		}
		apply(Got(ask))
	}
	if s.Left() > 0 {
		panic(fmt.Sprint(s.Left(), " left"))
	}
	return events
}

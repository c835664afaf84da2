package auth_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/auth"
)

func noon() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }

func addr4(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
}

func stranger(share auth.ShareID, n int) auth.Attempt {
	return auth.Attempt{Share: share, Peer: peer.ID(fmt.Sprint("stranger ", n)), Addr: addr4(n)}
}

// hammer makes attempts for as long as said, one every step, and counts those that were let through.
func hammer(th *auth.Throttle, from time.Time, lasting, step time.Duration, attempt func(n int) auth.Attempt) (answered int) {
	n := 0
	for now := from; now.Before(from.Add(lasting)); now = now.Add(step) {
		if run, _ := th.Charge(now, attempt(n)); run != nil {
			answered++
		}
		n++
	}
	return answered
}

// T3: 200 KE1 without KE3 from 50 IDs on 10 addresses in a minute get 20 answers at most, and who has been there before
// logs in meanwhile.
func TestFlood(t *testing.T) {
	var th auth.Throttle
	known := auth.Attempt{Share: docs, Peer: "colleague", Addr: addr4(1)}
	run, _ := th.Charge(noon(), known)
	if run == nil {
		t.Fatal("the first attempt was refused")
	}
	th.Succeed(noon(), run, auth.Read)

	answered := 0
	for n := range 200 {
		now := noon().Add(time.Duration(n) * 300 * time.Millisecond)
		a := auth.Attempt{Share: docs, Peer: peer.ID(fmt.Sprint("stranger ", n%50)), Addr: addr4(n % 10)}
		if run, wait := th.Charge(now, a); run != nil {
			answered++
		} else if wait <= 0 || wait > time.Minute {
			t.Errorf("told to wait %v", wait)
		}
		if n%20 == 10 {
			run, wait := th.Charge(now, known)
			if run == nil {
				t.Fatalf("the colleague has to wait %v at attempt %d", wait, n)
			}
			th.Succeed(now, run, auth.Full)
		}
	}
	if answered > 20 || answered < 15 {
		t.Errorf("%d answered, want 15 to 20", answered)
	}
}

// A guesser with IDs and addresses without end gets 1,440 guesses a day at most, and a burst before.
func TestGuessesPerDay(t *testing.T) {
	var th auth.Throttle
	first := hammer(&th, noon(), time.Hour, time.Second, func(n int) auth.Attempt { return stranger(docs, n) })
	next := hammer(&th, noon().Add(time.Hour), 23*time.Hour, time.Second, func(n int) auth.Attempt { return stranger(docs, 4000+n) })
	if first > 60+35 || next > 23*60 || next < 22*60 {
		t.Errorf("%d guesses in the first hour, %d in the 23 after it", first, next)
	}
	// An hour of silence ends it.
	later := noon().Add(25*time.Hour + time.Second)
	again := hammer(&th, later, time.Minute, time.Second, func(n int) auth.Attempt { return stranger(docs, n) })
	if again < 15 {
		t.Errorf("%d answered after an hour of silence", again)
	}
}

// A share stays slow until an hour without a failure. A login is none.
func TestSlow(t *testing.T) {
	const attack = 5 * time.Minute
	at := func(n int) auth.Attempt { return stranger(docs, n) }
	for _, test := range []struct {
		name  string
		then  func(th *auth.Throttle, from time.Time)
		after time.Duration
		want  int // answered at once, so long after the attack
	}{
		{"silence", func(*auth.Throttle, time.Time) {}, time.Hour, 10},
		{"silence, not yet an hour", func(*auth.Throttle, time.Time) {}, time.Hour - time.Minute, 1},
		{"a failure every 3 minutes", func(th *auth.Throttle, from time.Time) {
			hammer(th, from, 4*time.Hour, 3*time.Minute, func(n int) auth.Attempt { return at(1000 + n) })
		}, 4 * time.Hour, 1},
		{"a login", func(th *auth.Throttle, from time.Time) {
			now := from.Add(30 * time.Minute)
			run, wait := th.Charge(now, at(1000))
			if run == nil {
				t.Fatalf("half an hour after the attack the next has to wait %v", wait)
			}
			th.Succeed(now, run, auth.Full)
		}, time.Hour, 10},
	} {
		var th auth.Throttle
		hammer(&th, noon(), attack, time.Second, at)
		test.then(&th, noon().Add(attack))
		later := noon().Add(attack + test.after)
		if got := hammer(&th, later, 100, 1, func(n int) auth.Attempt { return at(2000 + n) }); got != test.want {
			t.Errorf("%s: %d answered, want %d", test.name, got, test.want)
		}
	}
}

// Each bucket on its own: how many attempts go through at once when all else is plenty.
func TestBuckets(t *testing.T) {
	v6 := func(net, host byte) netip.Addr {
		return netip.AddrFrom16([16]byte{0xfd, 7: net, 15: host})
	}
	for _, test := range []struct {
		name    string
		attempt func(n int) auth.Attempt
		want    int
	}{
		{"one peer", func(n int) auth.Attempt { return auth.Attempt{Share: docs, Peer: "one", Addr: addr4(n)} }, 5},
		{"one share", func(n int) auth.Attempt { return stranger(docs, n) }, 10},
		{"one address, many shares", func(n int) auth.Attempt {
			return auth.Attempt{Share: auth.ShareID{byte(n)}, Peer: peer.ID(fmt.Sprint(n)), Addr: addr4(1)}
		}, 20},
		{"all shares", func(n int) auth.Attempt { return stranger(auth.ShareID{byte(n)}, n) }, 20},
		{"no address", func(n int) auth.Attempt { return auth.Attempt{Share: docs, Peer: peer.ID(fmt.Sprint(n))} }, 10},
		{"one net of IPv6", func(n int) auth.Attempt {
			return auth.Attempt{Share: docs, Peer: peer.ID(fmt.Sprint(n)), Addr: v6(1, byte(n))}
		}, 10},
	} {
		var th auth.Throttle
		if got := hammer(&th, noon(), 100, 1, test.attempt); got != test.want {
			t.Errorf("%s: %d at once, want %d", test.name, got, test.want)
		}
	}

	// In a minute they refill: a share by 10, an address or an IPv6 net at a share by 5, an address everywhere by 30.
	for name, test := range map[string]struct {
		attempt func(n int) auth.Attempt
		want    int
	}{
		"share": {func(n int) auth.Attempt { return stranger(docs, n) }, 19},
		"address": {func(n int) auth.Attempt {
			return auth.Attempt{Share: docs, Peer: peer.ID(fmt.Sprint(n)), Addr: addr4(1)}
		}, 14},
		"address in both forms": {func(n int) auth.Attempt {
			a := auth.Attempt{Share: docs, Peer: peer.ID(fmt.Sprint(n)), Addr: addr4(1)}
			if n%2 == 0 {
				a.Addr = netip.AddrFrom16(a.Addr.As16())
			}
			return a
		}, 14},
		"net": {func(n int) auth.Attempt {
			return auth.Attempt{Share: docs, Peer: peer.ID(fmt.Sprint(n)), Addr: v6(1, byte(n))}
		}, 14},
		"address, many shares": {func(n int) auth.Attempt { return auth.Attempt{Share: auth.ShareID{byte(n)}, Addr: addr4(1)} }, 49},
		"address in many zones": {func(n int) auth.Attempt {
			return auth.Attempt{Share: auth.ShareID{byte(n)}, Addr: netip.MustParseAddr("fe80::1").WithZone(fmt.Sprint("eth", n))}
		}, 49},
	} {
		var th auth.Throttle
		if got := hammer(&th, noon(), time.Minute, time.Second/2, test.attempt); got != test.want {
			t.Errorf("%s: %d in a minute, want %d", name, got, test.want)
		}
	}
}

// What a peer is told to wait is enough, and no second too long.
func TestWait(t *testing.T) {
	var th auth.Throttle
	now := noon()
	hammer(&th, now, 5, 1, func(int) auth.Attempt { return stranger(docs, 1) })
	run, wait := th.Charge(now.Add(5), stranger(docs, 1))
	if run != nil || wait < 11*time.Second || wait > 12*time.Second {
		t.Fatalf("run %v, wait %v", run, wait)
	}
	if run, _ := th.Charge(now.Add(5).Add(wait-time.Millisecond), stranger(docs, 1)); run != nil {
		t.Error("let through before the time")
	}
	if run, _ := th.Charge(now.Add(5).Add(wait), stranger(docs, 1)); run == nil {
		t.Error("refused after the time")
	}
	// A clock that goes back a year makes nobody wait longer than an empty bucket does.
	if _, wait := th.Charge(now.AddDate(-1, 0, 0), stranger(docs, 1)); wait > time.Minute {
		t.Errorf("wait %v after the clock went back", wait)
	}
}

// Who logs in with the full password is charged nothing, however often, and neither are those who share its limits.
func TestRefund(t *testing.T) {
	var th auth.Throttle
	for n := range 200 {
		now := noon().Add(time.Duration(n) * 100 * time.Millisecond)
		run, wait := th.Charge(now, stranger(docs, n))
		if run == nil {
			t.Fatalf("login %d has to wait %v", n, wait)
		}
		th.Succeed(now, run, auth.Full)
	}
	got := hammer(&th, noon().Add(20*time.Second), 100, 1, func(n int) auth.Attempt { return stranger(docs, 1000+n) })
	if got != 10 {
		t.Errorf("%d strangers after 200 logins, want 10", got)
	}

	// One run is refunded once.
	var other auth.Throttle
	run, _ := other.Charge(noon(), stranger(docs, 0))
	hammer(&other, noon(), 100, 1, func(n int) auth.Attempt { return stranger(docs, 1+n) })
	for range 5 {
		other.Succeed(noon().Add(200), run, auth.Full)
	}
	if got := hammer(&other, noon().Add(300), 100, 1, func(n int) auth.Attempt { return stranger(docs, 1000+n) }); got != 1 {
		t.Errorf("%d more for one login, want 1", got)
	}
}

// A hundred readers log in within minutes; but who sends the read password in one slot and guesses of the full one in the
// other is refunded a bounded number of times. Without the bound this would be the node's limit, 20 a second.
func TestReaderGuesses(t *testing.T) {
	logins := func(lasting, step time.Duration, who func(n int) auth.Attempt) (through int) {
		var th auth.Throttle
		n := 0
		for now := noon(); now.Before(noon().Add(lasting)); now = now.Add(step) {
			if run, _ := th.Charge(now, who(n)); run != nil {
				through++
				th.Succeed(now, run, auth.Read)
			}
			n++
		}
		return through
	}
	if got := logins(10*time.Minute, 5*time.Second, func(n int) auth.Attempt { return stranger(docs, n) }); got < 100 {
		t.Errorf("%d readers got in within 10 minutes, want 100", got)
	}
	one := logins(24*time.Hour, time.Second, func(int) auth.Attempt { return stranger(docs, 1) })
	if most := 60 + 24*60 + 5 + 24*60*5; one > most {
		t.Errorf("one reader made %d guesses in a day, want at most %d", one, most)
	}
	many := logins(24*time.Hour, time.Second, func(n int) auth.Attempt { return stranger(docs, n%500) })
	if most := 60 + 24*60 + 20 + 24*60*10 + 500; many > most {
		t.Errorf("500 IDs of a reader made %d guesses in a day, want at most %d", many, most)
	}
}

// After a change of password nobody is known any more.
func TestForget(t *testing.T) {
	var th auth.Throttle
	known := stranger(docs, 1)
	run, _ := th.Charge(noon(), known)
	th.Succeed(noon(), run, auth.Full)
	hammer(&th, noon(), 100, 1, func(n int) auth.Attempt { return stranger(docs, 100+n) })
	run, _ = th.Charge(noon().Add(200), known)
	if run == nil {
		t.Fatal("a known peer was refused")
	}
	th.Succeed(noon().Add(200), run, auth.Full)
	th.Forget(docs)
	if run, _ := th.Charge(noon().Add(300), known); run != nil {
		t.Error("still known")
	}
}

// Peers that got in have limits of their own, over all shares as well, and the least recent are forgotten beyond 4,096.
func TestKnown(t *testing.T) {
	var th auth.Throttle
	login := func(n int, a auth.Attempt) {
		t.Helper()
		now := noon().Add(time.Duration(n-10_000) * time.Second)
		run, wait := th.Charge(now, a)
		if run == nil {
			t.Fatalf("login %d has to wait %v", n, wait)
		}
		th.Succeed(now, run, auth.Full)
	}
	for n := range 4500 {
		login(n, stranger(docs, n))
	}
	if buckets, known := th.Size(); buckets > 1<<13 || known != 4096 {
		t.Errorf("%d buckets, %d known", buckets, known)
	}
	for n := range 30 {
		login(4500+n, stranger(auth.ShareID{byte(n)}, n))
	}
	if got := hammer(&th, noon(), 30, 1, func(n int) auth.Attempt { return stranger(auth.ShareID{byte(n)}, n) }); got != 20 {
		t.Errorf("%d known peers at once, want 20", got)
	}
	// The limits of strangers are untouched, and those who were forgotten are strangers.
	if got := hammer(&th, noon().Add(30), 100, 1, func(n int) auth.Attempt { return stranger(docs, n) }); got != 10 {
		t.Errorf("%d of those forgotten at once, want 10", got)
	}
}

// However many shares, peers and addresses somebody makes up, the table stays small enough never to refuse for its size:
// one who comes after an hour of that finds the same limits as ever.
func TestBounded(t *testing.T) {
	var th auth.Throttle
	random := rand.New(rand.NewPCG(1, 2))
	share := func() auth.ShareID {
		return auth.ShareID{byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32())}
	}
	attempt := func(int) auth.Attempt {
		a := auth.Attempt{Share: share(), Peer: peer.ID(fmt.Sprint(random.Uint64())), Addr: addr4(int(random.Uint32()))}
		if random.IntN(2) == 0 {
			var b [16]byte
			for i := range b {
				b[i] = byte(random.Uint32())
			}
			a.Addr = netip.AddrFrom16(b)
		}
		return a
	}
	const step = time.Second / 25
	if got, want := hammer(&th, noon(), time.Hour, step, attempt), 3600*20; got < want-100 || got > want+100 {
		t.Errorf("%d answered in an hour, want %d", got, want)
	}
	if buckets, _ := th.Size(); buckets > 1<<13 {
		t.Errorf("%d buckets", buckets)
	}
}

func BenchmarkCharge(b *testing.B) {
	var th auth.Throttle
	now, n := noon(), 0
	for b.Loop() {
		th.Charge(now, stranger(docs, n))
		now = now.Add(50 * time.Millisecond)
		n++
	}
}

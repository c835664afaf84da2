package fetch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/fetch"
	"github.com/peerd/peerd/transfer/rate"
	"github.com/peerd/peerd/transfer/seed"
	"github.com/peerd/peerd/transfer/serve"
	"github.com/peerd/peerd/transfer/store"
	"github.com/peerd/peerd/transfer/tracker"
	"github.com/peerd/peerd/transfer/transferpb"
	"github.com/peerd/peerd/transfer/transfertest"
)

const theName = "the name that is nobody's business"

// crowd is one large file, its owner and others who have some of it.
type crowd struct {
	transfertest.Crowd
	data  []byte
	file  transfer.File
	all   int // pieces
	table *tracker.Table
	owner *transfertest.Net
	at    *holding              // the owner's file
	reach func(id peer.ID) bool // whether a source answers at all; nil for all do
}

// opener opens streams to those that answer, and waits for the others.
func (c *crowd) opener(as peer.ID) peer.Opener { return reaching{c.As(as), c.reach} }

type reaching struct {
	peer.Opener
	answers func(peer.ID) bool
}

func (r reaching) Open(ctx context.Context, id peer.ID, protocol string, lane int) (peer.Stream, error) {
	if r.answers != nil && !r.answers(id) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return r.Opener.Open(ctx, id, protocol, lane)
}

// permit is the grant of a peer.
func permit(id peer.ID) []byte { return []byte("the owner lets in " + string(id)) }

func checkPermit(b []byte, id peer.ID) (time.Time, error) {
	if !bytes.Equal(b, permit(id)) {
		return time.Time{}, &peer.Error{Kind: peer.Denied, Err: errors.New("no such grant")}
	}
	return time.Now().Add(time.Minute), nil
}

// holding is a file of a source, all of it or some, maybe wrong; it counts the pieces that are read.
type holding struct {
	c     *crowd
	data  []byte
	set   transfer.Set
	asked atomic.Int32
	hook  atomic.Pointer[func(piece int)] // called before a piece is read
	// version is that which it has now, if another.
	version atomic.Pointer[transfer.Version]
}

func (s *holding) Close() error { return nil }
func (s *holding) ReadAt(b []byte, off int64) (int, error) {
	if off%transfer.MinPiece == 0 {
		s.asked.Add(1)
	}
	if hook := s.hook.Load(); hook != nil {
		(*hook)(int(off / transfer.MinPiece))
	}
	return bytes.NewReader(s.data).ReadAt(b, off)
}
func (s *holding) State() (transfer.State, error) {
	st := transfer.State{Size: int64(len(s.data)), Version: s.c.file.Version}
	if v := s.version.Load(); v != nil {
		st.Version = *v
	}
	return st, nil
}
func (s *holding) Pieces() (transfer.Set, <-chan struct{}) { return s.set.Clone(), nil }
func (s *holding) Lacks(i int) bool                        { return !s.set.Has(i) }

// guard lets in who shows its grant, to what open gives.
type guard struct {
	open func(path []string, v transfer.Version) (serve.File, error)
}

func (g guard) Enter(b []byte, holder peer.ID, id transfer.ShareID) (serve.Pass, error) {
	if _, err := checkPermit(b, holder); err != nil || id != transfertest.Share {
		return nil, &peer.Error{Kind: peer.Denied, Err: errors.New("not let in")}
	}
	return guardPass{g}, nil
}

type guardPass struct{ guard }

func (guardPass) Check() error   { return nil }
func (guardPass) Owner() peer.ID { return transfertest.Source }
func (p guardPass) Open(_ context.Context, path []string, v transfer.Version) (serve.File, error) {
	return p.open(path, v)
}

// ownersGuard is a guard that has the secret.
type ownersGuard struct{ guard }

func (g ownersGuard) Enter(b []byte, holder peer.ID, id transfer.ShareID) (serve.Pass, error) {
	p, err := g.guard.Enter(b, holder, id)
	if err != nil {
		return nil, err
	}
	return ownersPass{p}, nil
}

type ownersPass struct{ serve.Pass }

func (ownersPass) Secret() []byte { return []byte("secret") }

// shows is the grant that a source shows.
type shows []byte

func (s shows) Grant(context.Context, []byte) ([]byte, error) { return s, nil }

func newCrowd(t *testing.T, size int) *crowd {
	t.Helper()
	c := &crowd{data: content(size, 3), table: tracker.New()}
	l, err := transfer.LayoutOf(int64(size))
	if err != nil {
		t.Fatal(err)
	}
	c.all = l.Pieces()
	c.file = transfer.File{Owner: transfertest.Source, Share: transfertest.Share, Path: []string{theName}, Version: transfer.Version([]byte("the owner's vers"))}
	c.at = &holding{c: c, data: c.data, set: transfer.FullSet(c.all)}
	whole := struct{ serve.File }{c.at} // an owner has all
	c.owner = c.Add(t, transfertest.Source, handlers(serve.Options{
		Auth: ownersGuard{guard{func([]string, transfer.Version) (serve.File, error) { return whole, nil }}}, Table: c.table,
	}, transfer.Rate(4*mib)))
	return c
}

func handlers(o serve.Options, r transfer.Rate) map[string]peer.Handler {
	o.Manifests, o.Log = &transfertest.Cache{}, quiet
	s := serve.New(o)
	s.Pace(rate.NewLimiter(r), nil)
	return map[string]peer.Handler{serve.ManifestProtocol: s.Manifest, serve.GetProtocol: s.Get, serve.SwarmProtocol: s.Swarm}
}

// seed adds a source that has these bytes of the file, and that the owner names.
func (c *crowd) seed(t *testing.T, name string, data []byte, has func(int) bool) (*holding, *transfertest.Net) {
	t.Helper()
	id := peerID(name)
	s := &holding{c: c, data: data, set: transfer.NewSet(c.all)}
	for i := range c.all {
		if has(i) {
			s.set.Add(i)
		}
	}
	n := c.Add(t, id, handlers(serve.Options{Topics: shows(permit(id)), Auth: guard{func([]string, transfer.Version) (serve.File, error) { return s, nil }}}, transfer.Rate(4*mib)))
	c.table.Add(time.Now(), c.file, tracker.Source{Peer: id})
	return s, n
}

// peerID makes an ID that is one of its name: an identity hash.
func peerID(name string) peer.ID {
	return peer.ID("\x00\x24\x08\x01\x12\x20" + (name + strings.Repeat(".", 32))[:32])
}

func everything(int) bool { return true }

// ledger is a Progress by source.
type ledger struct {
	mu     sync.Mutex
	got    map[peer.ID]int64
	bad    map[peer.ID]int
	banned map[peer.ID]bool
	had    int64
}

func newLedger() *ledger {
	return &ledger{got: make(map[peer.ID]int64), bad: make(map[peer.ID]int), banned: make(map[peer.ID]bool)}
}

func (l *ledger) Got(id peer.ID, _ string, n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.got[id] += n
}

func (l *ledger) Had(_ string, n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.had += n
}

func (l *ledger) Bad(id peer.ID, banned bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if banned {
		l.banned[id] = true
	} else {
		l.bad[id]++
	}
}

// firstGot is a ledger that does something when a source has given something.
type firstGot struct {
	*ledger
	of   peer.ID
	once sync.Once
	then func()
}

func (l *firstGot) Got(id peer.ID, path string, n int64) {
	l.ledger.Got(id, path, n)
	if id == l.of {
		l.once.Do(l.then)
	}
}

// gave reports whether all of these have given something.
func (l *ledger) gave(ids ...peer.ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		if l.got[id] == 0 {
			return false
		}
	}
	return true
}

// caught reports whether all of these are banned.
func (l *ledger) caught(ids ...peer.ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		if !l.banned[id] {
			return false
		}
	}
	return true
}

// some is what came so far.
func (l *ledger) some() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sum()
}

func (l *ledger) sum() (n int64) {
	for _, g := range l.got {
		n += g
	}
	return n + l.had
}

// holdBack has each of these give one piece, and the owner its manifest, but no more until others did their part, however late they are.
func (c *crowd) holdBack(t *testing.T, done func() bool, all ...*holding) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	for _, s := range all {
		var (
			mu     sync.Mutex
			gave   bool
			hashed = make(map[int]bool) // the owner reads each piece once for its manifest, and nobody asks for it before
		)
		free := func(piece int) bool {
			mu.Lock()
			defer mu.Unlock()
			if s == c.at && !hashed[piece] {
				hashed[piece] = true
				return true
			}
			defer func() { gave = true }()
			return !gave
		}
		hook := func(piece int) {
			for free := free(piece); !free && !done() && ctx.Err() == nil; {
				time.Sleep(time.Millisecond)
			}
		}
		s.hook.Store(&hook)
	}
}

// fetcher is one that has everybody for a source.
func (c *crowd) fetcher(t *testing.T, as peer.ID, o fetch.Options) *fetch.Fetcher {
	o.Log = quiet
	if o.Patience == 0 {
		o.Patience = 20 * time.Second
	}
	o.Sources.Check, o.Sources.Addrs = checkPermit, func() []peer.Addr { return nil }
	src := fetch.Source{Opener: c.opener(as), Peer: transfertest.Source, Share: transfertest.Share, Label: "//owner/share",
		Grant: func(context.Context) ([]byte, error) { return permit(as), nil }}
	f := fetch.New(t.Context(), src, o)
	t.Cleanup(f.Close)
	return f
}

// fetch fetches the file to dst/f.
func (c *crowd) fetch(t *testing.T, as peer.ID, dst string, o fetch.Options) error {
	t.Helper()
	d, err := store.OpenDir(dst)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	f := c.fetcher(t, as, o)
	defer f.Close()
	rep := newReport()
	err = f.Tree(t.Context(), seq([]fetch.Item{{Path: []string{theName}, Dest: []string{"f"}, Size: int64(len(c.data))}}), d, false, rep)
	if err == nil {
		err = rep.failed["f"]
	}
	return err
}

// An owner and three seeds: each gives something, nothing is counted twice.
func TestEverybodyGives(t *testing.T) {
	c := newCrowd(t, 16*mib+5)
	all, ids := []*holding{c.at}, []peer.ID{transfertest.Source}
	for i := range 3 {
		name := fmt.Sprint("seed", i)
		s, _ := c.seed(t, name, c.data, everything)
		all, ids = append(all, s), append(ids, peerID(name))
	}
	dst, l := t.TempDir(), newLedger()
	c.holdBack(t, func() bool { return l.gave(ids...) }, all...)
	if err := c.fetch(t, transfertest.Reader, dst, fetch.Options{Progress: l}); err != nil {
		t.Fatal(err)
	}
	holds(t, filepath.Join(dst, "f"), c.data)
	if len(l.got) != 4 || l.sum() != int64(len(c.data)) || len(l.bad) > 0 {
		t.Errorf("of %d sources %d bytes, bad %v", len(l.got), l.sum(), l.bad)
	}
}

// TestAskerIsAsked: who asks this peer for the file is a source as well, though the owner names it to nobody, and so is who
// comes later.
func TestAskerIsAsked(t *testing.T) {
	c := newCrowd(t, 16*mib+5)
	var asks []tracker.Source
	all := []*holding{c.at}
	for i := range 2 {
		name := fmt.Sprint("asker", i)
		s, _ := c.seed(t, name, c.data, everything)
		all, asks = append(all, s), append(asks, tracker.Source{Peer: peerID(name)})
	}
	c.table.Drop(c.file.Share, asks[0].Peer)
	c.table.Drop(c.file.Share, asks[1].Peer)
	more, dst := make(chan struct{}), t.TempDir()
	l := &firstGot{ledger: newLedger(), of: asks[0].Peer, then: func() { close(more) }}
	c.holdBack(t, func() bool { return l.gave(asks[0].Peer, asks[1].Peer) }, all...)
	asked := 0
	askers := func(f transfer.File) ([]tracker.Source, <-chan struct{}) {
		if f.ID() != c.file.ID() {
			t.Errorf("asked for %v", f)
		}
		if asked++; asked == 1 {
			return asks[:1], more
		}
		return asks, nil
	}
	if err := c.fetch(t, transfertest.Reader, dst, fetch.Options{Progress: l, Sources: fetch.Sources{Askers: askers}}); err != nil {
		t.Fatal(err)
	}
	holds(t, filepath.Join(dst, "f"), c.data)
	if l.got[asks[0].Peer] == 0 || l.got[asks[1].Peer] == 0 || asked != 2 {
		t.Errorf("they gave %d and %d bytes, looked at %d times", l.got[asks[0].Peer], l.got[asks[1].Peer], asked)
	}
}

// TestDeafSources: those that don't answer keep nobody from one that does.
func TestDeafSources(t *testing.T) {
	c := newCrowd(t, 16*mib+5)
	good := peerID("good")
	c.seed(t, "good", c.data, everything) // named after those that came later
	for i := range 8 {
		c.seed(t, fmt.Sprint("deaf", i), c.data, everything)
	}
	c.reach = func(id peer.ID) bool { return id == transfertest.Source || id == good }
	dst, l := t.TempDir(), newLedger()
	if err := c.fetch(t, transfertest.Reader, dst, fetch.Options{Progress: l}); err != nil {
		t.Fatal(err)
	}
	holds(t, filepath.Join(dst, "f"), c.data)
	if l.got[good] == 0 {
		t.Error("the one that answers gave nothing")
	}
}

// Three seeds lie, and say that they have all: the file is right, and each is asked for no more than three pieces.
func TestLyingSeeds(t *testing.T) {
	c := newCrowd(t, 16*mib+5)
	wrong := content(len(c.data), 4)
	var (
		liars []*holding
		ids   []peer.ID
	)
	for i := range 3 {
		name := fmt.Sprint("liar", i)
		s, _ := c.seed(t, name, wrong, everything)
		liars, ids = append(liars, s), append(ids, peerID(name))
	}
	dst, l := t.TempDir(), newLedger()
	c.holdBack(t, func() bool { return l.caught(ids...) }, c.at)
	if err := c.fetch(t, transfertest.Reader, dst, fetch.Options{Progress: l}); err != nil {
		t.Fatal(err)
	}
	holds(t, filepath.Join(dst, "f"), c.data)
	for i, s := range liars {
		id := ids[i]
		if l.bad[id] != 3 || !l.banned[id] || l.got[id] > 0 || s.asked.Load() > 3 {
			t.Errorf("liar %d: %d bad, banned %v, asked for %d pieces", i, l.bad[id], l.banned[id], s.asked.Load())
		}
	}
	if l.got[transfertest.Source] != int64(len(c.data)) || l.banned[transfertest.Source] {
		t.Errorf("of the owner %d bytes", l.got[transfertest.Source])
	}
}

// A seed that shows no right of its own hears a topic, and nothing of what is wanted or by what right.
func TestSeedWithoutRight(t *testing.T) {
	for name, grant := range map[string][]byte{"none": nil, "garbage": []byte("x"), "of another": permit(transfertest.Reader)} {
		t.Run(name, func(t *testing.T) {
			c := newCrowd(t, 8*mib+5)
			id := peerID("curious")
			s, _ := c.seed(t, "curious", c.data, everything)
			n := c.Add(t, id, handlers(serve.Options{Topics: shows(grant), Auth: guard{func([]string, transfer.Version) (serve.File, error) { return s, nil }}}, 0))
			n.Record()
			l := newLedger()
			if err := c.fetch(t, transfertest.Reader, t.TempDir(), fetch.Options{Progress: l}); err != nil {
				t.Fatal(err)
			}
			heard := n.Heard()
			if !bytes.Contains(heard, serve.Topic([]byte("secret"))) {
				t.Fatalf("it did not hear the topic, but %q", heard)
			}
			for what, b := range map[string][]byte{"name": []byte(theName), "version": c.file.Version[:], "share": transfertest.Share[:], "grant": permit(transfertest.Reader)} {
				if bytes.Contains(heard, b) {
					t.Errorf("it heard the %s", what)
				}
			}
			if s.asked.Load() > 0 || l.got[id] > 0 {
				t.Errorf("it was asked for %d pieces", s.asked.Load())
			}
		})
	}
}

// The owner dies: what the seeds have together is enough.
func TestOwnerDies(t *testing.T) {
	c := newCrowd(t, 16*mib+5)
	even, _ := c.seed(t, "even", c.data, func(i int) bool { return i%2 == 0 })
	c.seed(t, "odd", c.data, func(i int) bool { return i%2 == 1 })
	// Who asks for the last piece has the hashes of all; without them no piece of a seed is of use.
	var (
		hashed atomic.Bool // the owner has read it for its manifest
		dead   atomic.Bool
	)
	hook := func(piece int) {
		if piece == c.all-1 && hashed.Swap(true) && !dead.Swap(true) {
			c.owner.Cut()
		}
	}
	c.at.hook.Store(&hook)
	even.hook.Store(&hook)
	dst, l := t.TempDir(), newLedger()
	if err := c.fetch(t, transfertest.Reader, dst, fetch.Options{Progress: l}); err != nil {
		t.Fatal(err)
	}
	holds(t, filepath.Join(dst, "f"), c.data)
	if sent := c.owner.Received(); !dead.Load() || l.sum() != int64(len(c.data)) || l.got[transfertest.Source] > sent {
		t.Errorf("%d bytes, %d of the owner, which sent %d and died: %v", l.sum(), l.got[transfertest.Source], sent, dead.Load())
	}
}

// The owner dies and one piece is nowhere else: it is waited for; who has no patience is told what is missing, and fetches
// what was there no second time.
func TestOwnerIsWaitedFor(t *testing.T) {
	c := newCrowd(t, 16*mib+5)
	const missing = 40
	c.seed(t, "most", c.data, func(i int) bool { return i != missing })
	// The owner dies when it is asked for the piece, once half of the file is here.
	var hashed atomic.Bool // its manifest is read first
	dies := func(l *ledger) {
		hook := func(piece int) {
			if piece == missing && !hashed.Swap(true) {
				return
			}
			for piece == missing && t.Context().Err() == nil {
				if l.some() > 8*mib {
					c.owner.Cut()
					c.at.hook.Store(nil)
					return
				}
				time.Sleep(time.Millisecond)
			}
		}
		c.at.hook.Store(&hook)
	}
	dst, l := t.TempDir(), newLedger()
	dies(l)
	err := c.fetch(t, transfertest.Reader, dst, fetch.Options{Progress: l, Patience: 3 * time.Second})
	kindIs(t, err, peer.Unreachable)
	if err != nil && !strings.Contains(err.Error(), fmt.Sprintf("1 of %d pieces", c.all)) {
		t.Errorf("the error does not say what is missing: %v", err)
	}
	first := l.sum()
	if want := int64(len(c.data) - transfer.MinPiece); first != want {
		t.Errorf("%d bytes came before, want %d", first, want)
	}
	c.owner.Restore()
	l2 := newLedger()
	if err := c.fetch(t, transfertest.Reader, dst, fetch.Options{Progress: l2}); err != nil {
		t.Fatal(err)
	}
	holds(t, filepath.Join(dst, "f"), c.data)
	if l2.had != first || l2.sum() != int64(len(c.data)) {
		t.Errorf("%d of %d bytes were fetched again", first-l2.had, first)
	}

	var told atomic.Bool
	dst, l = t.TempDir(), newLedger()
	dies(l)
	err = c.fetch(t, transfertest.Reader, dst, fetch.Options{Progress: l, Waiting: func(error) {
		if !told.Swap(true) {
			time.AfterFunc(500*time.Millisecond, c.owner.Restore)
		}
	}})
	if err != nil || !told.Load() {
		t.Fatalf("it waited %v, %v", told.Load(), err)
	}
	holds(t, filepath.Join(dst, "f"), c.data)
}

// Who is still fetching gives on what it has, and goes on when it is done.
func TestGivesWhileFetching(t *testing.T) {
	c := newCrowd(t, 16*mib+5)
	anna := peerID("anna")
	cache, err := store.OpenCache(t.TempDir(), 64*mib, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	shelf, err := seed.Open(t.TempDir(), cache, quiet)
	if err != nil {
		t.Fatal(err)
	}
	c.Add(t, anna, handlers(serve.Options{Topics: shows(permit(anna)), Auth: guard{func(path []string, v transfer.Version) (serve.File, error) {
		return shelf.Open(transfer.File{Owner: transfertest.Source, Share: transfertest.Share, Path: path, Version: v})
	}}}, transfer.Rate(20*mib)))
	begun := make(chan struct{})
	var once sync.Once
	done := make(chan error, 1)
	dst := t.TempDir()
	go func() {
		done <- c.fetch(t, anna, dst, fetch.Options{Shelf: shelf, Progress: told(func() { once.Do(func() { close(begun) }) })})
	}()
	<-begun
	l, dst2 := newLedger(), t.TempDir()
	if err := c.fetch(t, transfertest.Reader, dst2, fetch.Options{Progress: l}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	holds(t, filepath.Join(dst, "f"), c.data)
	holds(t, filepath.Join(dst2, "f"), c.data)
	if l.got[anna] < 2*mib || len(l.bad) > 0 || l.sum() != int64(len(c.data)) {
		t.Errorf("%d bytes of anna, bad %v, %d in all", l.got[anna], l.bad, l.sum())
	}
}

// told is a Progress that says that something came.
type told func()

func (f told) Got(peer.ID, string, int64) { f() }
func (told) Had(string, int64)            {}
func (told) Bad(peer.ID, bool)            {}

// What a seed says that makes no sense, or without end, does no harm.
func TestNonsenseNews(t *testing.T) {
	frame := func(n *transferpb.SwarmNews) []byte {
		b, err := wire.AppendMsg(nil, n)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	crowded := new(transferpb.SwarmNews)
	for i := range 5000 {
		crowded.Sources = append(crowded.Sources, &transferpb.SwarmSource{Peer: []byte(peerID(fmt.Sprint(i)))})
	}
	full := transfer.FullSet(9)
	wrongSet, _ := full.AppendBinary(nil)
	for name, say := range map[string][]byte{
		"garbage":          bytes.Repeat([]byte{40, 0xff}, 5000),
		"endless frame":    append([]byte{0xff, 0xff, 0x7f}, make([]byte, 3*mib)...),
		"a set too long":   frame(&transferpb.SwarmNews{Set: append(wrongSet, 1, 1, 1, 1)}),
		"far pieces":       frame(&transferpb.SwarmNews{Pieces: []uint32{1 << 31, 1<<32 - 1, 65}}),
		"many sources":     frame(crowded),
		"bad IDs":          frame(&transferpb.SwarmNews{Sources: []*transferpb.SwarmSource{{}, {Peer: make([]byte, 3000)}, {Peer: []byte("x"), Addrs: [][]byte{{1}, nil}}}}),
		"owner and reader": frame(&transferpb.SwarmNews{All: true, Sources: []*transferpb.SwarmSource{{Peer: []byte(transfertest.Source)}, {Peer: []byte(transfertest.Reader)}, {Peer: []byte(peerID("odd"))}}}),
		"as if the owner":  frame(&transferpb.SwarmNews{All: true, Secret: []byte("another"), Index: 1, Of: 2}),
	} {
		t.Run(name, func(t *testing.T) {
			c := newCrowd(t, 4*mib+5)
			id := peerID("odd")
			c.Add(t, id, map[string]peer.Handler{serve.SwarmProtocol: func(_ context.Context, s peer.Stream) error {
				in := wire.NewReader(s)
				if err := in.ReadMsg(new(transferpb.SwarmHello), 1<<16); err != nil {
					return err
				}
				if err := wire.WriteMsg(s, &transferpb.SwarmWelcome{Grant: permit(id)}); err != nil {
					return err
				}
				for {
					if _, err := s.Write(say); err != nil {
						return nil
					}
				}
			}})
			c.table.Add(time.Now(), c.file, tracker.Source{Peer: id})
			peak := watchMemory(t)
			begin, dst := time.Now(), t.TempDir()
			if err := c.fetch(t, transfertest.Reader, dst, fetch.Options{}); err != nil {
				t.Fatal(err)
			}
			holds(t, filepath.Join(dst, "f"), c.data)
			if took := time.Since(begin); took > 15*time.Second {
				t.Errorf("it took %v", took)
			}
			if p := peak(); p > 100*mib {
				t.Errorf("%d MiB of memory", p/mib)
			}
		})
	}
}

// A reader gets the bytes in order from whoever has them, though sources die; and a second time from its own cache.
func TestReadOfCrowd(t *testing.T) {
	c := newCrowd(t, 16*mib+5)
	_, one := c.seed(t, "one", c.data, everything)
	c.seed(t, "two", c.data, everything)
	one.At(mib, one.Cut)
	c.owner.At(2*mib, c.owner.Kill)
	cache, err := store.OpenCache(t.TempDir(), 64*mib, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	shelf, err := seed.Open(t.TempDir(), cache, quiet)
	if err != nil {
		t.Fatal(err)
	}
	for _, again := range []bool{false, true} {
		l := newLedger()
		f := c.fetcher(t, transfertest.Reader, fetch.Options{Progress: l, Shelf: shelf})
		out := against{want: c.data}
		if err := f.Read(t.Context(), []string{theName}, int64(len(c.data)), 0, -1, &out); err != nil || !out.whole() {
			t.Fatalf("%d bytes, %v", out.n, err)
		}
		f.Close()
		if (l.had == int64(len(c.data))) != again || l.sum() != int64(len(c.data)) || len(l.bad) > 0 {
			t.Errorf("again %v: %d bytes were here of %d", again, l.had, l.sum())
		}
	}
}

// Who has all of a file says so, and is named as a source for long after.
func TestSaysThatItIsDone(t *testing.T) {
	for name, run := range map[string]func(*crowd) error{
		"copied": func(c *crowd) error { return c.fetch(t, transfertest.Reader, t.TempDir(), fetch.Options{}) },
		"read": func(c *crowd) error {
			f := c.fetcher(t, transfertest.Reader, fetch.Options{})
			defer f.Close()
			return f.Read(t.Context(), []string{theName}, int64(len(c.data)), 0, -1, io.Discard)
		},
	} {
		c := newCrowd(t, 3*mib)
		if err := run(c); err != nil {
			t.Fatal(err)
		}
		// The owner's stream ends a moment later. Whoever joins then is alone, and hears of the one that was before.
		probe := c.table.Join(time.Now(), c.file, tracker.Source{Peer: "probe"}, true)
		for tell := time.After(5 * time.Second); ; {
			news, changed := probe.News(time.Now())
			if news.Of == 1 {
				break
			}
			select {
			case <-changed:
			case <-tell:
				t.Fatalf("%s: it still fetches", name)
			}
		}
		if news, _ := probe.News(time.Now().Add(tracker.Linger / 2)); len(news.Sources) != 1 {
			t.Errorf("%s: it is not named", name)
		}
	}
}

package pull

import (
	"bytes"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/fetch/lane"
	"github.com/peerd/peerd/transfer/manifest"
	"github.com/peerd/peerd/transfer/swarm"
	"github.com/peerd/peerd/transfer/transferpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// target is where a file goes, and who is told of it.
type target struct {
	mu        sync.Mutex
	data      []byte
	got       int64
	bad, here int
}

func (f *target) WriteAt(b []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return copy(f.data[off:], b), nil
}

func (f *target) Here(int)                         { f.here++ }
func (*target) Add(int)                            {}
func (*target) Finish(transfer.Manifest, string)   {}
func (*target) Close()                             {}
func (f *target) Got(_ peer.ID, _ string, n int64) { f.got += n }
func (f *target) Bad(peer.ID, bool)                { f.bad++ }
func (*target) Had(string, int64)                  {}

// pulling is a Pull without a network, of a file of two pieces, and the jobs that fetch the first of them.
func pulling(t *testing.T, bits uint) (l *Pull, f *target, data []byte, job func(name string) *pieceJob) {
	t.Helper()
	layout := transfer.Layout{Size: 2 << bits, Bits: bits}
	data = bytes.Repeat([]byte("some bytes of it"), int(layout.Size/16))
	f = &target{data: make([]byte, layout.Size)}
	var h manifest.Hasher
	want, err := manifest.Piece(&h, bytes.NewReader(data), layout, 0, make([]byte, manifest.Step))
	if err != nil {
		t.Fatal(err)
	}
	l = &Pull{
		Config: Config{Layout: layout, Sink: f, Growing: f, Progress: f, Bans: new(Bans), Log: slog.New(slog.DiscardHandler)},
		begun:  time.Now(), done: make(chan struct{}), ticked: make(chan struct{}, 1), swarm: swarm.New(layout, swarm.Options{}),
		hashes: map[int]transfer.Hash{0: want}, jobs: make(map[request]*pieceJob), arrived: transfer.NewSet(2),
		writing: make(map[int]*pieceJob), members: make(map[peer.ID]*member),
	}
	return l, f, data[:layout.Length(0)], func(name string) *pieceJob {
		lanes := lane.Open(t.Context(), lane.Source{}, lane.Options{})
		t.Cleanup(lanes.Close)
		l.apply(swarm.Joined{Source: peer.ID(name)})
		return &pieceJob{Pull: l, member: &member{pull: l, id: peer.ID(name), lanes: lanes}, lanes: lanes, want: want}
	}
}

// between is a body in whose midst something else happens.
func between(b []byte, do func()) io.Reader {
	half := len(b) / 2
	return io.MultiReader(bytes.NewReader(b[:half]), hook(do), bytes.NewReader(b[half:]))
}

type hook func()

func (h hook) Read([]byte) (int, error) {
	h()
	return 0, io.EOF
}

func receive(t *testing.T, j *pieceJob, body io.Reader) {
	t.Helper()
	err := j.Receive(&transferpb.GetReply{Length: uint64(j.Cost())}, body, &lane.Scratch{})
	if err != nil {
		t.Error(err)
	}
	if n, _ := io.Copy(io.Discard, body); n > 0 {
		t.Errorf("%d bytes were left", n)
	}
}

// A piece that two sources bring at the same moment counts once.
func TestTwiceAtOnce(t *testing.T) {
	_, f, data, job := pulling(t, 18)
	receive(t, job("a"), between(data, func() { receive(t, job("b"), bytes.NewReader(data)) }))
	if f.got != int64(len(data)) || f.here != 1 || f.bad != 0 {
		t.Errorf("%d bytes, here %d times, bad %d", f.got, f.here, f.bad)
	}
}

// Of a piece that is held until it is verified no wrong byte is written, nor over one that is there.
func TestWrongPiece(t *testing.T) {
	_, f, data, job := pulling(t, 18)
	wrong := bytes.Repeat([]byte("x"), len(data))
	receive(t, job("liar"), bytes.NewReader(wrong))
	if f.bad != 1 || !bytes.Equal(f.data, make([]byte, len(f.data))) {
		t.Errorf("bad %d, and something was written", f.bad)
	}
	receive(t, job("late"), between(wrong, func() { receive(t, job("good"), bytes.NewReader(data)) }))
	if f.bad != 2 || !bytes.Equal(f.data[:len(data)], data) {
		t.Errorf("bad %d, and a right piece was spoiled", f.bad)
	}
}

// A long piece is written before it is verified: no other may write to it meanwhile, and none once it is there.
func TestLongPiece(t *testing.T) {
	l, f, data, job := pulling(t, 21)
	wrong := bytes.Repeat([]byte("x"), len(data))
	second := job("second")
	receive(t, job("liar"), between(wrong, func() {
		receive(t, second, bytes.NewReader(data))
		if f.got > 0 {
			t.Error("two write to one piece")
		}
	}))
	if f.bad != 1 || f.got != 0 || len(l.writing) > 0 {
		t.Errorf("bad %d, %d bytes, %d are written to", f.bad, f.got, len(l.writing))
	}
	receive(t, second, bytes.NewReader(data))
	receive(t, job("another"), bytes.NewReader(wrong))
	if !bytes.Equal(f.data[:len(data)], data) || f.got != int64(len(data)) || f.bad != 1 {
		t.Errorf("it was spoiled: %d bytes, bad %d", f.got, f.bad)
	}
}

// Of those who are named, no more are met than can be asked, and never the owner or who lied.
func TestMeet(t *testing.T) {
	l, _, _, _ := pulling(t, 18)
	met := make(map[peer.ID]bool)
	l.Source.Peer, l.topic, l.ctx = "owner", []byte("topic"), t.Context()
	l.Meet = func(id peer.ID, _ []peer.Addr) { met[id] = true }
	l.Bans.add("liar")
	for i := range 2 * maxSeeds {
		l.members[peer.ID(rune('A'+i))] = &member{}
	}
	l.members["owner"] = &member{}
	for _, id := range []peer.ID{"owner", "liar", "new"} {
		l.meet(id, []peer.Addr{nil})
	}
	l.meet("A", []peer.Addr{nil})
	if len(met) != 1 || !met["A"] {
		t.Errorf("met %v", met)
	}
}

// TestSeek: sources are looked for once a file has been on its way for some time, and not while many were named.
func TestSeek(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _, _, _ := pulling(t, 16)
		l.ctx = t.Context()
		for _, id := range []peer.ID{"owner", "a", "b", "c", "d", "e"} {
			l.members[id] = &member{}
		}
		var looked atomic.Bool
		go l.seek(func() { looked.Store(true) })
		time.Sleep(2*patient + time.Second)
		if synctest.Wait(); looked.Load() {
			t.Error("it was looked for sources though five were named")
		}
		l.mu.Lock()
		delete(l.members, "e")
		l.mu.Unlock()
		time.Sleep(patient - 2*time.Second)
		if synctest.Wait(); looked.Load() {
			t.Error("it was looked for sources too soon")
		}
		time.Sleep(time.Second)
		if synctest.Wait(); !looked.Load() {
			t.Error("it was not looked for sources though few were left")
		}
	})
}

// TestReach: a few sources are reached at once, one more when one of them was or none was for a while, and none for a file that
// is here.
func TestReach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Pull{reaching: make(chan struct{}, reachAtOnce), next: make(chan struct{}, 1), done: make(chan struct{})}
		began := time.Now()
		type turn struct {
			at      time.Duration
			reached func()
		}
		turns := make(chan turn, reachAtOnce+4)
		for range cap(turns) {
			go func() {
				reached := l.reach(t.Context())
				turns <- turn{time.Since(began), reached}
			}()
		}
		first := (<-turns).reached
		for range reachAtOnce - 1 {
			if at := (<-turns).at; at != 0 {
				t.Errorf("one of the first began after %v", at)
			}
		}
		time.AfterFunc(reachTime/2, first)
		for i, want := range []time.Duration{reachTime / 2, 3 * reachTime / 2, 5 * reachTime / 2} {
			if at := (<-turns).at; at != want {
				t.Errorf("number %d more began after %v, want %v", i+1, at, want)
			}
		}
		close(l.done)
		if at := (<-turns).at; at != 5*reachTime/2 || len(l.reaching) != reachAtOnce {
			t.Errorf("the last was let go after %v, %d are being reached", at, len(l.reaching))
		}
	})
}

// What a source answers to a request that was taken back says nothing of what it was asked since: that is not lost count of.
func TestLateAnswer(t *testing.T) {
	l, _, data, _ := pulling(t, 18)
	l.swarm = swarm.New(l.Layout, swarm.Options{Reading: true})
	lanes := lane.Open(t.Context(), lane.Source{}, lane.Options{})
	t.Cleanup(lanes.Close)
	a := peer.ID("a")
	m := &member{pull: l, id: a, lanes: lanes}
	l.members[a] = m
	asked := func() *pieceJob {
		l.Want([]swarm.Span{{From: 0, To: 1}}, nil)
		return l.jobs[request{a, 0}]
	}
	l.apply(swarm.Joined{Source: a, Origin: true})
	l.apply(swarm.Known{Piece: 0})
	first := asked()
	l.Want(nil, nil)
	second := asked()
	if first == nil || second == nil || first == second {
		t.Fatal("it was not asked twice")
	}
	receive(t, first, bytes.NewReader(make([]byte, len(data))))
	if third := asked(); third == second {
		t.Fatal("it was not asked again")
	}
	if m.sent != 1 || len(l.jobs) != 1 {
		t.Errorf("%d requests are counted, %d kept, want 1", m.sent, len(l.jobs))
	}
}

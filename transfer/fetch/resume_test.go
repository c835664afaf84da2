package fetch_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer/fetch"
)

const resumeSize = 48*mib + 333

// A receiver that ends in the middle leaves what it had, and the next one fetches only what is missing.
func TestResume(t *testing.T) {
	r := newRig(t)
	r.write(t, "f", content(resumeSize, 1))
	dst := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	r.At(resumeSize/2, cancel)
	if _, err := fetchTreeUntil(t, ctx, r.Net, r.items(t), dst, false, fetch.Options{}); err == nil {
		t.Fatal("it was not interrupted")
	}
	if _, err := os.Lstat(filepath.Join(dst, "f")); err == nil {
		t.Fatal("half a file has its name")
	}
	if n := len(temporaries(t, dst)); n != 1 {
		t.Fatalf("%d unfinished files", n)
	}
	first := r.Received()
	var m meter
	r.mustFetch(t, dst, fetch.Options{Progress: &m})
	second := r.Received() - first
	same(t, r.folder.Dir, dst)
	// Two lanes owe a window each at most, of which only what was under way comes twice.
	if waste := first + second - resumeSize; waste > 2*window {
		t.Errorf("%d and %d bytes were fetched for %d: %d twice", first, second, resumeSize, waste)
	}
	if m.had.Load() < resumeSize/4 || m.had.Load()+m.got.Load() != resumeSize {
		t.Errorf("second run: %d had, %d got", m.had.Load(), m.got.Load())
	}
}

// What an unfinished file holds counts by its hash alone.
func TestResumeOverRubbish(t *testing.T) {
	r := newRig(t)
	r.write(t, "f", content(resumeSize, 1))
	dst := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	r.At(resumeSize/2, cancel)
	if _, err := fetchTreeUntil(t, ctx, r.Net, r.items(t), dst, false, fetch.Options{}); err == nil {
		t.Fatal("it was not interrupted")
	}
	temp := temporaries(t, dst)[0]
	b, err := os.ReadFile(temp)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(b); i += 100_000 {
		b[i] ^= 1
	}
	write(t, temp, append(b, "and more"...))
	r.mustFetch(t, dst, fetch.Options{})
	same(t, r.folder.Dir, dst)
}

// The connection breaks again and again: one run brings everything, and little twice.
func TestConnectionsBreak(t *testing.T) {
	r := newRig(t)
	r.write(t, "f", content(resumeSize, 1))
	for _, name := range []string{"a", "b", "c", "d"} {
		r.write(t, "small/"+name, content(mib-9, uint64(name[0])))
	}
	var breaks atomic.Int32
	var kill func()
	kill = func() {
		if r.Kill(); breaks.Add(1) < 5 {
			r.At(8*mib, kill)
		}
	}
	r.At(4*mib, kill)
	dst := t.TempDir()
	r.mustFetch(t, dst, fetch.Options{})
	same(t, r.folder.Dir, dst)
	if breaks.Load() != 5 {
		t.Errorf("%d breaks", breaks.Load())
	}
	// What is read and thrown away is what the sockets held.
	if waste := r.Received() - resumeSize - 4*mib; waste > 5*4*mib {
		t.Errorf("%d bytes came twice", waste)
	}
}

// The source is away for a while in the middle, and is another run of the program when it is back: the transfer tells so,
// waits, and goes on by itself.
func TestSourceAway(t *testing.T) {
	r := newRig(t)
	r.write(t, "f", content(resumeSize, 1))
	r.write(t, "g", content(1000, 2))
	told := make(chan error, 100)
	back := make(chan struct{})
	r.At(resumeSize/3, func() {
		r.Cut()
		go func() {
			defer close(back)
			<-told // it has noticed, and tried in vain
			<-told
			r.Handle(r.handlers())
			r.Restore()
		}()
	})
	dst := t.TempDir()
	waiting := func(err error) {
		select {
		case told <- err:
		default:
		}
	}
	r.mustFetch(t, dst, fetch.Options{Waiting: waiting})
	<-back
	same(t, r.folder.Dir, dst)
	if n := r.Received(); n > resumeSize+8*mib {
		t.Errorf("%d bytes were fetched for %d", n, resumeSize)
	}
}

// The connection breaks while the source still hashes the file: the hashes that are known are not waited for again.
func TestManifestBreaks(t *testing.T) {
	r := newRig(t)
	r.write(t, "f", content(resumeSize, 1))
	var once sync.Once
	r.folder.BeforeRead = func(_ string, off int64) error {
		if off == 30*mib {
			once.Do(r.Kill)
		}
		return nil
	}
	dst := t.TempDir()
	r.mustFetch(t, dst, fetch.Options{})
	same(t, r.folder.Dir, dst)
	if r.Received() > resumeSize+8*mib {
		t.Errorf("%d bytes were fetched", r.Received())
	}
}

// The source is away from the start on: it is waited for as long as patience says, and no longer.
func TestPatience(t *testing.T) {
	for _, size := range []int{100, 3 * mib} {
		r := newRig(t)
		r.write(t, "f", content(size, 1))
		r.Cut()
		begin := time.Now()
		rep, err := fetchTree(t, r.Net, r.items(t), t.TempDir(), false, fetch.Options{Patience: 500 * time.Millisecond})
		if err == nil {
			err = rep.failed["f"]
		}
		if err == nil {
			t.Fatal("it was fetched")
		}
		if took := time.Since(begin); took < 500*time.Millisecond || took > 10*time.Second {
			t.Errorf("gave up after %v", took)
		}
	}
}

// The source turns a reader away in the middle: no byte more than the piece under way, and the error says why.
func TestDeniedMeanwhile(t *testing.T) {
	r := newRig(t)
	r.write(t, "f", content(resumeSize, 1))
	for i := range 50 {
		r.write(t, "small/"+string(rune('A'+i)), content(1000, uint64(i)))
	}
	items := r.items(t)
	var at int64
	r.At(resumeSize/3, func() {
		for r.folder.Read() < resumeSize+resumeSize/3 && t.Context().Err() == nil { // until all is hashed, which is reading too
			time.Sleep(time.Millisecond)
		}
		r.folder.Deny()
		at = r.folder.Read()
	})
	dst := t.TempDir()
	begin := time.Now()
	rep, err := fetchTree(t, r.Net, items, dst, false, fetch.Options{})
	if err == nil {
		err = rep.failed["f"]
	}
	kindIs(t, err, peer.Denied)
	if time.Since(begin) > 10*time.Second {
		t.Errorf("it took %v", time.Since(begin))
	}
	if more := r.folder.Read() - at; more > 2*mib { // a piece on each of two lanes
		t.Errorf("%d bytes were read after the right was taken", more)
	}
	if _, err := os.Lstat(filepath.Join(dst, "f")); err == nil {
		t.Error("half a file has its name")
	}
}

// No grant is to be had: that is final where the reason is.
func TestNoGrant(t *testing.T) {
	r := newRig(t)
	r.write(t, "small", content(100, 1))
	r.write(t, "large", content(3*mib, 1))
	for _, it := range r.items(t) {
		src := source(r.Net)
		src.Grant = func(context.Context) ([]byte, error) {
			return nil, &peer.Error{Op: "login", Kind: peer.Denied, Err: errors.New("log in first")}
		}
		f := fetch.New(t.Context(), src, fetch.Options{Log: quiet})
		rep := newReport()
		err := f.Tree(t.Context(), seq([]fetch.Item{it}), openDir(t, t.TempDir()), false, rep)
		f.Close()
		if err == nil {
			err = rep.failed[it.Dest[0]]
		}
		kindIs(t, err, peer.Denied)
	}
}

// A file that can't be read to its end fails alone, with the reason that the source has.
func TestBadDisk(t *testing.T) {
	r := newRig(t)
	r.write(t, "bad", content(8*mib, 1))
	r.write(t, "good", content(8*mib, 2))
	items := r.items(t)
	r.mustFetch(t, t.TempDir(), fetch.Options{}) // so that the manifests are known
	r.folder.BeforeRead = func(name string, off int64) error {
		if name == "bad" && off >= 3*mib+mib/2 && off < 4*mib {
			return &peer.Error{Op: "read", Kind: peer.Other, Err: errors.New("input/output error")}
		}
		return nil
	}
	dst := t.TempDir()
	begin := time.Now()
	rep, err := fetchTree(t, r.Net, items, dst, false, fetch.Options{})
	if err != nil || len(rep.failed) != 1 {
		t.Fatal(err, rep.failed)
	}
	if err := rep.failed["bad"]; err == nil || time.Since(begin) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
	holds(t, filepath.Join(dst, "good"), content(8*mib, 2))
}

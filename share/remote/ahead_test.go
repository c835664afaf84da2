package remote_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/audit"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/remote"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/serve/servetest"
	"github.com/peerd/peerd/transfer"
)

const window = 3 << 20

// sendsAhead sends windows of a local file before it is put.
type sendsAhead struct {
	*writer
	end  context.CancelFunc
	more chan string // names of windows
	err  chan error
}

func (wr *writer) ahead(number uint64) *sendsAhead {
	wr.t.Helper()
	ctx, end := context.WithCancel(wr.t.Context())
	s := &sendsAhead{writer: wr, end: end, more: make(chan string), err: make(chan error, 1)}
	up := wr.uploads.Begin(wr.w.Owner.ID(), "ahead")
	go func() {
		defer up.Close()
		s.err <- wr.fs.Ahead(ctx, up, number, servetest.Path(wr.t, "big"), func(ctx context.Context) (remote.Window, bool) {
			select {
			case name := <-s.more:
				it := wr.item(1, name, change.Base{})
				return remote.Window{Size: it.Size, Open: it.Open}, true
			case <-ctx.Done():
				return remote.Window{}, false
			}
		})
	}()
	wr.t.Cleanup(end)
	return s
}

// window sends bytes.
func (s *sendsAhead) window(name string, b []byte) {
	s.t.Helper()
	s.local(name, b)
	select {
	case s.more <- name:
	case err := <-s.err:
		s.t.Fatalf("it ended: %v", err)
	}
}

// refused is how the owner refuses to be sent a file ahead.
func (wr *writer) refused(number uint64) error {
	wr.t.Helper()
	ctx, cancel := context.WithTimeout(wr.t.Context(), 30*time.Second)
	defer cancel()
	up := wr.uploads.Begin(wr.w.Owner.ID(), "refused")
	defer up.Close()
	return wr.fs.Ahead(ctx, up, number, servetest.Path(wr.t, "big"), func(context.Context) (w remote.Window, ok bool) { return w, false })
}

// staged are the files that the owner has in staging.
func (wr *writer) staged() (names []string) {
	docs, _ := wr.w.Offers.Named("docs")
	names, _ = filepath.Glob(filepath.Join(wr.w.Dir(docs.ID), share.Reserved, "tmp", "*"))
	hidden, _ := filepath.Glob(filepath.Join(wr.w.Dir(docs.ID), share.Reserved, "tmp", ".*"))
	return append(names, hidden...)
}

// arrives waits until the only file in staging is b.
func (wr *writer) arrives(b []byte) {
	wr.t.Helper()
	wait(wr.t, func() bool {
		names := wr.staged()
		if len(names) != 1 {
			return false
		}
		got, err := os.ReadFile(names[0])
		return err == nil && bytes.Equal(got, b)
	})
}

func (s *sendsAhead) ended() error {
	s.t.Helper()
	select {
	case err := <-s.err:
		return err
	case <-time.After(30 * time.Second):
		s.t.Fatal("it goes on")
		return nil
	}
}

// TestAhead: what was sent before a file was put is not fetched again; what was written anew since is.
func TestAhead(t *testing.T) {
	w := servetest.New(t)
	wr := newWriter(t, w, w.Anna)
	big := fill(1, 3*window+77)
	s := wr.ahead(7)
	s.window("w1", big[:window])
	s.window("w2", big[window:2*window])
	wr.arrives(big[:2*window])
	docs, _ := w.Offers.Named("docs")
	if _, err := os.Stat(filepath.Join(w.Dir(docs.ID), "big")); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the file is there before it was put: %v", err)
	}
	copy(big[window+5:], "written anew") // in one piece, of 64 KiB
	wr.local("big", big)
	r, err := wr.put(t.Context(), "a", wr.item(7, "big", change.Base{}))
	if err != nil || r.done[7].Err != nil {
		t.Fatal(err, r.done[7].Err)
	}
	if err := s.ended(); err != nil {
		t.Errorf("ahead ended with %v", err)
	}
	if wr.there("big") != string(big) {
		t.Error("it holds other bytes")
	}
	if want := int64(2*window - transfer.MinPiece); r.had != 0 && r.had != want { // the last sums may not have come
		t.Errorf("%d bytes were there, want %d", r.had, want)
	}
	if left := wr.staged(); len(left) > 0 {
		t.Errorf("%q stay in staging", left)
	}
}

// TestAheadIsGivenUp: what is not put goes, whoever ends it, and whatever is put then.
func TestAheadIsGivenUp(t *testing.T) {
	w := servetest.New(t)
	wr := newWriter(t, w, w.Anna)
	b := fill(1, window)
	for what, end := range map[string]func(*sendsAhead){
		"by who writes":          func(s *sendsAhead) { s.end() },
		"since it is small":      func(*sendsAhead) { wr.local("big", []byte("small")) },
		"since it is a conflict": func(*sendsAhead) { wr.local("big", fill(2, 2<<20)) },
	} {
		s := wr.ahead(7)
		s.window("w1", b)
		wr.arrives(b)
		end(s)
		if what != "by who writes" {
			r, err := wr.put(t.Context(), "a", wr.item(7, "big", change.Base{}))
			if err != nil || r.done[7].Err != nil {
				t.Fatalf("%s: %v, %v", what, err, r.done[7].Err)
			}
		}
		_ = s.ended()
		wait(t, func() bool { return !w.Changing() })
		if left := wr.staged(); len(left) > 0 {
			t.Errorf("%s: %q stay in staging", what, left)
		}
	}
}

// TestAheadAndAnotherNumber: what one file sent ahead is nothing to another, nor to another peer's of the same number.
func TestAheadAndAnotherNumber(t *testing.T) {
	w := servetest.New(t)
	wr, other := newWriter(t, w, w.Anna), newWriter(t, w, w.Berta)
	b := fill(1, window)
	s := wr.ahead(7)
	s.window("w1", b)
	wr.arrives(b)
	wr.local("eight", []byte("8"))
	other.local("seven", []byte("7"))
	for _, put := range []func() (*report, error){
		func() (*report, error) { return wr.put(t.Context(), "a", wr.item(8, "eight", change.Base{})) },
		func() (*report, error) { return other.put(t.Context(), "a", other.item(7, "seven", change.Base{})) },
	} {
		if _, err := put(); err != nil {
			t.Fatal(err)
		}
	}
	wr.arrives(b)
	if err := wr.refused(7); peer.KindOf(err) != peer.Busy {
		t.Errorf("the same twice: %v", err)
	}
}

// TestRightEndsWhileAhead: nothing more is fetched, what came goes, and it is written down.
func TestRightEndsWhileAhead(t *testing.T) {
	w := servetest.New(t)
	ledger := w.Audit()
	wr := newWriter(t, w, w.Anna)
	b := fill(1, window)
	s := wr.ahead(7)
	s.window("w1", b)
	wr.arrives(b)
	w.Offers.Change("docs", func(o *serve.Offer) { o.Epochs.Full++; o.Open = share.Read })
	if err := s.ended(); peer.KindOf(err) != peer.Denied {
		t.Errorf("it ends with %v", err)
	}
	wait(t, func() bool { return !w.Changing() })
	if left := wr.staged(); len(left) > 0 {
		t.Errorf("%q stay in staging", left)
	}
	if e := ledger.Wait(t, audit.KindCancelled, 1)[0]; e.Bytes != window || !strings.Contains(e.Why, "ended during ahead") {
		t.Errorf("%+v", e)
	}
	if err := wr.refused(7); peer.KindOf(err) != peer.Denied {
		t.Errorf("without the right: %v", err)
	}
}

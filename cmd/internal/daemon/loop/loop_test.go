package loop

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/peerd/peerd/peer"
)

const self = peer.ID("self")

// nobody is how others are asked, which no test does.
type nobody struct{}

func (nobody) Open(context.Context, peer.ID, string, int) (peer.Stream, error) {
	return nil, errors.New("asked somebody else")
}

// asks runs a test with a stream to a handler.
func asks(t *testing.T, h peer.Handler, f func(t *testing.T, l *Loop, st peer.Stream)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := New(self, nobody{}, slog.New(slog.DiscardHandler))
		defer l.Close()
		l.Handle("/x", h)
		st, err := l.Open(t.Context(), self, "/x", 0)
		if err != nil {
			t.Fatal(err)
		}
		if st.Peer() != self || st.Remote() == nil {
			t.Errorf("it is a stream to %v at %v", st.Peer(), st.Remote())
		}
		f(t, l, st)
	})
}

func echo(_ context.Context, st peer.Stream) error {
	_, err := io.Copy(st, st)
	return err
}

// TestEcho sends more than fits, both ways at once.
func TestEcho(t *testing.T) {
	asks(t, echo, func(t *testing.T, _ *Loop, st peer.Stream) {
		sent := bytes.Repeat([]byte("0123456789"), room/3)
		go func() {
			_, _ = st.Write(sent)
			_ = st.CloseWrite()
		}()
		got, err := io.ReadAll(st)
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%d of %d bytes came back, %v", len(got), len(sent), err)
		}
	})
}

func TestEnds(t *testing.T) {
	asks(t, func(_ context.Context, st peer.Stream) error {
		_, _ = st.Write([]byte("last words"))
		return nil
	}, func(t *testing.T, _ *Loop, st peer.Stream) {
		synctest.Wait()
		if b, err := io.ReadAll(st); string(b) != "last words" || err != nil {
			t.Errorf("a stream that was closed gives %q, %v", b, err)
		}
	})
	asks(t, func(_ context.Context, st peer.Stream) error {
		_, _ = st.Write([]byte("words"))
		panic("on purpose")
	}, func(t *testing.T, _ *Loop, st peer.Stream) {
		synctest.Wait()
		if b, err := io.ReadAll(st); len(b) > 0 || peer.KindOf(err) != peer.Other {
			t.Errorf("a stream that was reset gives %q, %v", b, err)
		}
	})
}

func TestDeadlines(t *testing.T) {
	asks(t, func(ctx context.Context, st peer.Stream) error { <-ctx.Done(); return nil }, func(t *testing.T, l *Loop, st peer.Stream) {
		began := time.Now()
		_ = st.SetDeadline(began.Add(time.Second))
		if _, err := st.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || peer.KindOf(err) != peer.Unreachable {
			t.Error(err)
		}
		_ = st.SetDeadline(began.Add(2 * time.Second))
		if n, err := st.Write(make([]byte, room+1)); n != room || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(n, err)
		}
		if time.Since(began) != 2*time.Second {
			t.Errorf("it took %v", time.Since(began))
		}
		_ = st.SetDeadline(time.Time{})
		go l.Close()
		if _, err := st.Read(make([]byte, 1)); err == nil {
			t.Error("it is open after Close")
		}
		if _, err := l.Open(t.Context(), self, "/x", 0); peer.KindOf(err) != peer.Unreachable {
			t.Error(err)
		}
	})
}

func TestOthers(t *testing.T) {
	l := New(self, nobody{}, slog.New(slog.DiscardHandler))
	defer l.Close()
	if _, err := l.Open(t.Context(), "other", "/x", 0); err == nil {
		t.Error("others are not asked by the next opener")
	}
	if _, err := l.Open(t.Context(), self, "/none", 0); err == nil {
		t.Error("a protocol that is not served is opened")
	}
}

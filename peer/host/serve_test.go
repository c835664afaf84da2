package host_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/peer/host/limit"
	"github.com/peerd/peerd/peer/peertest"
)

func TestUnknownProtocol(t *testing.T) {
	hosts := peertest.Hosts(t, 2)
	if err := roundTrip(t, hosts[0], hosts[1].ID(), 0, "x"); err == nil || !strings.Contains(err.Error(), "protocol") {
		t.Errorf("got %v", err)
	}
}

func TestStreamCaps(t *testing.T) {
	hosts := peertest.Hosts(t, 2)
	a, b := hosts[0], hosts[1]
	release := make(chan struct{})
	defer close(release)
	b.Handle(echo, 2, func(_ context.Context, s peer.Stream) error {
		io.WriteString(s, "in")
		<-release
		return nil
	})
	open := func() error {
		s, err := a.Open(within(t, 10*time.Second), b.ID(), echo, 0)
		if err != nil {
			return err
		}
		t.Cleanup(func() { s.Reset() })
		_, err = io.ReadFull(s, make([]byte, 2))
		return err
	}
	for range 2 {
		if err := open(); err != nil {
			t.Fatal(err)
		}
	}
	if err := open(); peer.KindOf(err) != peer.Busy {
		t.Errorf("a third stream: %v", err)
	}
	release <- struct{}{}
	eventually(t, "a place is free again", func() bool { return open() == nil })
}

// TestOneAfterTheOther: whoever has read an answer may ask the next thing, be the handler's end still to come.
func TestOneAfterTheOther(t *testing.T) {
	hosts := peertest.Hosts(t, 2)
	a, b := hosts[0], hosts[1]
	b.Handle(echo, 1, func(_ context.Context, s peer.Stream) error {
		if _, err := io.WriteString(s, "the answer"); err != nil {
			return err
		}
		if err := s.CloseWrite(); err != nil {
			return err
		}
		time.Sleep(limit.Patience / 10) // as on a busy computer
		return nil
	})
	for range 3 {
		s, err := a.Open(within(t, 10*time.Second), b.ID(), echo, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(s); err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
}

// TestPingWhenBusy: a peer that has too much to do has answered; that there is too much under way here says nothing of it.
func TestPingWhenBusy(t *testing.T) {
	const ping = "/peerd/ping/1"
	hosts := peertest.Hosts(t, 2)
	a, b := hosts[0], hosts[1]
	open := func() peer.Stream {
		s, err := a.Open(within(t, 10*time.Second), b.ID(), ping, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Reset() })
		return s
	}
	eventually(t, "the peer has too much to do", func() bool {
		s := open()
		_, err := s.Write([]byte("half")) // it waits for the rest
		if err == nil {
			_ = s.SetReadDeadline(time.Now().Add(2 * limit.Patience)) // it waits for a place first
			_, err = s.Read(make([]byte, 1))
		}
		return peer.KindOf(err) == peer.Busy
	})
	if _, err := a.Ping(within(t, 10*time.Second), b.ID()); err != nil {
		t.Errorf("a peer that has too much to do: %v", err)
	}
	var err error
	for range 2 * limit.PeerStreams {
		var s peer.Stream
		if s, err = a.Open(within(t, 10*time.Second), b.ID(), echo, 0); err != nil {
			break
		}
		t.Cleanup(func() { s.Reset() })
	}
	if peer.KindOf(err) != peer.Busy {
		t.Fatalf("at our own limits: %v", err)
	}
	if _, err := a.Ping(within(t, 10*time.Second), b.ID()); peer.KindOf(err) != peer.Busy {
		t.Errorf("a ping at our own limits: %v", err)
	}
}

func TestHandlerPanics(t *testing.T) {
	hosts := peertest.Hosts(t, 2)
	a, b := hosts[0], hosts[1]
	b.Handle(echo, 1, func(context.Context, peer.Stream) error { panic("oh") })
	for range 3 { // its place is given back
		if err := roundTrip(t, a, b.ID(), 0, "x"); err == nil || peer.KindOf(err) == peer.Busy {
			t.Errorf("got %v, want a reset", err)
		}
	}
	b.Handle(echo, 1, serveEcho)
	if err := roundTrip(t, a, b.ID(), 0, "x"); err != nil {
		t.Errorf("after the panic: %v", err)
	}
}

func TestHandlerErrorResets(t *testing.T) {
	hosts := peertest.Hosts(t, 2)
	hosts[1].Handle(echo, 1, func(context.Context, peer.Stream) error { return errors.New("no") })
	if err := roundTrip(t, hosts[0], hosts[1].ID(), 0, "x"); err == nil {
		t.Error("the stream ended in order")
	}
}

func TestCloseEndsStreamsAndGoroutines(t *testing.T) {
	before := goleak.IgnoreCurrent()
	a, err := host.New(host.Config{Key: peertest.Key(t), Listen: []string{"127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := host.New(host.Config{Key: peertest.Key(t), Listen: []string{"127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	b.Handle("/test/bye/1", 4, func(ctx context.Context, s peer.Stream) error {
		io.WriteString(s, "hi")
		<-ctx.Done()
		_, err := io.WriteString(s, "bye")
		return err
	})
	b.Handle(echo, 4, serveEcho) // blocks in a read and says nothing
	var streams []peer.Stream
	for _, quic := range []bool{false, true} {
		a.Disconnect(b.ID())
		a.Learn(b.ID(), only(b.Addrs(), quic))
		for _, proto := range []string{"/test/bye/1", echo} {
			s, err := a.Open(within(t, 10*time.Second), b.ID(), proto, 1)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Write([]byte("hi")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(s, make([]byte, 2)); err != nil {
				t.Fatal(err)
			}
			if quic {
				streams = append(streams, s)
			}
		}
	}
	ended := make(chan []byte, 2)
	for _, s := range streams {
		go func() {
			rest, _ := io.ReadAll(s)
			ended <- rest
		}()
	}
	start := time.Now()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if d := time.Since(start); d > time.Second {
		t.Errorf("closing took %v", d)
	}
	first, second := <-ended, <-ended
	if !bytes.Equal(first, []byte("bye")) && !bytes.Equal(second, []byte("bye")) {
		t.Errorf("the streams ended with %q and %q; want a goodbye", first, second)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if err := a.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
	if _, err := a.Open(context.Background(), b.ID(), echo, 0); err == nil {
		t.Error("a closed host opens streams")
	}
	goleak.VerifyNone(t, before)
}

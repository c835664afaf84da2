package face

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

const nobody = 1 << 30 // no thread has this number

func TestCallEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cancel := make(chan struct{})
		c := newCall(cancel, nobody)
		defer c.end()
		if err := c.Err(); err != nil {
			t.Error(err)
		}
		below, end := context.WithTimeout(c, time.Hour)
		defer end()
		close(cancel)
		<-c.Done()
		<-below.Done()
		if c.Err() != context.Canceled || !errors.Is(below.Err(), context.Canceled) {
			t.Errorf("%v, %v", c.Err(), below.Err())
		}
	})
}

// The kernel uses cancel for another request once one is answered: that must not end who was answered, and leave nobody waiting.
func TestCallIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fails if a goroutine stays
		cancel := make(chan struct{})
		c := newCall(cancel, nobody)
		done := c.Done()
		c.end()
		synctest.Wait()
		close(cancel)
		synctest.Wait()
		select {
		case <-done:
			t.Error("it was ended by another")
		default:
		}
	})
}

// This test's own thread was told nothing, so a request of it goes on until that changes.
func TestCallGoesOn(t *testing.T) {
	cancel := make(chan struct{})
	close(cancel)
	c := newCall(cancel, uint32(os.Getpid()))
	defer c.end()
	select {
	case <-c.Done():
		t.Error("it was given up without a reason")
	case <-time.After(3 * again):
	}
}

func TestStops(t *testing.T) {
	status := func(pending, shared, blocked string) string {
		return "Name:\tcat\nState:\tD\nSigQ:\t0/1\nSigPnd:\t" + pending + "\nShdPnd:\t" + shared + "\nSigBlk:\t" + blocked + "\nSigCgt:\t0000000000004002\n"
	}
	const no = "0000000000000000"
	for _, c := range []struct {
		name, status string
		want         bool
	}{
		{"nothing", status(no, no, no), false},
		{"SIGINT", status("0000000000000002", no, no), true},
		{"SIGINT to all", status(no, "0000000000000002", no), true},
		{"SIGINT, blocked", status(no, "0000000000000002", "0000000000000002"), false},
		{"SIGKILL", status("0000000000000100", no, no), true},
		{"SIGTERM", status("0000000000004000", no, no), true},
		{"SIGALRM", status("0000000000002000", no, no), false},
		{"SIGCHLD", status(no, "0000000000010000", no), false},
		{"SIGWINCH", status(no, "0000000008000000", no), false},
		{"SIGWINCH and SIGINT", status(no, "0000000008000002", no), true},
		{"SIGSTOP", status("0000000000040000", no, no), false},
		{"not a status", "what", false},
	} {
		if got := stops([]byte(c.status)); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

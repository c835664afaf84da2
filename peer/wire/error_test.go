package wire_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/peer/wire/wirepb"
)

func TestErrorRoundTrip(t *testing.T) {
	sent := &peer.Error{Op: "open", Path: "//anna/docs/a\u202eb", Kind: peer.Denied, Err: errors.New("wrong password"), Hint: "log in"}
	for _, err := range []error{sent, fmt.Errorf("while reading: %w", sent)} {
		got := wire.ToError(wire.FromError(err))
		if got.Error() != sent.Error() || peer.KindOf(got) != peer.Denied {
			t.Errorf("got %q, want %q", got, sent)
		}
	}
	if wire.FromError(nil) != nil || wire.ToError(nil) != nil {
		t.Error("no error became one")
	}
}

func TestFromErrorKeepsLocalNamesBack(t *testing.T) {
	path := &fs.PathError{Op: "open", Path: "/home/anna/secret", Err: fs.ErrNotExist}
	link := &os.LinkError{Op: "rename", Old: "/home/anna/secret", New: "/home/anna/secret2", Err: fs.ErrExist}
	for _, err := range []error{
		path, link, errors.New("/home/anna/secret"),
		&peer.Error{Op: "open", Path: "a.txt", Kind: peer.NotFound, Err: path},
		&peer.Error{Op: "rename", Path: "a.txt", Kind: peer.Conflict, Err: fmt.Errorf("while moving: %w", link)},
	} {
		m := wire.FromError(err)
		if strings.Contains(m.String(), "secret") {
			t.Errorf("%v tells of a local file", m)
		}
		if peer.Kind(m.Kind) != peer.KindOf(err) {
			t.Errorf("%v has kind %v, want %v", err, m.Kind, peer.KindOf(err))
		}
	}
}

func TestToErrorIsBoundedAndQuoted(t *testing.T) {
	long := strings.Repeat("é", wire.MaxText)
	err := wire.ToError(&wirepb.Error{Kind: 77, Op: "\x1b[31m", Path: long, Text: "\u202e" + long, Hint: "\a"})
	var e *peer.Error
	if !errors.As(err, &e) || e.Kind != peer.Other {
		t.Fatalf("got %#v, want a peer.Error of kind Other", err)
	}
	if len(e.Path) > wire.MaxText || !utf8.ValidString(e.Path) {
		t.Errorf("the path has %d bytes", len(e.Path))
	}
	for _, r := range err.Error() {
		if !peer.Printable(r) {
			t.Errorf("%U reaches the screen", r)
		}
	}
}

func TestFromErrorFitsWire(t *testing.T) {
	long := strings.Repeat("x\xff", wire.MaxText)
	m := wire.FromError(&peer.Error{Op: long, Path: long, Err: errors.New(long), Hint: long})
	b, err := wire.AppendMsg(nil, m)
	if err != nil || len(b) > 4*wire.MaxText+32 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

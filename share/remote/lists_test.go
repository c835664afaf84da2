package remote_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/remote"
	"github.com/peerd/peerd/share/serve/servetest"
	"github.com/peerd/peerd/share/sharepb"
)

// asked are folders to list.
func asked(paths ...share.Path) <-chan share.Path {
	ch := make(chan share.Path, len(paths))
	for _, p := range paths {
		ch <- p
	}
	close(ch)
	return ch
}

// TestLists: many folders are listed over one stream, in the order in which they were asked for, and what one is refused for is no other's.
func TestLists(t *testing.T) {
	w := servetest.New(t)
	wr := newWriter(t, w, w.Anna)
	var paths []share.Path
	for i := range 300 {
		p := servetest.Path(t, fmt.Sprintf("w/%03d/d", i))
		if err := wr.fs.Mkdir(t.Context(), p, true); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, p.Dir(), servetest.Path(t, fmt.Sprintf("none/%d", i)))
	}
	for range 2 { // on a new line, and on one that was kept
		i := 0
		for l, err := range wr.fs.Lists(t.Context(), asked(paths...), 10) {
			switch {
			case err != nil:
				t.Fatal(err)
			case l.Path != paths[i]:
				t.Fatalf("answer %d is of %s, want %s", i, l.Path, paths[i])
			case i%2 == 1 && peer.KindOf(l.Err) != peer.NotFound, i%2 == 0 && (l.Err != nil || len(l.Entries) != 1 || l.Entries[0].Name() != "d"):
				t.Fatalf("%s: %v, %v", l.Path, l.Entries, l.Err)
			}
			i++
		}
		if i != len(paths) {
			t.Errorf("%d answers to %d questions", i, len(paths))
		}
	}
	for range wr.fs.Lists(t.Context(), asked(paths...), 10) { // who leaves in the midst leaves nothing behind
		break
	}
	if err := last(wr.fs.Lists(t.Context(), asked(servetest.Path(t, "w")), 299)); peer.KindOf(err) != peer.Other || err == nil {
		t.Errorf("a folder of 300 where 299 are the most: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waits := make(chan share.Path)
	time.AfterFunc(10*time.Millisecond, cancel)
	if err := last(wr.fs.Lists(ctx, waits, 10)); err == nil {
		t.Error("it ended well though it was broken off")
	}
}

// TestListsEnd: a stream that ends, or a right, says so once, and not of what was not answered.
func TestListsEnd(t *testing.T) {
	a, b := servetest.Path(t, "a"), servetest.Path(t, "b")
	for name, c := range map[string]struct {
		pages []*sharepb.Page
		kind  peer.Kind
	}{
		"the stream ends":         {[]*sharepb.Page{page(true, entry("x"))}, peer.Unreachable},
		"the right ends":          {[]*sharepb.Page{page(true, entry("x")), {Error: wire.FromError(&peer.Error{Kind: peer.Denied})}}, peer.Denied},
		"an answer out of order":  {[]*sharepb.Page{page(true, entry("x")), page(true, entry("y"), entry("x"))}, peer.Integrity},
		"one answer for two":      {[]*sharepb.Page{page(true, entry("x"), entry("x"))}, peer.Integrity},
		"an answer without names": {[]*sharepb.Page{page(true, entry("x")), page(false)}, peer.Integrity},
	} {
		f := newFake(t)
		f.meta = func(int) io.Reader {
			var frames []byte
			for _, p := range c.pages {
				frames = append(frames, servetest.Frames(t, p)...)
			}
			return bytes.NewReader(frames)
		}
		_, fsys := f.client(t)
		answers := 0
		var err error
		var l remote.Listed
		for l, err = range fsys.Lists(t.Context(), asked(a, b), 10) {
			if err == nil {
				answers++
			}
			if l.Err != nil {
				t.Errorf("%s: an answer failed: %v", name, l.Err)
			}
		}
		if peer.KindOf(err) != c.kind || answers > 1 {
			t.Errorf("%s: %d answers, %v", name, answers, err)
		}
	}
}

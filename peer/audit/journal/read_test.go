package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/audit"
)

func TestFilter(t *testing.T) {
	dir := scratch(t)
	c := &clock{at: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)}
	l := opened(t, dir, Options{Now: c.now})
	anna, bert := idOf(t, 2), idOf(t, 3)
	for _, e := range []audit.Event{
		{Kind: audit.KindLogin, Peer: anna, Name: "Anna", Share: "docs", ShareID: "aa", Path: "1"},
		{Kind: audit.KindRead, Peer: bert, Name: "bert", Share: "pics", ShareID: "bb", Path: "2"},
		{Kind: audit.KindRead, Peer: anna, Name: "Anna", Share: "pics", ShareID: "bb", Path: "3"},
		{Kind: audit.KindStart, Path: "4"},
	} {
		l.Add(e)
		must(t, l.Flush(t.Context()))
		c.forward(time.Minute)
	}
	must(t, l.Close())
	tests := []struct {
		f    Filter
		want string
	}{
		{Filter{}, "1234"},
		{Filter{Share: "PICS"}, "23"},
		{Filter{Share: "aa"}, "1"},
		{Filter{Share: "a"}, ""},
		{Filter{Peer: "anna"}, "13"},
		{Filter{Peer: anna.String()}, "13"},
		{Filter{Peer: bert.String()[:20]}, "2"},
		{Filter{Peer: peer.Short(bert)}, "2"},
		{Filter{Peer: anna.String()[:7]}, ""},
		{Filter{Kinds: []audit.Kind{audit.KindRead, audit.KindStart}}, "234"},
		{Filter{Since: c.at.Add(-2 * time.Minute)}, "34"},
		{Filter{Peer: "Anna", Kinds: []audit.Kind{audit.KindRead}, Since: c.at.Add(-2 * time.Minute)}, "3"},
	}
	for _, tt := range tests {
		var got strings.Builder
		for _, r := range read(t, dir, tt.f) {
			got.WriteString(r.Path) // a checkpoint has none
		}
		if got.String() != tt.want {
			t.Errorf("%+v gives %s, want %s", tt.f, &got, tt.want)
		}
	}
	long := audit.Record{Time: c.at, Event: audit.Event{Last: c.at.Add(time.Hour)}}
	if !(Filter{Since: c.at.Add(time.Minute)}).Match(long) {
		t.Error("events that went on are not later than their record")
	}
}

// TestFollow reads a log while it is written, over several files, then ends.
func TestFollow(t *testing.T) {
	dir := scratch(t)
	opt := small()
	opt.Files = 100
	l := opened(t, dir, opt)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const n = 100
	l.Add(event(t, 0))
	must(t, l.Flush(ctx))
	next := 0
	for r, err := range Read(ctx, dir, Filter{Follow: true, Kinds: []audit.Kind{audit.KindRead}}) {
		if errors.Is(err, context.Canceled) {
			break
		}
		must(t, err)
		if r.Path != event(t, next).Path {
			t.Fatalf("%s comes, want event %d", r.Path, next)
		}
		if next++; next == n {
			cancel()
		} else if next%10 == 1 { // the last of those that are there
			for i := next; i < next+10; i++ {
				l.Add(event(t, i))
			}
			must(t, l.Flush(ctx))
		}
	}
	if next != n {
		t.Errorf("%d records came", next)
	}
	if len(logFiles(t, dir)) < 2 {
		t.Error("one file says nothing")
	}
	must(t, l.Close())
}

// TestSpoiledLine reads on behind a line that is none.
func TestSpoiledLine(t *testing.T) {
	dir := scratch(t)
	write(t, dir, Options{}, 0, 5)
	lines := linesOf(t, filepath.Join(dir, fileName(1)))
	lines[1] = strings.Repeat("x", 3*audit.MaxLine) + "\n"
	lines[3] = "\n"
	putLines(t, filepath.Join(dir, fileName(1)), append(lines, `{"seq":`))
	var got []string
	for r, err := range Read(t.Context(), dir, Filter{}) {
		var e *peer.Error
		switch {
		case err == nil:
			got = append(got, fmt.Sprint(r.Seq))
		case errors.As(err, &e) && e.Kind == peer.Integrity:
			got = append(got, e.Path[strings.LastIndexByte(e.Path, ' ')+1:]+"!")
		default:
			t.Fatal(err)
		}
	}
	if want := "[1 2! 3 4! 5 6]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
	for range Read(t.Context(), dir, Filter{}) {
		break // ends it
	}
	must(t, os.Remove(filepath.Join(dir, fileName(1))))
	if got := read(t, dir, Filter{}); len(got) > 0 {
		t.Errorf("nothing gives %v", got)
	}
}

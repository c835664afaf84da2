package journal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/audit"
)

func TestAddThenRead(t *testing.T) {
	dir := filepath.Join(scratch(t), "state", "audit")
	write(t, dir, Options{}, 0, 25)
	write(t, dir, Options{}, 25, 30)
	rep := verified(t, dir)
	if rep.Records != 32 || rep.First != 1 || rep.Last != 32 || rep.Files != 1 || rep.Lost+rep.Unsigned+rep.Dropped != 0 || rep.Torn != 0 {
		t.Errorf("the report is %+v", rep)
	}
	if rep.Checkpoint.Seq != 32 || rep.Checkpoint.Floor != 1 {
		t.Errorf("the last checkpoint is %+v", rep.Checkpoint)
	}
	got := read(t, dir, Filter{Kinds: []audit.Kind{audit.KindRead}})
	for i, r := range got {
		if !reflect.DeepEqual(r.Event, event(t, i)) {
			t.Errorf("record %d is %+v, want %+v", i, r.Event, event(t, i))
		}
	}
	if len(got) != 30 {
		t.Errorf("%d records, want 30", len(got))
	}
	if runtime.GOOS == "windows" {
		return
	}
	for _, path := range append(logFiles(t, dir), filepath.Join(dir, headName)) {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", path, info.Mode(), err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder has mode %v, %v", info.Mode(), err)
	}
}

// TestFolderIsClosedToOthers opens a log whose folder a backup has opened to all.
func TestFolderIsClosedToOthers(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("it has no modes")
	}
	dir := scratch(t)
	must(t, os.Chmod(dir, 0o755))
	write(t, dir, Options{}, 0, 1)
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder has mode %v, %v", info.Mode(), err)
	}
}

// TestWhen pins when records are in the file, and when they are signed and safe.
func TestWhen(t *testing.T) {
	dir := scratch(t)
	synctest.Test(t, func(t *testing.T) {
		l := opened(t, dir, Options{})
		defer l.Close()
		l.Add(event(t, 0))
		time.Sleep(100*time.Millisecond + 1)
		synctest.Wait()
		if got := kinds(read(t, dir, Filter{})); !slices.Equal(got, []audit.Kind{audit.KindRead}) {
			t.Errorf("after 100 ms there are %v", got)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if got := kinds(read(t, dir, Filter{})); !slices.Equal(got, []audit.Kind{audit.KindRead, audit.KindCheckpoint}) {
			t.Errorf("after 5 minutes there are %v", got)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := kinds(read(t, dir, Filter{})); len(got) != 2 {
			t.Errorf("after an hour without events there are %v", got)
		}
		for i := range 1000 {
			l.Add(event(t, i))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := only(read(t, dir, Filter{}), audit.KindCheckpoint); len(got) != 2 || got[1].Seq != 1003 {
			t.Errorf("after 1,000 more there are the checkpoints %+v", got)
		}
	})
}

// TestFloods adds equal refusals, as somebody does who tries paths, and looks for each of them once.
func TestFloods(t *testing.T) {
	dir := scratch(t)
	synctest.Test(t, func(t *testing.T) {
		l := opened(t, dir, Options{})
		e := audit.Event{Kind: audit.KindRefused, Peer: idOf(t, 2), Share: "docs", Path: "x/1", Result: peer.Denied.String(), Bytes: 1}
		other := e
		other.Peer = idOf(t, 3)
		start := time.Now()
		for i := range 100 {
			e.Path = fmt.Sprintf("x/%d", i%4)
			l.Add(e)
			time.Sleep(10 * time.Millisecond)
		}
		l.Add(other)
		time.Sleep(time.Minute)
		synctest.Wait()
		got := read(t, dir, Filter{Kinds: []audit.Kind{audit.KindRefused}})
		if len(got) != 3 || got[0].Count != 0 || got[0].Path != "x/0" || got[1].Peer != other.Peer || got[1].Count != 0 {
			t.Fatalf("the records are %+v", got)
		}
		g := got[2]
		if g.Count != 99 || g.Bytes != 99 || g.Path != "x/" || g.Peer != e.Peer || g.Share != "docs" ||
			!g.First.Equal(start.Add(10*time.Millisecond)) || !g.Last.Equal(start.Add(990*time.Millisecond)) {
			t.Errorf("gathered is %+v", g)
		}
		l.Add(e)
		l.Add(e)
		must(t, l.Close()) // before the window ends
		if got := read(t, dir, Filter{Kinds: []audit.Kind{audit.KindRefused}}); len(got) != 5 || got[4].Count != 1 {
			t.Errorf("at the end there are %d records", len(got))
		}
	})
	verified(t, dir)
}

func TestConcurrentAdd(t *testing.T) {
	dir := scratch(t)
	l := opened(t, dir, Options{Files: 100, FileSize: 64 << 10, Queue: 64})
	const writers, each = 16, 200
	var wg sync.WaitGroup
	for w := range writers {
		e := event(t, w)
		wg.Go(func() {
			for i := range each {
				e.Path = fmt.Sprintf("%d/%d", w, i)
				l.Add(e)
				if i%100 == 0 {
					_ = l.Err()
					_ = l.Flush(t.Context())
				}
			}
		})
	}
	wg.Go(func() {
		for range 10 {
			if _, err := l.Verify(t.Context()); err != nil {
				t.Errorf("while it is written: %v", err)
			}
		}
	})
	wg.Wait()
	must(t, l.Close())
	l.Add(event(t, 0))
	if err := l.Flush(t.Context()); err == nil {
		t.Error("a closed log flushes")
	}
	must(t, l.Close())
	rep := verified(t, dir)
	seen := map[string]int{}
	next := map[string]int{}
	for _, r := range read(t, dir, Filter{Kinds: []audit.Kind{audit.KindRead}}) {
		seen[r.Path]++
		who, number, _ := strings.Cut(r.Path, "/")
		n, err := strconv.Atoi(number)
		must(t, err)
		if n < next[who] {
			t.Fatalf("%s comes after %s/%d", r.Path, who, next[who]-1)
		}
		next[who] = n + 1
	}
	if uint64(len(seen))+rep.Dropped != writers*each {
		t.Errorf("%d events are recorded and %d dropped, of %d", len(seen), rep.Dropped, writers*each)
	}
	if rep.Files < 2 {
		t.Errorf("%d files", rep.Files)
	}
}

// TestVerifyWhileFilesGo verifies and reads while old files are removed.
func TestVerifyWhileFilesGo(t *testing.T) {
	dir := scratch(t)
	opt := small()
	opt.FileSize = 2 << 10
	l := opened(t, dir, opt)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			l.Add(event(t, i))
			_ = l.Flush(ctx)
		}
	})
	for range 50 {
		verified(t, dir)
		read(t, dir, Filter{})
	}
	cancel()
	wg.Wait()
	must(t, l.Close())
	verified(t, dir)
}

func TestRotation(t *testing.T) {
	dir := scratch(t)
	opt := small()
	for run := range 6 {
		write(t, dir, opt, run*40, run*40+40)
		verified(t, dir)
	}
	files := logFiles(t, dir)
	rep := verified(t, dir)
	first, _ := firstOf(filepath.Base(files[0]))
	if len(files) != opt.Files || rep.First != first || first == 1 || rep.Checkpoint.Floor != first {
		t.Errorf("%d files from %d on, and the report %+v", len(files), first, rep)
	}
	for i, path := range files {
		if info, err := os.Stat(path); err != nil || info.Size() > opt.FileSize+4<<10 {
			t.Errorf("%s has %d bytes, %v", path, info.Size(), err)
		}
		lines := linesOf(t, path)
		if len(lines) == 0 && i == len(files)-1 {
			continue // the last that was written filled the one before
		}
		if r, err := new(audit.Codec).Decode([]byte(strings.TrimSuffix(lines[len(lines)-1], "\n"))); err != nil || r.Kind != audit.KindCheckpoint {
			t.Errorf("%s ends with %q, %v", path, lines[len(lines)-1], err)
		}
	}
	reads := read(t, dir, Filter{Kinds: []audit.Kind{audit.KindRead}})
	for i, r := range reads {
		if r.Bytes != int64(240-len(reads)+i) {
			t.Fatalf("record %d is of event %d", r.Seq, r.Bytes)
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	l := opened(b, scratch(b), Options{})
	e := event(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		l.Add(e)
	}
	must(b, l.Close())
	rep, err := Verify(l.dir, l.pub)
	must(b, err)
	b.ReportMetric(float64(rep.Dropped)/float64(b.N), "dropped/op")
}

// BenchmarkAddThousand is what a thousand small reads pay, until all of it is in the file.
func BenchmarkAddThousand(b *testing.B) {
	l := opened(b, scratch(b), Options{})
	e := event(b, 1)
	for b.Loop() {
		for range 1000 {
			l.Add(e)
		}
		must(b, l.Flush(b.Context()))
	}
	must(b, l.Close())
}

package daemon

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/zeebo/blake3"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

// full opens a share for changes by everybody.
func full(a *control.ShareAdd) { a.Read.Mode, a.Full.Mode = control.Open, control.Open }

// up copies files of this computer to a share, and gives the last event.
func (n *node) up(req control.CopyRequest, to string, locals ...string) (skipped []string, err error) {
	n.t.Helper()
	req.Local, req.To = locals, ref(n.t, to)
	err = n.Copy(n.t.Context(), req, func(e control.CopyEvent) {
		if e.Event == control.CopySkipped {
			skipped = append(skipped, e.From)
		}
	})
	return skipped, err
}

// changes drains changes, and gives the error that ended them.
func changes(seq func(func(control.Change, error) bool)) (all []control.Change, last error) {
	for c, err := range seq {
		if err != nil {
			last = err
			continue
		}
		all = append(all, c)
	}
	return all, last
}

// is fails the test unless a file of a share holds a text.
func (n *node) is(of, want string) {
	n.t.Helper()
	if got, err := n.text(of); err != nil || got != want {
		n.t.Errorf("%s: %q, %v, want %q", of, got, err, want)
	}
}

// TestCopyUp: files and folders go to a share, between shares and within one, and are moved across.
func TestCopyUp(t *testing.T) {
	anna := start(t, "anna")
	berta := start(t, "berta", anna)
	berta.sees(anna)
	docs := anna.offer("docs", map[string]string{"old.txt": "old"}, full)
	anna.offer("more", map[string]string{"far/one": "1", "far/two": "2", "move": "m"}, full)
	anna.offer("quiet", map[string]string{"q": "q"}, open)
	src := t.TempDir()
	for name, text := range map[string]string{"tree/a": "a", "tree/sub/b": "b", "old.txt": "new"} {
		write(t, filepath.Join(src, name), text)
	}
	link := os.Symlink("a", filepath.Join(src, "tree", "link"))
	works(t, "a program", os.Chmod(filepath.Join(src, "tree", "a"), 0o700))
	works(t, "an empty folder", os.MkdirAll(filepath.Join(src, "tree", "hollow"), 0o700))
	skipped, err := berta.up(control.CopyRequest{Recursive: true}, "//anna/docs", filepath.Join(src, "tree"))
	works(t, "a folder", err)
	if link == nil && (len(skipped) != 1 || filepath.Base(skipped[0]) != "link") {
		t.Errorf("left out: %q", skipped)
	}
	berta.is("//anna/docs/tree/sub/b", "b")
	for name, exec := range map[string]bool{"a": true, "sub/b": false} {
		if info, err := os.Stat(filepath.Join(docs, "tree", name)); err != nil || runtime.GOOS != "windows" && info.Mode()&0o111 != 0 != exec {
			t.Errorf("%s may be run: %v, %v", name, info.Mode(), err)
		}
	}
	if info, err := os.Stat(filepath.Join(docs, "tree", "hollow")); err != nil || !info.IsDir() {
		t.Errorf("the empty folder: %v", err)
	}
	_, err = berta.up(control.CopyRequest{}, "//anna/docs/old.txt", filepath.Join(src, "old.txt"))
	wants(t, "over what is there", err, peer.Conflict)
	_, err = berta.up(control.CopyRequest{Force: true}, "//anna/docs/old.txt", filepath.Join(src, "old.txt"))
	works(t, "over what is there, with force", err)
	berta.is("//anna/docs/old.txt", "new")
	_, err = berta.up(control.CopyRequest{}, "//anna/quiet/x", filepath.Join(src, "old.txt"))
	wants(t, "to what may only be read", err, peer.Denied)
	_, err = berta.up(control.CopyRequest{}, "//anna/docs/no/where", filepath.Join(src, "old.txt"))
	wants(t, "into a folder that is not there", err, peer.NotFound)

	_, err = berta.copy(control.CopyRequest{To: ref(t, "//anna/docs/tree"), Recursive: true, Into: true}, "//anna/more/far")
	works(t, "from one share to another", err)
	berta.is("//anna/docs/tree/far/two", "2")
	_, err = berta.copy(control.CopyRequest{To: ref(t, "//anna/docs/twice"), Recursive: true}, "//anna/docs/tree")
	works(t, "within a share", err)
	berta.is("//anna/docs/twice/far/one", "1")
	_, err = berta.copy(control.CopyRequest{To: ref(t, "//anna/docs/tree/in"), Recursive: true}, "//anna/docs/tree")
	wants(t, "into itself", err, peer.Usage)
	_, err = changes(berta.Move(t.Context(), control.MoveRequest{Sources: []control.Ref{ref(t, "//anna/more/move")}, Dest: ref(t, "//anna/docs/moved")}))
	works(t, "moved to another share", err)
	berta.is("//anna/docs/moved", "m")
	wants(t, "what was moved", berta.look("//anna/more/move"), peer.NotFound)
}

// TestGrowsWhileItIsPut: what grew since it was named is named again, and is there as it is then.
func TestGrowsWhileItIsPut(t *testing.T) {
	anna := start(t, "anna")
	anna.cfg.Download = 2 << 20
	anna.restart()
	berta := start(t, "berta", anna)
	berta.sees(anna)
	anna.offer("docs", nil, full)
	src := t.TempDir()
	for i, name := range []string{"a", "b", "c", "small", "y", "z"} { // three that are large are fetched at a time
		size := 3 << 20 / 2
		if name == "small" {
			size = 1000
		}
		write(t, filepath.Join(src, "logs", name), random(size, byte(i)))
	}
	grown := random(2<<20, 9)
	again := false
	req := control.CopyRequest{Recursive: true, Local: []string{filepath.Join(src, "logs")}, To: ref(t, "//anna/docs/logs")}
	err := berta.Copy(t.Context(), req, func(e control.CopyEvent) {
		if e.Bytes > 0 && !again {
			again = true
			write(t, filepath.Join(src, "logs", "z"), grown)
		}
	})
	works(t, "a file that grows", err)
	berta.is("//anna/docs/logs/z", grown)
}

// TestVersionsAreNotForReaders: who may only read a share is told so, and not that a right has ended.
func TestVersionsAreNotForReaders(t *testing.T) {
	anna := start(t, "anna")
	berta := start(t, "berta", anna)
	berta.sees(anna)
	anna.offer("docs", map[string]string{"f": "one"}, open)
	const old = "//anna/docs/f@20200101-000000-0000"
	_, copied := berta.copy(control.CopyRequest{Dest: t.TempDir()}, old)
	for what, err := range map[string]error{"cat": berta.look(old), "cp": copied} {
		if wants(t, what, err, peer.Denied); err != nil && !strings.Contains(err.Error(), "you may only read this share") {
			t.Errorf("%s: %v", what, err)
		}
	}
	berta.is("//anna/docs/f", "one")
}

// TestVersions: what was replaced or removed can be read, copied here, and put back.
func TestVersions(t *testing.T) {
	anna := start(t, "anna")
	berta := start(t, "berta", anna)
	berta.sees(anna)
	anna.offer("docs", map[string]string{"f": "one"}, full)
	ctx, f := t.Context(), ref(t, "//anna/docs/f")
	removed, err := changes(berta.Remove(ctx, []control.Ref{f}, false))
	if err != nil || len(removed) != 1 || removed[0].Kept == "" {
		t.Fatalf("%+v, %v", removed, err)
	}
	wants(t, "what was removed", berta.look("//anna/docs/f"), peer.NotFound)
	var versions []control.Version
	for v, err := range berta.Versions(ctx, f, false) {
		if err != nil {
			t.Fatal(err)
		}
		versions = append(versions, v)
	}
	if len(versions) != 1 || versions[0].ID != removed[0].Kept || versions[0].Name != "berta" || versions[0].By != "rm" {
		t.Fatalf("%+v", versions)
	}
	old := "//anna/docs/f@" + versions[0].ID
	berta.is(old, "one")
	dest := filepath.Join(t.TempDir(), "back")
	var source string
	err = berta.Copy(ctx, control.CopyRequest{Sources: []control.Ref{ref(t, old)}, Dest: dest, Each: true}, func(e control.CopyEvent) {
		if e.Event == control.CopyFile {
			source = e.Source.String()
		}
	})
	if works(t, "a version is copied here", err); source != old {
		t.Errorf("it is told of as %s, want %s", source, old)
	}
	if b, err := os.ReadFile(dest); err != nil || string(b) != "one" {
		t.Errorf("the copy: %q, %v", b, err)
	}
	_, err = changes(berta.Remove(ctx, []control.Ref{ref(t, old)}, false))
	wants(t, "a version is removed", err, peer.Usage)
	wants(t, "no such version", berta.look("//anna/docs/f@20200101-000000-0000"), peer.NotFound)
	for _, to := range []control.Ref{{}, ref(t, "//anna/docs/elsewhere")} {
		c, err := berta.Restore(ctx, control.RestoreRequest{Ref: f, Version: versions[0].ID, Dest: to})
		if err != nil || c.Done != control.Restored {
			t.Errorf("restore to %q: %+v, %v", to, c, err)
		}
	}
	berta.is("//anna/docs/f", "one")
	berta.is("//anna/docs/elsewhere", "one")
}

// TestWatchOverRestart: who watches hears of changes, with who made them, and of the gap while the owner was away.
func TestWatchOverRestart(t *testing.T) {
	anna := start(t, "anna")
	berta := start(t, "berta", anna)
	berta.sees(anna)
	anna.sees(berta)
	anna.offer("docs", map[string]string{"f": "one"}, full)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	step, restarted := 0, make(chan struct{})
	var seen []string
	for e, err := range berta.WatchFiles(ctx, ref(t, "//anna/docs")) {
		if err != nil {
			t.Errorf("after %q: %v", seen, err)
			break
		}
		seen = append(seen, e.Event)
		switch {
		case step == 0 && e.Event == control.FileWatching:
			step++
			works(t, "mkdir", berta.Mkdir(ctx, ref(t, "//anna/docs/d"), false))
		case step == 1 && e.Event == control.FileCreated && e.Entry.Ref.Path == "d":
			step++
			if e.Name != "berta" || e.Peer != berta.id {
				t.Errorf("by %q %s", e.Name, e.Peer)
			}
			go func() {
				defer close(restarted)
				anna.restart()
			}()
		case step == 2 && e.Event == control.FileGap:
			step++
		case step == 3 && e.Event == control.FileWatching:
			step++
			<-restarted
			works(t, "mkdir", berta.Mkdir(ctx, ref(t, "//anna/docs/e"), false))
		case step == 4 && e.Event == control.FileCreated && e.Entry.Ref.Path == "e":
			return
		}
	}
	if step >= 2 {
		<-restarted
	}
	t.Errorf("it ends at step %d: %q", step, seen)
}

// TestSuspendedIsTold: who logged in for the full right and is suspended is told so.
func TestSuspendedIsTold(t *testing.T) {
	anna := start(t, "anna")
	berta := start(t, "berta", anna)
	berta.sees(anna)
	files := make(map[string]string)
	for i := range 150 {
		files[strings.Repeat("f", i+1)] = "x"
	}
	anna.offer("docs", files, byPassword)
	if _, err := berta.Login(t.Context(), ref(t, "//anna/docs"), fullPassword); err != nil {
		t.Fatal(err)
	}
	var err error
	for i := 0; i < 150 && err == nil; i++ {
		_, err = changes(berta.Remove(t.Context(), []control.Ref{ref(t, "//anna/docs/"+strings.Repeat("f", i+1))}, false))
	}
	wants(t, "much is removed", err, peer.Denied)
	err = berta.Mkdir(t.Context(), ref(t, "//anna/docs/d"), false)
	wants(t, "a change after that", err, peer.Denied)
	var e *peer.Error
	if !errors.As(err, &e) || !strings.Contains(e.Error()+e.Hint, "suspended") {
		t.Errorf("it is not told why: %v", err)
	}
	works(t, "reading", berta.look("//anna/docs/"+strings.Repeat("f", 150)))
}

// TestMoveOnto: what is there is not replaced unless that is asked for, and the error says so of what is there.
func TestMoveOnto(t *testing.T) {
	anna := start(t, "anna")
	berta := start(t, "berta", anna)
	berta.sees(anna)
	anna.offer("docs", map[string]string{"one": "1", "two": "2"}, full)
	move := control.MoveRequest{Sources: []control.Ref{ref(t, "//anna/docs/one")}, Dest: ref(t, "//anna/docs/two")}
	_, err := changes(berta.Move(t.Context(), move))
	if peer.KindOf(err) != peer.Conflict || !strings.Contains(err.Error(), "//anna/docs/two: it exists already") {
		t.Errorf("%v, want that it exists already", err)
	}
	berta.is("//anna/docs/two", "2")
	move.Force = true
	_, err = changes(berta.Move(t.Context(), move))
	works(t, "mv -f", err)
	berta.is("//anna/docs/two", "1")
	move = control.MoveRequest{Sources: []control.Ref{ref(t, "//anna/docs/two")}, Dest: ref(t, "//anna/docs/TWO")}
	_, err = changes(berta.Move(t.Context(), move))
	works(t, "mv to another case", err)
	berta.is("//anna/docs/TWO", "1")
}

// TestRemovedSaysWhat: what was removed is told of as what it was.
func TestRemovedSaysWhat(t *testing.T) {
	anna := start(t, "anna")
	anna.offer("docs", map[string]string{"d/f": "1", "g": "2"}, full)
	for path, want := range map[string]control.Kind{"d": control.KindDir, "g": control.KindFile} {
		all, err := changes(anna.Remove(t.Context(), []control.Ref{ref(t, "//anna/docs/"+path)}, true))
		works(t, "rm", err)
		if last := all[len(all)-1]; last.Ref.Path != path || last.Kind != want {
			t.Errorf("%+v, want that %s was a %s", all, path, want)
		}
	}
}

// TestLockSaysWhoElse: who locks a file is told that it is, and then who did already.
func TestLockSaysWhoElse(t *testing.T) {
	anna := start(t, "anna")
	berta := start(t, "berta", anna)
	berta.sees(anna)
	anna.offer("docs", map[string]string{"f": "1"}, full)
	of := ref(t, "//anna/docs/f")
	for l, err := range berta.Lock(t.Context(), of) {
		works(t, "lock", err)
		if l.Peer != berta.id {
			t.Errorf("berta is told of %+v first", l)
		}
		var who []string
		for l, err := range anna.Lock(t.Context(), of) {
			works(t, "a second lock", err)
			if who = append(who, l.Peer); len(who) == 2 {
				break
			}
		}
		if who[0] != anna.id || who[1] != berta.id {
			t.Errorf("anna is told of %q, want herself and berta", who)
		}
		break
	}
}

// TestStatKnowsTheHash: once a file was given away or fetched as a whole, its BLAKE3 hash is told with it.
func TestStatKnowsTheHash(t *testing.T) {
	anna := start(t, "anna")
	berta := start(t, "berta", anna)
	berta.sees(anna)
	data := random(3<<20, 5)
	anna.offer("docs", map[string]string{"f": data}, open)
	root := func(n *node) string {
		t.Helper()
		e, err := n.Stat(t.Context(), ref(t, "//anna/docs/f"))
		works(t, "stat", err)
		return e.Root
	}
	if got := root(anna) + root(berta); got != "" {
		t.Errorf("%q before anybody can know", got)
	}
	_, err := berta.copy(control.CopyRequest{Dest: t.TempDir()}, "//anna/docs/f")
	works(t, "cp", err)
	sum := blake3.Sum256([]byte(data))
	for _, n := range []*node{anna, berta} {
		if got := root(n); got != hex.EncodeToString(sum[:]) {
			t.Errorf("%q, want %x", got, sum)
		}
	}
}

// TestBrakeStopsInTheMidst: who removes much of a share is stopped while it does so, whatever it made before under the names.
func TestBrakeStopsInTheMidst(t *testing.T) {
	const many = 600
	for _, trick := range []bool{false, true} {
		berta := start(t, "berta")
		files := make(map[string]string)
		for i := range many {
			files[fmt.Sprintf("D/%03d", i)] = "the owner's"
		}
		dir := berta.offer("films", files, full)
		carl := start(t, "carl", berta)
		carl.sees(berta)
		victim := ref(t, "//berta/films/D")
		if trick {
			src := t.TempDir()
			for i := range many {
				write(t, filepath.Join(src, "F", fmt.Sprintf("%03d", i)), "junk")
			}
			_, err := carl.up(control.CopyRequest{Recursive: true}, "//berta/films/F", filepath.Join(src, "F"))
			works(t, "cp", err)
			_, err = changes(carl.Remove(t.Context(), []control.Ref{ref(t, "//berta/films/F")}, true))
			works(t, "rm of what it made itself", err)
			_, err = changes(carl.Move(t.Context(), control.MoveRequest{Sources: []control.Ref{victim}, Dest: ref(t, "//berta/films/F")}))
			works(t, "mv", err)
			victim = ref(t, "//berta/films/F")
		}
		_, err := changes(carl.Remove(t.Context(), []control.Ref{victim}, true))
		wants(t, "rm of what is the owner's", err, peer.Denied)
		left, _ := filepath.Glob(filepath.Join(dir, "*", "*"))
		shares, err := berta.ShareList(t.Context())
		works(t, "share ls", err)
		if len(shares[0].Suspended) != 1 || len(left) < many/3 {
			t.Errorf("trick %v: %d peers are suspended, %d of %d files are left", trick, len(shares[0].Suspended), len(left), many)
		}
	}
}

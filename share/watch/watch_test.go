package watch

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/share/watch/notify"
)

func TestEdits(t *testing.T) {
	dir := real(t)
	must(t, os.WriteFile(filepath.Join(dir, "old"), []byte("1"), 0o644))
	w := start(t, dir, only())
	expect := func(want ...string) {
		t.Helper()
		w.until("the events", func() string {
			w.mu.Lock()
			n := len(w.seen)
			w.mu.Unlock()
			if n < len(want) {
				return fmt.Sprintf("%d of %q", n, want)
			}
			return ""
		})
		w.settled()
		if got := w.events(); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	w.write("doc", "text")
	expect("created doc")
	w.write("doc.tmp", "new text") // as an editor saves
	w.mv("doc.tmp", "doc")
	expect("changed doc")
	f, err := os.OpenFile(filepath.Join(dir, "doc"), os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	for range 20 {
		_, err := f.WriteString("more\n")
		must(t, err)
	}
	must(t, f.Close())
	expect("changed doc")
	must(t, os.Chmod(filepath.Join(dir, "doc"), 0o755))
	w.until("the mode", func() string {
		if e, _ := w.Lookup(path(t, "doc")); !e.Exec {
			return "old"
		}
		return ""
	})
	expect("changed doc")
	w.mkdir("a/b/c")
	w.write("a/b/c/deep", "x")
	expect("created a", "created a/b", "created a/b/c", "created a/b/c/deep")
	must(t, os.RemoveAll(filepath.Join(dir, "a")))
	expect("removed a/b/c/deep", "removed a/b/c", "removed a/b", "removed a")
	must(t, os.Remove(filepath.Join(dir, "old")))
	w.mkdir("old") // a folder where a file was
	expect("removed old", "created old")
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.edits) != 14 || w.gaps != 0 {
		t.Errorf("%d edits, %d gaps", len(w.edits), w.gaps)
	}
	if st := w.State(); st.Watched != st.Folders || st.Why != "" {
		t.Errorf("%+v", st)
	}
}

// TestMovedTrees moves folders about and then changes what is in them, which needs watches under their new names.
func TestMovedTrees(t *testing.T) {
	w := start(t, real(t), only())
	away := real(t)
	w.mkdir("a/x/c/d")
	w.mkdir("b")
	w.settled()
	for i := range 20 {
		from, to := "a/x", "b/y"
		if i%2 == 1 {
			from, to = to, from
		}
		w.mv(from, to)
		if i%3 == 0 {
			w.settled()
		}
		w.write(to+"/c/d/file", fmt.Sprint(i))
		w.write(to+"/c/new", fmt.Sprint(i))
		w.mkdir(from + "/c") // another of the same name
		w.write(from+"/c/other", "x")
		w.settled()
		must(t, os.Rename(filepath.Join(w.dir, from), filepath.Join(away, fmt.Sprint(i))))
		w.settled()
	}
	if st := w.State(); st.Watched != st.Folders {
		t.Errorf("%+v", st)
	}
}

func TestBurst(t *testing.T) {
	w := start(t, real(t), only())
	for i := range 10_000 {
		if i%100 == 0 {
			w.mkdir(fmt.Sprintf("d%d", i/100))
		}
		w.write(fmt.Sprintf("d%d/f%d", i/100, i), "text")
	}
	w.settled()
	must(t, os.RemoveAll(filepath.Join(w.dir)))
	must(t, os.Mkdir(w.dir, 0o755))
	w.settled()
	w.write("again", "x")
	w.settled()
}

// play does random things to a folder.
func play(w *watched, r *rand.Rand, steps int) {
	name := func() string {
		parts := make([]string, 1+r.IntN(4))
		for i := range parts {
			parts[i] = string(rune('a' + r.IntN(4)))
		}
		return strings.Join(parts, "/")
	}
	for range steps {
		a, b := filepath.Join(w.dir, name()), filepath.Join(w.dir, name())
		// What fails because something is in the way is one more random thing.
		switch r.IntN(10) {
		case 0, 1, 2:
			os.WriteFile(a, []byte(fmt.Sprint(r.IntN(1000))), 0o644)
		case 3, 4:
			os.MkdirAll(a, 0o755)
		case 5, 6:
			os.Rename(a, b)
		case 7:
			os.Remove(a)
		case 8:
			if r.IntN(4) == 0 {
				os.RemoveAll(a)
			}
		case 9:
			if r.IntN(20) == 0 {
				time.Sleep(time.Duration(r.IntN(300)) * time.Millisecond) // between one listing and the next
			}
		}
	}
}

// lossy is the system's notifier with a tiny queue: of many hints at a time most are lost.
type lossy struct {
	notifier
	out chan notify.Notice
}

func newLossy() (notifier, error) {
	n, err := notify.New()
	if err != nil {
		return nil, err
	}
	l := lossy{n, make(chan notify.Notice)}
	go func() {
		defer close(l.out)
		lost := false
		for hint := range n.Notices() {
			if lost {
				l.out <- notify.Notice{Overflow: true}
				lost = false
			}
			select {
			case l.out <- hint:
			default:
				lost = true
			}
		}
	}()
	return l, nil
}

func (l lossy) Notices() <-chan notify.Notice { return l.out }

func TestRandomEdits(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	for name, opt := range map[string]Options{
		"told":        only(),
		"overflow":    {Rescan: time.Second, notify: newLossy},
		"few watches": {Rescan: 50 * time.Millisecond, MaxWatches: 5},
		"no watches":  {Rescan: 50 * time.Millisecond, MaxWatches: -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Logf("seed %d", seed)
			r := rand.New(rand.NewPCG(seed, 0))
			w := start(t, real(t), opt)
			for range 10 {
				play(w, r, 400)
				w.settled()
			}
		})
	}
}

// TestSystemLimit runs in a namespace in which the system gives 100 watches.
func TestSystemLimit(t *testing.T) {
	if os.Getenv("PEERD_FEW_WATCHES") == "" {
		cmd := exec.Command("unshare", "-U", "-r", "sh", "-c",
			"echo 100 >/proc/sys/user/max_inotify_watches || exit 77; exec \"$@\"", "sh", os.Args[0], "-test.run=^TestSystemLimit$", "-test.v")
		cmd.Env = append(os.Environ(), "PEERD_FEW_WATCHES=1")
		out, err := cmd.CombinedOutput()
		if exit := (*exec.ExitError)(nil); errors.Is(err, exec.ErrNotFound) || errors.As(err, &exit) && exit.ExitCode() != 1 {
			t.Skipf("no namespace to lower the limit in: %v\n%s", err, out)
		}
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	limited(t, Options{Rescan: 100 * time.Millisecond}, "max_user_watches is used up: 100 of 350 folders are watched")
}

func TestMaxWatches(t *testing.T) {
	limited(t, Options{Rescan: 100 * time.Millisecond, MaxWatches: 100}, "at most 100 folders: 100 of 350 folders are watched")
}

// limited watches 350 folders with 100 watches.
func limited(t *testing.T, opt Options, why string) {
	dir := real(t)
	for i := range 349 {
		sub := filepath.Join(dir, fmt.Sprintf("d%03d", i))
		must(t, os.Mkdir(sub, 0o755))
		must(t, os.WriteFile(filepath.Join(sub, "file"), nil, 0o644))
	}
	w := start(t, dir, opt)
	if st := w.State(); st.Watched != 100 || st.Folders != 350 || !strings.Contains(st.Why, why) {
		t.Errorf("%+v, want %q", st, why)
	}
	for i := 0; i < 349; i += 7 {
		w.write(fmt.Sprintf("d%03d/new", i), "x")
	}
	w.settled()
	for i := range 300 {
		must(t, os.RemoveAll(filepath.Join(dir, fmt.Sprintf("d%03d", i))))
	}
	w.settled()
	w.until("all are watched", func() string { return w.State().Why })
}

// TestAway takes the share's folder away, as when its disk is unplugged, and brings it back changed.
func TestAway(t *testing.T) {
	top := real(t)
	dir := filepath.Join(top, "share")
	must(t, os.Mkdir(dir, 0o755))
	w := start(t, dir, Options{Rescan: 50 * time.Millisecond})
	for i := range 100 {
		w.mkdir(fmt.Sprintf("d%d", i))
		w.write(fmt.Sprintf("d%d/file", i), "x")
	}
	w.settled()
	w.events()
	for i := range 5 {
		must(t, os.Rename(dir, filepath.Join(top, "away")))
		w.until("it is away", func() string {
			if w.State().Away == nil {
				return "it is there"
			}
			return ""
		})
		must(t, os.WriteFile(filepath.Join(top, "away", "d5", "file"), []byte(fmt.Sprint(i)), 0o644))
		must(t, os.Rename(filepath.Join(top, "away"), dir))
		w.until("it is back", func() string {
			if err := w.State().Away; err != nil {
				return err.Error()
			}
			return ""
		})
		w.settled()
		w.until("it is told of", func() string {
			w.mu.Lock()
			defer w.mu.Unlock()
			if len(w.seen) <= i {
				return "not yet"
			}
			return ""
		})
	}
	for _, ev := range w.events() {
		if ev != "changed d5/file" {
			t.Errorf("told of: %s", ev)
		}
	}
}

func TestLeftOut(t *testing.T) {
	w := start(t, real(t), only())
	w.mkdir(".peerd/tmp")
	w.write(".peerd/tmp/upload", "x")
	w.write("bad\nname", "x")
	must(t, os.Symlink("..", filepath.Join(w.dir, "link")))
	w.mkdir("good")
	w.settled()
	w.mv(".peerd/tmp/upload", "good/file")
	w.settled()
	if got := w.events(); !slices.Equal(got, []string{"created good", "created good/file"}) {
		t.Errorf("%q", got)
	}
	if st := w.State(); st.Folders != 2 || st.Watched != 2 {
		t.Errorf("%+v", st)
	}
}

func TestGit(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not there")
	}
	git := func(dir string, args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=Anna", "-c", "user.email=anna@example.org",
			"-c", "init.defaultBranch=main", "-c", "gc.autoDetach=false", "-c", "commit.gpgSign=false"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
	}
	origin := real(t)
	git(origin, "init", "-q")
	for v := range 3 {
		for i := range 150 {
			sub := filepath.Join(origin, fmt.Sprintf("dir%d", i%(10+v)), "sub")
			must(t, os.MkdirAll(sub, 0o755))
			must(t, os.WriteFile(filepath.Join(sub, fmt.Sprintf("f%d", i)), []byte(fmt.Sprint(v, i)), 0o644))
		}
		git(origin, "add", "-A")
		git(origin, "commit", "-qm", "version")
		git(origin, "branch", fmt.Sprintf("v%d", v))
		for i := range 5 {
			must(t, os.RemoveAll(filepath.Join(origin, fmt.Sprintf("dir%d", i))))
		}
	}
	w := start(t, real(t), only())
	git(w.dir, "clone", "-q", origin, "work")
	w.settled()
	work := filepath.Join(w.dir, "work")
	for i := range 6 {
		git(work, "checkout", "-q", fmt.Sprintf("origin/v%d", i%3))
		w.write(fmt.Sprintf("work/extra%d", i), "x")
		git(work, "add", "-A")
		git(work, "commit", "-qm", "extra")
		if i%2 == 0 {
			w.settled()
		}
	}
	git(work, "mv", "dir7", "moved")
	git(work, "stash", "-q")
	git(work, "stash", "pop", "-q")
	git(work, "gc", "-q", "--prune=now")
	w.settled()
	git(work, "clean", "-qfdx")
	git(work, "reset", "-q", "--hard", "origin/v0")
	w.settled()
	if st := w.State(); st.Watched != st.Folders {
		t.Errorf("%+v", st)
	}
}

package local

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/sharetest"
)

// changed is a share that is changed by the engine.
type changed struct {
	*testing.T
	dir string
	e   *change.Editor
	d   *Disk
	n   atomic.Int64
}

var anyBase = change.Base{Any: true}

func newChanged(t *testing.T, d *Disk, opt change.Options) *changed {
	t.Helper()
	e, err := change.Open(t.Context(), d, opt)
	must(t, err)
	return &changed{T: t, dir: d.top, e: e, d: d}
}

func (c *changed) put(path, content string) (change.Result, error) {
	staging, release, err := c.e.Staging()
	if err != nil {
		return change.Result{Err: err}, err
	}
	defer release()
	name := fmt.Sprintf("up-%d", c.n.Add(1))
	if err := os.WriteFile(filepath.Join(staging, name), []byte(content), 0o644); err != nil {
		return change.Result{Err: err}, err
	}
	res := c.e.Commit(c.Context(), []change.Put{{Staged: name, Path: sharetest.P(c, path), Base: anyBase, Parents: true}})[0]
	if res.Err != nil {
		os.Remove(filepath.Join(staging, name))
	}
	return res, res.Err
}

// create is put without a path to the staging folder, which leads elsewhere when the folder is exchanged where the system has no
// names for what is open.
func (c *changed) create(path, content string) error {
	staging, err := c.d.Own(true, "tmp")
	if err != nil {
		return err
	}
	defer staging.Close()
	name := fmt.Sprintf("up-%d", c.n.Add(1))
	if err := staging.Create(name, []byte(content)); err != nil {
		return err
	}
	return c.e.Commit(c.Context(), []change.Put{{Staged: name, Path: sharetest.P(c, path), Base: anyBase, Parents: true}})[0].Err
}

// dump tells all of a folder, without following links.
func dump(t *testing.T, dir string) map[string]string {
	out := map[string]string{}
	must(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var content []byte
		if info.Mode().IsRegular() {
			content, err = os.ReadFile(p)
		}
		rel, _ := filepath.Rel(dir, p)
		out[rel] = fmt.Sprint(info.Mode(), info.ModTime().UnixNano(), string(content))
		return err
	}))
	return out
}

// TestSwapWhileChanged (T20) exchanges a folder and a link that leads outside, twenty thousand times for each verb: nothing outside
// is changed, and nothing from there becomes a version. It guards the flags of Kernel's opening and that of single names, and the
// same of os.Root.
func TestSwapWhileChanged(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a while")
	}
	eachChanger(t, func(t *testing.T, open func(string) *Disk, _ bool) {
		for _, own := range []bool{false, true} {
			t.Run(map[bool]string{false: "folder", true: "own"}[own], func(t *testing.T) { testSwapWhileChanged(t, open, own) })
		}
	})
}

func testSwapWhileChanged(t *testing.T, open func(string) *Disk, own bool) {
	top := memory(t) // where syncs cost nothing, so that more is done
	dir, out := filepath.Join(top, "share"), filepath.Join(top, "out")
	for _, name := range []string{"d/e/f", "d/e/g", "d/e/h"} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("good"), 0o644))
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(out, name[2:])), 0o755))
		must(t, os.WriteFile(filepath.Join(out, name[2:]), []byte("secret"), 0o644))
	}
	for _, name := range []string{"tmp", "versions/log", "versions/data", "versions/pending"} {
		must(t, os.MkdirAll(filepath.Join(out, name), 0o755))
	}
	c := newChanged(t, open(dir), change.Options{})
	first, err := c.put("d/e/f", "good")
	must(t, err)
	name := filepath.Join(dir, "d")
	if own {
		name = filepath.Join(dir, share.Reserved)
	}
	rel, err := filepath.Rel(dir, out)
	must(t, err)
	must(t, os.Symlink(rel, name+".link"))
	before := dump(t, out)

	p := func(s string) share.Path { return sharetest.P(t, s) }
	verbs := map[string]func() error{
		"put": func() error { return c.create("d/e/f", "good") },
		"new": func() error { return c.create(fmt.Sprintf("d/e/new%d", c.n.Load()), "good") },
		"mkdir": func() error {
			return c.e.Mkdir(t.Context(), p(fmt.Sprintf("d/e/m%d", c.n.Add(1))), true, change.By{}).Err
		},
		"mv":      func() error { return c.e.Move(t.Context(), p("d/e/g"), p("d/e/h"), anyBase, anyBase, change.By{}).Err },
		"mv back": func() error { return c.e.Move(t.Context(), p("d/e/h"), p("d/e/g"), anyBase, anyBase, change.By{}).Err },
		"cp":      func() error { return c.e.Copy(t.Context(), p("d/e/h"), p("d/e/copy"), anyBase, change.By{}).Err },
		"restore": func() error {
			return c.e.Restore(t.Context(), p("d/e/f"), first.Kept, p("d/e/f"), anyBase, change.By{}).Err
		},
		"rm": func() error {
			for res := range c.e.Remove(t.Context(), p("d/e/copy"), anyBase, true, change.By{}) {
				if res.Err != nil {
					return res.Err
				}
			}
			return nil
		},
		"rm -r": func() error {
			for res := range c.e.Remove(t.Context(), p("d/e"), anyBase, true, change.By{}) {
				if res.Err != nil {
					return res.Err
				}
			}
			return nil
		},
	}
	const rests = 101 // odd, so that it rests with the folder in place as often as with the link
	var done atomic.Bool
	var swaps atomic.Int64
	good, refused := map[string]int{}, map[string]int{}
	var wg sync.WaitGroup
	round := make(chan struct{}) // something was done
	wg.Go(func() {
		for !done.Load() {
			// It rests now and then until something was done, so that verbs of many steps get to their last ones, and some to the end.
			if swaps.Add(1)%rests == 0 {
				<-round
			}
			if err := unix.Renameat2(unix.AT_FDCWD, name, unix.AT_FDCWD, name+".link", unix.RENAME_EXCHANGE); err != nil {
				t.Error(err)
				return
			}
		}
	})
	order := slices.Sorted(maps.Keys(verbs))
	untested := func(verb string) bool { return !own && verb != "rm -r" && good[verb] == 0 || refused[verb] == 0 }
	for i := 0; swaps.Load() < 20_000 || i < 600 || i < 20_000 && slices.ContainsFunc(order, untested); i++ {
		verb := order[i%len(order)]
		if verb == "rm -r" && i%50 > len(order) {
			continue
		}
		if err := verbs[verb](); err == nil {
			good[verb]++
		} else if refused[verb]++; !slices.Contains([]peer.Kind{peer.NotFound, peer.Conflict, peer.Other}, peer.KindOf(err)) {
			t.Errorf("%s: %v", verb, err)
		}
		for _, name := range []string{"d/e/g", "d/e/h"} {
			_ = c.create(name, "good")
		}
		select {
		case round <- struct{}{}:
		default:
		}
	}
	done.Store(true)
	close(round)
	wg.Wait()
	if after := dump(t, out); !maps.Equal(before, after) {
		t.Errorf("outside was %v and is %v", before, after)
	}
	for path, what := range dump(t, dir) {
		if strings.HasSuffix(what, "secret") {
			t.Errorf("%s came from outside", path)
		}
	}
	for _, verb := range order {
		if untested(verb) {
			t.Errorf("%s: %d good, %d refused: nothing was tested", verb, good[verb], refused[verb])
		}
	}
	t.Logf("%d swaps; good %v, refused %v", swaps.Load(), good, refused)
}

// TestFullDisk (4) fills a disk of 64 MiB, and has one that can only be read: clear errors, and nothing is lost.
func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may mount")
	}
	eachChanger(t, func(t *testing.T, open func(string) *Disk, _ bool) {
		dir := real(t)
		inNamespace(t, func(func(string, string, string, uintptr)) {
			must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"))
			limits := change.Limits{Reserve: -1, Retention: change.Retention{Percent: 99}}
			c := newChanged(t, open(dir), change.Options{Limits: func() change.Limits { return limits }})
			big := strings.Repeat("x", 10<<20)
			_, err := c.put("first", big)
			must(t, err)
			n := 0
			for ; n < 20; n++ {
				if _, err = c.put("again", fmt.Sprint(n)+big); err != nil {
					break
				}
			}
			t.Logf("%d times: %v", n, err)
			if n == 0 || n == 20 {
				t.Errorf("%d versions of 10 MiB on a disk of 64: %v", n, err)
			}
			left, err := os.ReadFile(filepath.Join(dir, "again"))
			if err != nil || !strings.HasPrefix(string(left), fmt.Sprint(n-1)+"x") || len(left) != len(big)+1 {
				t.Errorf("what was there is %.10s, %v", left, err)
			}
			for i := 0; ; i++ { // to the last byte
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("own%d", i)), []byte(strings.Repeat("y", 1<<16)), 0o644); err != nil {
					break
				}
			}
			res := c.e.Mkdir(t.Context(), sharetest.P(t, "d"), false, change.By{})
			if res.Err != nil && peer.KindOf(res.Err) != peer.Full {
				t.Errorf("a folder on a full disk: %v", res.Err)
			}
			if res := c.e.Copy(t.Context(), sharetest.P(t, "first"), sharetest.P(t, "copy"), anyBase, change.By{}); peer.KindOf(res.Err) != peer.Full {
				t.Errorf("a copy on a full disk: %+v", res)
			}
			limits.Reserve = 0
			if err := c.e.Room(t.Context(), 1, 0); peer.KindOf(err) != peer.Full {
				t.Errorf("room on a full disk: %v", err)
			}
			must(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
			_, err = c.put("new", "x")
			if err == nil || peer.KindOf(err) != peer.Other || !strings.Contains(err.Error(), "can only be read") {
				t.Logf("staging on a disk that can only be read: %v", err) // which the system says
			}
			res = c.e.Mkdir(t.Context(), sharetest.P(t, "e"), false, change.By{})
			if res.Err == nil || !strings.Contains(res.Err.Error(), "can only be read") {
				t.Errorf("a folder on a disk that can only be read: %v", res.Err)
			}
			if got, err := os.ReadFile(filepath.Join(dir, "again")); err != nil || string(got) != string(left) {
				t.Errorf("it holds %.10s, %v", got, err)
			}
			must(t, unix.Unmount(dir, unix.MNT_DETACH))
		})
	})
}

// TestCasefold (4) is about a disk that takes no heed of case.
func TestCasefold(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may mount")
	}
	image := filepath.Join(real(t), "image")
	must(t, os.WriteFile(image, nil, 0o600))
	must(t, os.Truncate(image, 32<<20))
	if out, err := exec.Command("mkfs.ext4", "-q", "-O", "casefold", "-E", "encoding=utf8", image).CombinedOutput(); err != nil {
		t.Skipf("no such file system: %v: %s", err, out)
	}
	eachChanger(t, func(t *testing.T, open func(string) *Disk, _ bool) {
		disk := real(t)
		inNamespace(t, func(func(string, string, string, uintptr)) {
			if out, err := exec.Command("mount", "-o", "loop", image, disk).CombinedOutput(); err != nil {
				t.Logf("skipped, it can't be mounted: %v: %s", err, out)
				return
			}
			defer exec.Command("umount", disk).Run()
			dir := filepath.Join(disk, strings.ReplaceAll(t.Name(), "/", "-"))
			must(t, os.Mkdir(dir, 0o755))
			if out, err := exec.Command("chattr", "+F", dir).CombinedOutput(); err != nil {
				t.Logf("skipped, no folder of the kind: %v: %s", err, out)
				return
			}
			c := newChanged(t, open(dir), change.Options{Limits: func() change.Limits { return change.Limits{Reserve: -1} }})
			_, err := c.put("Docs/Plan.txt", "one")
			must(t, err)
			for _, path := range []string{"Docs/PLAN.txt", "docs/Plan.txt", "docs/other", "DOCS"} {
				if res, err := c.put(path, "two"); peer.KindOf(err) != peer.Conflict {
					t.Errorf("%s: %+v", path, res)
				}
			}
			p := func(s string) share.Path { return sharetest.P(t, s) }
			must(t, c.e.Move(t.Context(), p("Docs/Plan.txt"), p("Docs/plan.TXT"), anyBase, change.Base{}, change.By{}).Err)
			must(t, c.e.Move(t.Context(), p("Docs"), p("docs"), anyBase, change.Base{}, change.By{}).Err)
			names, err := filepath.Glob(filepath.Join(dir, "*/*"))
			must(t, err)
			if want := filepath.Join(dir, "docs", "plan.TXT"); !slices.Equal(names, []string{want}) {
				t.Errorf("it holds %q", names)
			}
			if got, err := os.ReadFile(filepath.Join(dir, "docs", "plan.TXT")); err != nil || string(got) != "one" {
				t.Errorf("%q, %v", got, err)
			}
		})
	})
}

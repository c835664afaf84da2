//go:build linux

package registry

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peerd/peerd/peer"
)

// TestPlace is the table of folders that can't be shared. Kind Other stands for those that can.
func TestPlace(t *testing.T) {
	top := folder(t)
	at := func(name string) string { return filepath.Join(top, name) }
	for _, dir := range []string{"home/anna/docs", "home/anna/.state/peerd/keys", "home/anna/.cache", "run", "far/own/inner"} {
		must(t, os.MkdirAll(at(dir), 0o755))
	}
	must(t, os.WriteFile(at("file"), nil, 0o644))
	for link, target := range map[string]string{
		"to-root": "/", "to-proc": "/proc", "to-state": "home/anna/.state/peerd", "to-home": "home/anna", "to-file": "file", "dangling": "none",
		"to-docs": "home/anna/docs", "own-link": "far/own",
	} {
		must(t, os.Symlink(target, at(link)))
	}
	r, err := Open(at("home/anna/.state/peerd"), Options{
		Own:  []string{at("home/anna/.cache/peerd/not/there/yet"), at("own-link"), "/run/peerd-that-is-not-there"},
		Home: at("home/anna"),
	})
	must(t, err)
	for _, c := range []struct {
		dir  string
		kind peer.Kind
		why  string
	}{
		{dir: at("home/anna/docs")},
		{dir: at("to-docs")},
		{dir: at("home/anna/docs/../docs/")},
		{dir: at("run")},

		{dir: "docs", kind: peer.Usage, why: "absolute"},
		{dir: "", kind: peer.Usage, why: "absolute"},
		{dir: at("none"), kind: peer.NotFound},
		{dir: at("dangling"), kind: peer.NotFound},
		{dir: at("file"), kind: peer.Usage, why: "no folder"},
		{dir: at("to-file"), kind: peer.Usage, why: "no folder"},
		{dir: "/", kind: peer.Usage, why: "whole computer"},
		{dir: "/..", kind: peer.Usage, why: "whole computer"},
		{dir: at("to-root"), kind: peer.Usage, why: "whole computer"},
		{dir: "/proc", kind: peer.Usage, why: "/proc"},
		{dir: "/proc/self", kind: peer.Usage, why: "/proc"},
		{dir: "/proc/self/root/proc/self", kind: peer.Usage, why: "/proc"},
		{dir: at("to-proc"), kind: peer.Usage, why: "/proc"},
		{dir: "/sys", kind: peer.Usage, why: "/sys"},
		{dir: "/sys/kernel", kind: peer.Usage, why: "/sys"},
		{dir: "/dev", kind: peer.Usage, why: "/dev"},
		{dir: "/dev/shm", kind: peer.Usage, why: "/dev"},
		{dir: at("home/anna/.state/peerd"), kind: peer.Usage, why: "its own files"},
		{dir: at("home/anna/.state/peerd/keys"), kind: peer.Usage, why: "its own files"},
		{dir: at("home/anna/.state"), kind: peer.Usage, why: "its own files"},
		{dir: at("to-state"), kind: peer.Usage, why: "its own files"},
		{dir: at("home/anna/.cache"), kind: peer.Usage, why: "its own files"},
		{dir: at("far"), kind: peer.Usage, why: "its own files"},
		{dir: at("far/own/inner"), kind: peer.Usage, why: "its own files"},
		{dir: at("home/anna"), kind: peer.Usage, why: "its own files"},
		{dir: "/run", kind: peer.Usage, why: "its own files"},
	} {
		s, err := r.Add(Share{Name: "s", Dir: c.dir}, Secrets{}, start)
		if c.kind == peer.Other {
			if err != nil || strings.Contains(s.Dir, "to-") {
				t.Errorf("%q: %q, %v", c.dir, s.Dir, err)
			} else {
				must(t, r.Remove(s.ID))
			}
			continue
		}
		wantKind(t, c.dir, err, c.kind)
		if err != nil && !strings.Contains(err.Error(), c.why) {
			t.Errorf("%q is refused with %v, want a word of %q", c.dir, err, c.why)
		}
	}
}

// TestMounted: what is mounted is not shared, be it in the folder, the folder itself or around it, by links and in a share of one
// run too; what was shared before stays, since what is mounted keeps out of that.
func TestMounted(t *testing.T) {
	top := folder(t)
	at := func(name string) string { return filepath.Join(top, name) }
	for _, dir := range []string{"all/peers/anna/docs", "beside"} {
		must(t, os.MkdirAll(at(dir), 0o755))
	}
	must(t, os.Symlink(at("all/peers/anna"), at("link")))
	must(t, os.Symlink(at("all"), at("around")))
	dir := state(t)
	var mounts []string
	open := func() *Registry {
		r, err := Open(dir, Options{Home: "/nobody's home", Mounts: func() []string { return mounts }})
		must(t, err)
		return r
	}
	r := open()
	before := add(t, r, Share{Name: "before", Dir: at("all")})
	mounts = []string{at("around/peers")} // as somebody wrote it, which is all that is known of one that waits
	for _, name := range []string{"all", "all/peers", "all/peers/anna", "all/peers/anna/docs", "link", "around"} {
		for _, once := range []bool{false, true} {
			_, err := r.Add(Share{Name: "s", Dir: at(name), Ephemeral: once}, Secrets{}, start)
			wantKind(t, name, err, peer.Usage)
			if e, ok := errors.AsType[*peer.Error](err); !ok || !strings.Contains(e.Hint, "peerd umount "+mounts[0]) {
				t.Errorf("%q is refused with %v", name, err)
			}
		}
	}
	beside := add(t, r, Share{Name: "s", Dir: at("beside")})
	_, err := r.Set(beside.ID, func(s *Share) { s.Dir = at("link") }, start)
	wantKind(t, "another folder of a share", err, peer.Usage)
	if s, err := open().Get("before"); err != nil || s.Dir != before.Dir {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestWholeHome: no word opens a home folder, so no hint speaks of one.
func TestWholeHome(t *testing.T) {
	top := folder(t)
	home := filepath.Join(top, "home", "anna")
	must(t, os.MkdirAll(filepath.Join(home, "docs"), 0o755))
	r, err := Open(state(t), Options{Home: home})
	must(t, err)
	for _, dir := range []string{home, filepath.Dir(home), top} {
		_, err := r.Add(Share{Name: "s", Dir: dir}, Secrets{}, start)
		wantKind(t, dir, err, peer.Usage)
		if e, ok := errors.AsType[*peer.Error](err); !ok || e.Hint != "share a folder in it" {
			t.Errorf("%q is refused with %v", dir, err)
		}
	}
	add(t, r, Share{Name: "s", Dir: filepath.Join(home, "docs")})
}

// TestGoneFolder loads a share whose folder is not there, as on a disk that is not plugged in.
func TestGoneFolder(t *testing.T) {
	dir, docs := state(t), filepath.Join(folder(t), "docs")
	must(t, os.Mkdir(docs, 0o755))
	add(t, reopen(t, dir), Share{Name: "s", Dir: docs})
	must(t, os.Remove(docs))
	if s, err := reopen(t, dir).Get("s"); err != nil || s.Dir != docs {
		t.Errorf("%+v, %v", s, err)
	}
}

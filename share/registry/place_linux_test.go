package registry

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/peerd/peerd/peer"
)

// TestUnreadable: a folder that peerd can't list or enter is refused when it is to be shared.
func TestUnreadable(t *testing.T) {
	top := folder(t)
	for dir := top; dir != filepath.Clean(os.TempDir()) && dir != "/"; dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755))
	}
	r := reopen(t, state(t))
	for name, mode := range map[string]os.FileMode{"closed": 0, "no-listing": 0o311, "no-entering": 0o644, "good": 0o755} {
		dir := filepath.Join(top, name)
		must(t, os.Mkdir(dir, 0o755))
		must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o644))
		must(t, os.Chmod(dir, mode))
		var err error
		unprivileged(t, func() { _, err = resolve(dir) })
		if name == "good" {
			must(t, err)
			continue
		}
		wantKind(t, name, err, peer.Denied)
		if os.Geteuid() != 0 {
			_, err = r.Add(Share{Name: "s", Dir: dir}, Secrets{}, start)
			wantKind(t, name, err, peer.Denied)
		}
		must(t, os.Chmod(dir, 0o755)) // so that it can be removed
	}
}

// unprivileged runs f as somebody whom permissions bind: for root, whom they don't, as nobody as far as files go.
func unprivileged(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	const nobody = 65534
	runtime.LockOSThread() // of this thread alone
	defer runtime.UnlockOSThread()
	must(t, unix.Setfsuid(nobody))
	f()
	must(t, unix.Setfsuid(0))
}

// TestSilentMount: a peerd mount that does not answer keeps no change waiting, wherever it is, also one of a share that lies in it.
func TestSilentMount(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount by itself")
	}
	top := folder(t)
	at := func(name string) string { return filepath.Join(top, name) }
	for _, dir := range []string{"stuck/mnt", "docs", "more"} {
		must(t, os.MkdirAll(at(dir), 0o755))
	}
	must(t, os.Symlink(at("stuck/mnt"), at("link")))
	var mounts []string
	var said strings.Builder
	dir, opt := state(t), Options{Home: "/nobody's home", Mounts: func() []string { return mounts }, Log: slog.New(slog.NewTextHandler(&said, nil))}
	r, err := Open(dir, opt)
	must(t, err)
	before, in := add(t, r, Share{Name: "before", Dir: at("docs")}), add(t, r, Share{Name: "in", Dir: at("stuck/mnt")})
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip(err)
	}
	daemon := os.NewFile(uintptr(fd), "fuse")
	defer daemon.Close()
	mounts = []string{at("stuck/mnt")}
	must(t, unix.Mount("peerd", mounts[0], "fuse.peerd", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)))
	defer unix.Unmount(mounts[0], unix.MNT_DETACH)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := r.Add(Share{Name: "beside", Dir: at("more")}, Secrets{}, start); err != nil {
			t.Error(err)
		}
		for _, name := range []string{"stuck/mnt", "stuck/mnt/anna", "link", "link/anna", "stuck"} {
			_, err := r.Add(Share{Name: "s", Dir: at(name)}, Secrets{}, start)
			wantKind(t, name, err, peer.Usage)
		}
		_, err := r.Set(before.ID, func(s *Share) { s.Dir = at("link/anna") }, start)
		wantKind(t, "another folder of a share", err, peer.Usage)
		if err := r.Remove(before.ID); err != nil {
			t.Error(err)
		}
		if again, err := Open(dir, opt); err != nil {
			t.Error(err)
		} else if s, err := again.Get("in"); err != nil || s.Dir != in.Dir {
			t.Errorf("%+v, %v", s, err)
		}
		if !strings.Contains(said.String(), "mounted="+mounts[0]) {
			t.Errorf("of the share that is hidden it says %q", said.String())
		}
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Error("it waits for a mount that does not answer")
		must(t, daemon.Close()) // which frees it
		<-done
	}
}

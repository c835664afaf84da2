package mount_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/local/tree"
	"github.com/peerd/peerd/share/mount"
	"github.com/peerd/peerd/share/vfs/vfstest"
)

// raw mounts a file system that nobody answers for; its daemon is dead once what it gives is called.
func raw(t *testing.T, source, system, dir string, user int) (die func()) {
	t.Helper()
	needs(t)
	if os.Geteuid() != 0 {
		t.Skip("only root can mount by itself")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "fuse")
	if err := unix.Mount(source, dir, system, 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=0", fd, user)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = f.Close()
		for range layers(t, dir) {
			_ = unix.Unmount(dir, unix.MNT_DETACH)
		}
	})
	return func() { _ = f.Close() }
}

// layers is how many mounts are on a folder.
func layers(t *testing.T, dir string) (n int) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && f[4] == dir {
			n++
		}
	}
	return n
}

// ends fails the test if f hangs, once what it hangs on is freed.
func ends(t *testing.T, free, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Error("it waits for what does not answer")
		free()
		<-done
	}
}

// TestSilent: a mount whose daemon does not answer keeps nobody waiting for long, whatever leads to it, and is taken away.
func TestSilent(t *testing.T) {
	for _, c := range []struct {
		name, by string
		do       func(dir string) error
		left     int
	}{
		{"release", "mnt", func(dir string) error { _, err := mount.Release(dir); return err }, 0},
		{"release by a link above", "up/mnt", func(dir string) error { _, err := mount.Release(dir); return err }, 0},
		{"release in it", "mnt/anna", func(dir string) error {
			if was, err := mount.Release(dir); was || err != nil {
				return fmt.Errorf("%v, %w", was, err)
			}
			return nil
		}, 1},
		{"mount in it", "mnt/anna/docs", func(dir string) error {
			if _, err := mount.New(t.Context(), vfstest.Running(t, world()), dir, mount.Options{}); peer.KindOf(err) != peer.Usage {
				return fmt.Errorf("it should lie in a peerd mount: %w", err)
			}
			return nil
		}, 1},
		{"mount beside what is shared in it", "other", func(dir string) error {
			m, err := mount.New(t.Context(), vfstest.Running(t, world()), dir, mount.Options{Shared: []string{filepath.Join(filepath.Dir(dir), "mnt", "anna")}})
			if err == nil {
				err = m.Unmount(t.Context())
			}
			return err
		}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			top := t.TempDir()
			dir := filepath.Join(top, "mnt")
			free := raw(t, "peerd", "fuse.peerd", dir, 0)
			if err := os.Symlink(top, filepath.Join(top, "up")); err != nil {
				t.Fatal(err)
			}
			ends(t, free, func() {
				if err := c.do(filepath.Join(top, c.by)); err != nil {
					t.Error(err)
				}
			})
			if n := layers(t, dir); n != c.left {
				t.Errorf("%d mounts are there, want %d", n, c.left)
			}
		})
	}
}

// TestReleaseDead: one whose daemon died is released by any path to it, and of two on one folder the upper one first.
func TestReleaseDead(t *testing.T) {
	top := t.TempDir()
	dir, link := filepath.Join(top, "real", "mnt"), filepath.Join(top, "link")
	if err := os.Symlink("real", link); err != nil {
		t.Fatal(err)
	}
	raw(t, "peerd", "fuse.peerd", dir, 0)()
	run(t, exec.Command("mount", "-t", "tmpfs", "none", dir)) // nothing can be mounted on a dead one
	raw(t, "peerd", "fuse.peerd", dir, 0)()
	release := func(left int) {
		t.Helper()
		if was, err := mount.Release(filepath.Join(link, "mnt")); !was || err != nil {
			t.Errorf("%v, %v", was, err)
		}
		if n := layers(t, dir); n != left {
			t.Errorf("%d mounts are left, want %d", n, left)
		}
	}
	release(2)
	if was, err := mount.Release(dir); !was || err == nil {
		t.Errorf("under something else: %v, %v", was, err)
	}
	run(t, exec.Command("umount", dir))
	release(0)
}

// TestNotOurs: what somebody else mounted over a mount of ours is left alone, also where it is dead; and so is what is another user's.
func TestNotOurs(t *testing.T) {
	for name, do := range map[string]func(dir string) error{
		"clean":   func(string) error { mount.Clean(); return nil },
		"release": func(dir string) error { _, err := mount.Release(dir); return err },
		"mount": func(dir string) error {
			_, err := mount.New(t.Context(), vfstest.Running(t, world()), dir, mount.Options{})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := show(t, vfstest.Running(t, world()), mount.Options{})
			raw(t, "sshfs", "fuse.sshfs", dir, 0)()
			if err := do(dir); name != "clean" && err == nil {
				t.Error("it went well")
			}
			if n := layers(t, dir); n != 2 {
				t.Errorf("%d mounts are there, want 2", n)
			}
		})
		t.Run(name+" another user's", func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "mnt")
			raw(t, "peerd", "fuse.peerd", dir, 65534)()
			if err := do(dir); name == "release" && peer.KindOf(err) != peer.Denied || name == "mount" && peer.KindOf(err) != peer.Usage {
				t.Errorf("%v", err)
			}
			if n := layers(t, dir); n != 1 {
				t.Errorf("%d mounts are there, want 1", n)
			}
		})
	}
}

// movable gives a folder in which mounts can be moved.
func movable(t *testing.T) string {
	t.Helper()
	needs(t)
	if os.Geteuid() != 0 {
		t.Skip("only root can move mounts")
	}
	top := t.TempDir()
	run(t, exec.Command("mount", "-t", "tmpfs", "none", top))
	t.Cleanup(func() { _ = unix.Unmount(top, unix.MNT_DETACH) })
	run(t, exec.Command("mount", "--make-private", top)) // else nothing in it can be moved
	return top
}

// TestMoved: a mount that somebody moved is not said to be away, and is released where it is.
func TestMoved(t *testing.T) {
	top := movable(t)
	dir, to := filepath.Join(top, "mnt"), filepath.Join(top, "to")
	if err := os.Mkdir(to, 0o755); err != nil {
		t.Fatal(err)
	}
	m, err := mount.New(t.Context(), vfstest.Running(t, world()), dir, mount.Options{})
	if err != nil {
		t.Fatal(err)
	}
	run(t, exec.Command("mount", "--move", dir, to))
	if err := m.Unmount(t.Context()); err == nil || !strings.Contains(err.Error(), "moved to "+peer.Quote(to)) {
		t.Errorf("%v, want that it was moved", err)
	}
	if was, err := mount.Release(to); !was || err != nil {
		t.Errorf("%v, %v", was, err)
	}
	m.Wait()
}

// TestMovedOver: what was mounted before and moved over a mount of ours lies on top of it, whatever the system tells first.
func TestMovedOver(t *testing.T) {
	top := movable(t)
	from, dir := filepath.Join(top, "from"), filepath.Join(top, "mnt")
	if err := os.Mkdir(from, 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, exec.Command("mount", "-t", "tmpfs", "none", from))
	if err := os.WriteFile(filepath.Join(from, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := mount.New(t.Context(), vfstest.Running(t, world()), dir, mount.Options{})
	if err != nil {
		t.Fatal(err)
	}
	run(t, exec.Command("mount", "--move", from, dir))
	err = m.Unmount(t.Context())
	if _, e := os.Stat(filepath.Join(dir, "precious")); e != nil || err == nil {
		t.Errorf("what was moved over it: %v; unmounting said %v", e, err)
	}
	run(t, exec.Command("umount", dir))
	if err := m.Unmount(t.Context()); err != nil {
		t.Error(err)
	}
	m.Wait()
}

// TestUnmountedLazily: what somebody took out of sight while it is in use is away.
func TestUnmountedLazily(t *testing.T) {
	needs(t)
	if os.Geteuid() != 0 {
		t.Skip("only root can umount")
	}
	dir := filepath.Join(t.TempDir(), "mnt")
	m, err := mount.New(t.Context(), vfstest.Running(t, world()), dir, mount.Options{})
	if err != nil {
		t.Fatal(err)
	}
	user, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	run(t, exec.Command("umount", "-l", dir))
	if err := m.Unmount(t.Context()); err != nil {
		t.Error(err)
	}
	_ = user.Close()
	m.Wait()
}

// TestReleaseInUse: who works in a mount is waited for.
func TestReleaseInUse(t *testing.T) {
	needs(t)
	dir := filepath.Join(t.TempDir(), "mnt")
	m, err := mount.New(t.Context(), vfstest.Running(t, world()), dir, mount.Options{})
	if err != nil {
		t.Fatal(err)
	}
	user, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if was, err := mount.Release(dir); !was || err != nil || layers(t, dir) > 0 {
		t.Errorf("%v, %v, %d mounts are left", was, err, layers(t, dir))
	}
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("it was taken from its user after %v", took)
	}
	_ = user.Close()
	m.Wait()
}

// TestSystemRefuses: a folder that was made for a mount is removed where the system does not mount.
func TestSystemRefuses(t *testing.T) {
	needs(t)
	if os.Geteuid() != 0 {
		t.Skip("only root has a right to lose")
	}
	dir := filepath.Join(t.TempDir(), "mnt")
	fs := vfstest.Running(t, world())
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never let go of: the thread ends without the right to mount, with the helper that it starts
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SYS_ADMIN, 0, 0, 0); err != nil {
			result <- fmt.Errorf("prctl: %w", err)
			return
		}
		header, data := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, [2]unix.CapUserData{}
		if err := unix.Capget(&header, &data[0]); err != nil {
			result <- err
			return
		}
		data[0].Effective &^= 1 << unix.CAP_SYS_ADMIN
		data[0].Permitted &^= 1 << unix.CAP_SYS_ADMIN
		if err := unix.Capset(&header, &data[0]); err != nil {
			result <- err
			return
		}
		m, err := mount.New(t.Context(), fs, dir, mount.Options{})
		if err == nil {
			_ = m.Unmount(t.Context())
		}
		result <- err
	}()
	if err := <-result; err == nil || !strings.Contains(err.Error(), "mount") {
		t.Errorf("it was not refused: %v", err)
	}
	if _, err := os.Lstat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
}

// TestNotServed: what is mounted is not given away by a share, be it of the folder on which a disk is gone, or of one in it; and the share is
// back when the mount is gone.
func TestNotServed(t *testing.T) {
	needs(t)
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	m, err := mount.New(t.Context(), vfstest.Running(t, world()), dir, mount.Options{Root: []string{"anna"}})
	if err != nil {
		t.Fatal(err)
	}
	trees := func(sub string) []tree.Tree {
		at := filepath.Join(dir, sub)
		return []tree.Tree{tree.New(at, sub == ""), tree.Root{Path: at, Mount: sub == ""}}
	}
	for sub, file := range map[string]string{"": "docs/a.txt", "docs": "a.txt"} {
		for _, tr := range trees(sub) {
			_, serr := tr.Stat(share.Path{})
			at, err := share.SplitPath(file)
			if err != nil {
				t.Fatal(err)
			}
			f, ferr := tr.Open(at)
			d, derr := tr.Dir(share.Path{})
			for what, err := range map[string]error{"stat": serr, "open": ferr, "list": derr} {
				if !errors.Is(err, tree.ErrAway) {
					t.Errorf("%T of %q: %s: %v", tr, sub, what, err)
				}
			}
			if ferr == nil {
				_ = f.Close()
			}
			if derr == nil {
				d.Close()
			}
		}
	}
	if err := m.Unmount(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, tr := range []tree.Tree{tree.New(dir, false), tree.Root{Path: dir}} {
		if _, err := tr.Stat(share.Path{}); err != nil {
			t.Errorf("%T without the mount: %v", tr, err)
		}
	}
}

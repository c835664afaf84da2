package mount_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/mount"
	"github.com/peerd/peerd/share/vfs/vfstest"
)

// world is a peer with a share that can be changed, and one that can be read, each with a file.
func world() *vfstest.World {
	w := vfstest.NewWorld()
	anna := w.Add("anna")
	anna.Share("docs", share.Full).Write("a.txt", []byte("hello"))
	anna.Share("read", share.Read).Write("a.txt", []byte("hello"))
	return w
}

func TestWhatIsShown(t *testing.T) {
	fs := vfstest.Running(t, world())
	for _, c := range []struct {
		root []string
		want string
	}{
		{nil, "anna"},
		{[]string{"anna"}, "docs read"},
		{[]string{"anna", "docs"}, "a.txt"},
	} {
		dir := show(t, fs, mount.Options{Root: c.root})
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%v shows %q, want %q", c.root, got, c.want)
		}
		if on := mount.On(filepath.Join(dir, "some", "where")); on != dir {
			t.Errorf("a file below %s is said to lie on %q", dir, on)
		}
		if all := mount.Mounts(); !slices.Contains(all, dir) {
			t.Errorf("%s is not among %q", dir, all)
		}
		// the number of a folder is the same from above, from within, and in its own listing
		var from, at unix.Stat_t
		if err := unix.Stat(dir, &from); err != nil {
			t.Fatal(err)
		}
		if err := unix.Stat(filepath.Join(dir, "."), &at); err != nil || at.Ino != from.Ino {
			t.Errorf("%d and %d, %v", from.Ino, at.Ino, err)
		}
	}
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "peerd ") && strings.Contains(line, " fuse.peerd ") && strings.Contains(line, t.Name()) {
			seen++
			if !strings.Contains(line, "nosuid") || !strings.Contains(line, "nodev") {
				t.Errorf("programs and devices of others may work here: %s", line)
			}
		}
	}
	if seen != 3 {
		t.Errorf("%d mounts are peerd's by name, want 3:\n%s", seen, b)
	}
}

func TestWhereNot(t *testing.T) {
	needs(t)
	fs := vfstest.Running(t, world())
	on := show(t, fs, mount.Options{})
	tmp := t.TempDir()
	full := filepath.Join(tmp, "full")
	for _, err := range []error{os.MkdirAll(filepath.Join(full, "x"), 0o755), os.WriteFile(filepath.Join(tmp, "file"), nil, 0o644),
		os.MkdirAll(filepath.Join(tmp, "shared", "sub"), 0o755), os.Symlink(filepath.Join(tmp, "shared", "sub"), filepath.Join(tmp, "link")),
		os.Mkdir(filepath.Join(tmp, "good"), 0o755), os.Symlink("nowhere", filepath.Join(tmp, "dang")),
		os.Symlink(on, filepath.Join(tmp, "to-mount"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	o := mount.Options{Shared: []string{filepath.Join(tmp, "shared")}}
	for _, c := range []struct {
		name, dir string
		o         mount.Options
		kind      peer.Kind
		why       string
	}{
		{"not empty", full, o, peer.Usage, "not empty"},
		{"a file", filepath.Join(tmp, "file"), o, peer.Usage, "no folder"},
		{"missing with its parent", filepath.Join(tmp, "no", "where"), o, peer.Usage, "no such file"},
		{"what is shared", filepath.Join(tmp, "shared", "sub"), o, peer.Usage, "shared folder"},
		{"what is shared, by a link", filepath.Join(tmp, "link"), o, peer.Usage, "shared folder"},
		{"around what is shared and away", filepath.Join(tmp, "good"), mount.Options{Shared: []string{filepath.Join(tmp, "good", "anna", "docs")}}, peer.Usage, "shared folder"},
		{"a peerd mount", on, o, peer.Usage, "already"},
		{"a peerd mount, by a link", filepath.Join(tmp, "to-mount"), o, peer.Usage, "already"},
		{"in a peerd mount", filepath.Join(on, "anna", "docs"), o, peer.Usage, "peerd mount"},
		{"new in a peerd mount", filepath.Join(on, "anna", "docs", "new"), o, peer.Usage, "peerd mount"},
		{"new in what is shared", filepath.Join(tmp, "shared", "sub", "new"), o, peer.Usage, "shared folder"},
		{"new in a file", filepath.Join(tmp, "file", "new"), o, peer.Usage, "file/new: mount on: what it would lie in is no folder"},
		{"far in a file", filepath.Join(tmp, "file", "far", "new"), o, peer.Usage, "new: mount on: what it would lie in is no folder"},
		{"a link to nothing", filepath.Join(tmp, "dang"), o, peer.Usage, "dang: mount on: it is a link to what is not there"},
		{"no such share", filepath.Join(tmp, "good"), mount.Options{Root: []string{"anna", "nothing"}}, peer.NotFound, ""},
		{"a file as the root", filepath.Join(tmp, "good"), mount.Options{Root: []string{"anna", "docs", "a.txt"}}, peer.Usage, "no folder"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := mount.New(t.Context(), fs, c.dir, c.o)
			if err == nil {
				_ = m.Unmount(t.Context())
				t.Fatal("it was mounted")
			}
			if k := peer.KindOf(err); k != c.kind || !strings.Contains(err.Error(), c.why) {
				t.Errorf("%v (%v), want %v with %q", err, k, c.kind, c.why)
			}
		})
	}
	for _, dir := range []string{filepath.Join(tmp, "shared", "sub"), filepath.Join(on, "anna", "docs")} {
		if _, err := os.Lstat(filepath.Join(dir, "new")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a mount that was refused left a folder in %s: %v", dir, err)
		}
	}
}

// A share that is away can be mounted if that is wanted; the folder itself always answers.
func TestAway(t *testing.T) {
	needs(t)
	w := world()
	anna := w.Add("anna")
	anna.Leave()
	fs := vfstest.Running(t, w)
	dir := filepath.Join(t.TempDir(), "mnt")
	o := mount.Options{Root: []string{"anna", "docs"}}
	if _, err := mount.New(t.Context(), fs, dir, o); peer.KindOf(err) != peer.Unreachable {
		t.Fatalf("%v, want that anna is unreachable", err)
	}
	o.Away = true
	dir = show(t, fs, o)
	if i, err := os.Stat(dir); err != nil || !i.IsDir() {
		t.Fatalf("%v, %v", i, err)
	}
	if _, err := os.ReadDir(dir); !errors.Is(err, syscall.EIO) {
		t.Errorf("%v, want EIO", err)
	}
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		t.Error(err)
	}
	anna.Return()
	eventually(t, "it is back", func() bool {
		b, err := os.ReadFile(filepath.Join(dir, "a.txt"))
		return err == nil && string(b) == "hello"
	})
}

// A share that ends is not an empty folder, nor is one below it: readdir(3) takes ENOENT for the end of a folder.
func TestShareEnds(t *testing.T) {
	w := world()
	anna := w.Add("anna")
	anna.Share("docs", share.Full).Write("d/f", nil)
	dir := show(t, vfstest.Running(t, w), mount.Options{Root: []string{"anna", "docs"}})
	var open []*os.File
	for _, name := range []string{"", "d"} {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		open = append(open, f)
	}
	anna.Unshare("docs")
	eventually(t, "the share to end", func() bool {
		_, err := os.Stat(filepath.Join(dir, "a.txt"))
		return err != nil
	})
	for _, f := range open {
		if names, err := f.Readdirnames(-1); !errors.Is(err, syscall.ESTALE) && !errors.Is(err, syscall.EACCES) {
			t.Errorf("%s: %q, %v; want ESTALE", f.Name(), names, err)
		}
	}
}

// What a daemon leaves that is killed is taken away by the next.
func TestKilledDaemon(t *testing.T) {
	needs(t)
	dir := filepath.Join(t.TempDir(), "mnt")
	kill := func() {
		t.Helper()
		c := child(t, "serve", dir, t.TempDir())
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		c.Stderr = os.Stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); line != "mounted\n" {
			t.Fatalf("%q, %v", line, err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "anna", "docs", "f")); err != nil || string(b) != "served" {
			t.Fatalf("%q, %v", b, err)
		}
		if slices.Contains(mount.Clean(), dir) {
			t.Fatal("a mount was taken from a daemon that lives")
		}
		user, err := os.Open(filepath.Join(dir, "anna", "docs", "f"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = user.Close() })
		_ = c.Process.Kill()
		_ = c.Wait()
		eventually(t, "the mount is dead", func() bool {
			var s unix.Statfs_t
			return errors.Is(unix.Statfs(dir, &s), syscall.ENOTCONN)
		})
	}
	kill()
	m, err := mount.New(t.Context(), vfstest.Running(t, world()), dir, mount.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "anna", "docs", "a.txt")); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	if err := m.Unmount(t.Context()); err != nil {
		t.Fatal(err)
	}
	kill()
	if got := mount.Clean(); !slices.Contains(got, dir) {
		t.Errorf("%v was cleaned, not %s", got, dir)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
}

// A mount that is in use is taken away all the same: nothing hangs, and what is open can still be read.
func TestUnmountInUse(t *testing.T) {
	needs(t)
	dir := filepath.Join(t.TempDir(), "mnt")
	m, err := mount.New(t.Context(), vfstest.Running(t, world()), dir, mount.Options{Root: []string{"anna", "docs"}})
	if err != nil {
		t.Fatal(err)
	}
	c := child(t, "open", filepath.Join(dir, "a.txt"))
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "open\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if err := m.Unmount(t.Context()); err != nil {
		t.Fatal(err)
	}
	if on := mount.On(dir); on != "" {
		t.Errorf("%s is still mounted", on)
	}
	if _, err := os.Stat(filepath.Join(dir, "a.txt")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, want that nothing is there", err)
	}
	next, err := mount.New(t.Context(), vfstest.Running(t, world()), dir, mount.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Unmount(t.Context()); err != nil {
		t.Errorf("once more: %v", err)
	}
	if on := mount.On(dir); on != dir {
		t.Error("it took away what was mounted there since")
	}
	if err := next.Unmount(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = in.Close()
	if err := c.Wait(); err != nil {
		t.Errorf("who had a file open could not read it: %v", err)
	}
	select {
	case <-m.Done():
	case <-time.After(20 * time.Second):
		t.Error("it did not end with the last who used it")
	}
	if err := m.Unmount(t.Context()); err != nil {
		t.Errorf("when it had ended: %v", err)
	}
}

// Somebody else may unmount as well, as umount(8) does.
func TestUnmountedByOthers(t *testing.T) {
	needs(t)
	dir := filepath.Join(t.TempDir(), "mnt")
	m, err := mount.New(t.Context(), vfstest.Running(t, world()), dir, mount.Options{})
	if err != nil {
		t.Fatal(err)
	}
	by := exec.Command("umount", dir)
	if os.Geteuid() != 0 {
		by = exec.Command("fusermount3", "-u", dir)
	}
	run(t, by)
	ctx, end := context.WithTimeout(t.Context(), 20*time.Second)
	defer end()
	select {
	case <-m.Done():
	case <-ctx.Done():
		t.Fatal("nobody noticed")
	}
	if err := m.Unmount(ctx); err != nil {
		t.Error(err)
	}
}

// TestCovered: what somebody mounted over a mount is left alone, and the mount with it, until it is gone.
func TestCovered(t *testing.T) {
	needs(t)
	if os.Geteuid() != 0 {
		t.Skip("only root can mount over it")
	}
	dir := filepath.Join(t.TempDir(), "mnt")
	m, err := mount.New(t.Context(), vfstest.Running(t, world()), dir, mount.Options{})
	if err != nil {
		t.Fatal(err)
	}
	run(t, exec.Command("mount", "-t", "tmpfs", "none", dir))
	for name, unmount := range map[string]func() error{
		"unmount": func() error { return m.Unmount(t.Context()) },
		"release": func() error { _, err := mount.Release(dir); return err },
	} {
		if err := unmount(); peer.KindOf(err) != peer.Other || !strings.Contains(err.Error(), "something else is mounted over it") {
			t.Errorf("%s: %v", name, err)
		}
	}
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil || s.Type != unix.TMPFS_MAGIC || mount.On(dir) != dir {
		t.Errorf("not both are there still: %x, %v, %q", s.Type, err, mount.On(dir))
	}
	run(t, exec.Command("umount", dir))
	if err := m.Unmount(t.Context()); err != nil || mount.On(dir) != "" {
		t.Errorf("uncovered: %v, %q is mounted", err, mount.On(dir))
	}
	m.Wait()
}

// TestRelease: a peerd mount is taken away by its folder, or a link to it, alone; what is none is left.
func TestRelease(t *testing.T) {
	needs(t)
	dir := filepath.Join(t.TempDir(), "mnt")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, by := range []string{dir, link} {
		m, err := mount.New(t.Context(), vfstest.Running(t, world()), dir, mount.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range []string{filepath.Dir(dir), filepath.Join(dir, "anna"), "/proc"} {
			if was, err := mount.Release(other); was || err != nil {
				t.Errorf("%s: %v, %v", other, was, err)
			}
		}
		if was, err := mount.Release(by); !was || err != nil || mount.On(dir) != "" {
			t.Errorf("%s: %v, %v, %q is mounted", by, was, err, mount.On(dir))
		}
		m.Wait()
		if err := m.Unmount(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// eventually waits for what must come, however loaded the machine is.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never came that %s", what)
		}
	}
}

// Nobody but the one who mounts looks in, unless that is wanted; and then by the modes.
func TestOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	fs := vfstest.Running(t, world())
	as := func(dir string, command ...string) error {
		c := exec.Command(command[0], append(command[1:], filepath.Join(dir, "anna", "docs", "a.txt"))...)
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		return c.Run()
	}
	own, all := show(t, fs, mount.Options{}), show(t, fs, mount.Options{AllowOther: true})
	if err := as(own, "cat"); err == nil {
		t.Error("somebody else could read what was mounted for one")
	}
	for dir := filepath.Dir(all); dir != filepath.Clean(os.TempDir()) && dir != "/"; dir = filepath.Dir(dir) { // it is closed to others
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := as(all, "cat"); err != nil {
		t.Errorf("what was mounted for all: %v", err)
	}
	if err := as(all, "truncate", "-s0"); err == nil {
		t.Error("somebody else could write what only its owner may")
	}
}

package mount_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/mount"
	"github.com/peerd/peerd/share/vfs/vfstest"
)

// change is each way to change something through the kernel, on a folder with a file f, an empty folder d and a folder e that
// holds a file g.
var changes = []struct {
	name string
	do   func(dir string) error
}{
	{"open to write", func(dir string) error { return try(dir, "f", unix.O_WRONLY, nil) }},
	{"open to read and write", func(dir string) error { return try(dir, "f", unix.O_RDWR, nil) }},
	{"open to append", func(dir string) error { return try(dir, "f", unix.O_WRONLY|unix.O_APPEND, nil) }},
	{"open and empty", func(dir string) error { return try(dir, "f", unix.O_WRONLY|unix.O_TRUNC, nil) }},
	{"open to read and empty", func(dir string) error { return try(dir, "f", unix.O_RDONLY|unix.O_TRUNC, nil) }},
	{"create", func(dir string) error { return try(dir, "new", unix.O_RDWR|unix.O_CREAT, nil) }},
	{"create anew", func(dir string) error { return try(dir, "new", unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, nil) }},
	{"make a node", func(dir string) error { return unix.Mknod(filepath.Join(dir, "new"), unix.S_IFREG|0o644, 0) }},
	{"make a folder", func(dir string) error { return unix.Mkdir(filepath.Join(dir, "new"), 0o755) }},
	{"truncate", func(dir string) error { return unix.Truncate(filepath.Join(dir, "f"), 1) }},
	{"set times", func(dir string) error {
		return unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(dir, "f"), []unix.Timespec{{Sec: 1}, {Sec: 1}}, 0)
	}},
	{"touch", func(dir string) error { return unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(dir, "f"), nil, 0) }},
	{"set times of a folder", func(dir string) error {
		return unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(dir, "d"), []unix.Timespec{{Sec: 1}, {Sec: 1}}, 0)
	}},
	{"set the mode", func(dir string) error { return unix.Chmod(filepath.Join(dir, "f"), 0o755) }},
	{"set the owner", func(dir string) error { return unix.Chown(filepath.Join(dir, "f"), os.Getuid(), os.Getgid()) }},
	{"rename", func(dir string) error { return unix.Rename(filepath.Join(dir, "f"), filepath.Join(dir, "new")) }},
	{"rename into a folder", func(dir string) error { return unix.Rename(filepath.Join(dir, "f"), filepath.Join(dir, "d", "f")) }},
	{"rename over", func(dir string) error { return unix.Rename(filepath.Join(dir, "f"), filepath.Join(dir, "e", "g")) }},
	{"rename without replacing", func(dir string) error {
		return unix.Renameat2(unix.AT_FDCWD, filepath.Join(dir, "f"), unix.AT_FDCWD, filepath.Join(dir, "new"), unix.RENAME_NOREPLACE)
	}},
	{"rename a folder", func(dir string) error { return unix.Rename(filepath.Join(dir, "e"), filepath.Join(dir, "new")) }},
	{"remove", func(dir string) error { return unix.Unlink(filepath.Join(dir, "f")) }},
	{"remove a folder", func(dir string) error { return unix.Rmdir(filepath.Join(dir, "d")) }},
}

// never are ways to make what no share holds, and what the kernel must not be led to believe there is.
var never = []struct {
	name string
	do   func(dir string) error
	want error
}{
	{"link", func(dir string) error { return unix.Link(filepath.Join(dir, "f"), filepath.Join(dir, "new")) }, unix.EPERM},
	{"symbolic link", func(dir string) error { return unix.Symlink("f", filepath.Join(dir, "new")) }, unix.EPERM},
	{"pipe", func(dir string) error { return unix.Mkfifo(filepath.Join(dir, "new"), 0o644) }, unix.EPERM},
	{"attribute", func(dir string) error { return unix.Setxattr(filepath.Join(dir, "f"), "user.x", []byte("y"), 0) }, unix.EOPNOTSUPP},
	{"exchange", func(dir string) error {
		return unix.Renameat2(unix.AT_FDCWD, filepath.Join(dir, "f"), unix.AT_FDCWD, filepath.Join(dir, "e"), unix.RENAME_EXCHANGE)
	}, unix.EINVAL},
	{"hole", func(dir string) error {
		return try(dir, "f", unix.O_RDWR, func(fd int) error {
			return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 1)
		})
	}, unix.EOPNOTSUPP},
	{"file without a name", func(dir string) error { return try(dir, "", unix.O_TMPFILE|unix.O_RDWR, nil) }, unix.EOPNOTSUPP},
}

func try(dir, name string, flags int, then func(fd int) error) error {
	fd, err := unix.Open(filepath.Join(dir, name), flags, 0o644)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if then != nil {
		return then(fd)
	}
	return nil
}

func furnish(s *vfstest.Share) {
	s.Write("f", []byte("content"))
	s.Mkdir("d")
	s.Write("e/g", []byte("more"))
}

// Who may read only changes nothing, whatever the kernel is asked for; and the same holds of a mount that is for reading.
func TestReadRightChangesNothing(t *testing.T) {
	w := vfstest.NewWorld()
	read, full := w.Add("anna").Share("read", share.Read), w.Add("anna").Share("full", share.Full)
	furnish(read)
	furnish(full)
	fs := vfstest.Running(t, w)
	for _, c := range []struct {
		name string
		s    *vfstest.Share
		dir  string
	}{
		{"read right", read, filepath.Join(show(t, fs, mount.Options{}), "anna", "read")},
		{"read right, alone", read, show(t, fs, mount.Options{Root: []string{"anna", "read"}})},
		{"mount for reading", full, show(t, fs, mount.Options{Root: []string{"anna", "full"}, ReadOnly: true})},
	} {
		t.Run(c.name, func(t *testing.T) {
			if look(filepath.Join(c.dir, "f")) != "content" {
				t.Fatal("it can't be read")
			}
			for _, ch := range changes {
				if err := ch.do(c.dir); !errors.Is(err, syscall.EROFS) {
					t.Errorf("%s: %v, want EROFS", ch.name, err)
				}
			}
			for _, n := range never {
				if n.do(c.dir) == nil {
					t.Errorf("%s: it was done", n.name)
				}
			}
			if err := unix.Access(filepath.Join(c.dir, "f"), unix.W_OK); !errors.Is(err, syscall.EROFS) {
				t.Errorf("writing is said to be %v, want EROFS", err)
			}
			for _, verb := range []string{"put", "mkdir", "touch", "move", "copy", "remove"} {
				if n := c.s.Calls(verb); n != 0 {
					t.Errorf("the owner was asked %d times to %s", n, verb)
				}
			}
			if b, ok := c.s.Read("f"); !ok || string(b) != "content" {
				t.Errorf("the file holds %q, %v", b, ok)
			}
		})
	}
}

// With the full right each of the same works, or is refused with the reason.
func TestFullRightChangesAll(t *testing.T) {
	for _, ch := range changes {
		t.Run(ch.name, func(t *testing.T) {
			s, dir := docs(t, share.Full)
			furnish(s)
			eventually(t, "all is there", func() bool { return look(filepath.Join(dir, "e", "g")) == "more" })
			if err := ch.do(dir); err != nil {
				t.Error(err)
			}
		})
	}
	s, dir := docs(t, share.Full)
	furnish(s)
	eventually(t, "all is there", func() bool { return look(filepath.Join(dir, "e", "g")) == "more" })
	for _, n := range never {
		if err := n.do(dir); !errors.Is(err, n.want) {
			t.Errorf("%s: %v, want %v", n.name, err, n.want)
		}
	}
	for _, c := range []struct {
		name string
		do   func() error
		want error
	}{
		{"a name that is too long", func() error { return os.Mkdir(filepath.Join(dir, string(make256())), 0o755) }, unix.ENAMETOOLONG},
		{"the root", func() error { return os.Chown(filepath.Join(dir, "f"), 4711, -1) }, unix.EPERM},
		{"a folder that is not empty", func() error { return unix.Rmdir(filepath.Join(dir, "e")) }, unix.ENOTEMPTY},
		{"a folder as a file", func() error { return unix.Unlink(filepath.Join(dir, "d")) }, unix.EISDIR},
		{"a file as a folder", func() error { return unix.Rmdir(filepath.Join(dir, "f")) }, unix.ENOTDIR},
		{"a folder that is there", func() error { return unix.Mkdir(filepath.Join(dir, "d"), 0o755) }, unix.EEXIST},
	} {
		if err := c.do(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if names, err := unix.Listxattr(filepath.Join(dir, "f"), nil); names > 0 || err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("%d bytes of attributes, %v", names, err)
	}
}

func make256() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = 'x'
	}
	return b
}

// A share from which the right is taken can't be looked at any more, and one where it becomes less can't be changed.
func TestRightsChange(t *testing.T) {
	s, dir := docs(t, share.Full)
	furnish(s)
	path := filepath.Join(dir, "f")
	eventually(t, "all is there", func() bool { return look(path) == "content" })
	s.SetRight(share.Read)
	eventually(t, "nothing can be written", func() bool {
		return errors.Is(os.WriteFile(filepath.Join(dir, "new"), nil, 0o644), syscall.EROFS)
	})
	if got := look(path); got != "content" {
		t.Errorf("%q can't be read any more", got)
	}
	s.SetRight(share.None)
	eventually(t, "nothing can be read", func() bool {
		_, err := os.ReadFile(path)
		return errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.ENOENT)
	})
	_, err := os.ReadDir(dir)
	if !errors.Is(err, syscall.EACCES) && !errors.Is(err, syscall.ENOENT) {
		t.Errorf("%v, want EACCES", err)
	}
}

// Nothing moves from share to share, and nothing is made where no share is: programs copy then.
func TestBetweenShares(t *testing.T) {
	w := world()
	w.Add("anna").Share("more", share.Full)
	dir := filepath.Join(show(t, vfstest.Running(t, w), mount.Options{}), "anna")
	if err := os.Rename(filepath.Join(dir, "docs", "a.txt"), filepath.Join(dir, "more", "a.txt")); !errors.Is(err, syscall.EXDEV) {
		t.Errorf("%v, want EXDEV", err)
	}
	for _, err := range []error{
		os.Mkdir(filepath.Join(dir, "new"), 0o755), os.WriteFile(filepath.Join(dir, "file"), nil, 0o644),
		os.Remove(filepath.Join(dir, "more")), os.Rename(filepath.Join(dir, "more"), filepath.Join(dir, "other")),
	} {
		if err == nil {
			t.Error("a peer's shares were changed")
		}
	}
}

// TestNeverSo: a size that no disk holds and a time that no file can have are refused as such, and change nothing.
func TestNeverSo(t *testing.T) {
	s, dir := docs(t, share.Full)
	s.Write("f", []byte("hello"))
	f := filepath.Join(dir, "f")
	before, err := os.Stat(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, sec := range []int64{1e11, -1e11} {
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, f, []unix.Timespec{{Sec: sec}, {Sec: sec}}, 0); err != unix.EINVAL {
			t.Errorf("the time %d: %v, want EINVAL", sec, err)
		}
	}
	own := filepath.Join(t.TempDir(), "own")
	if err := os.WriteFile(own, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if unix.Truncate(own, 1<<62) == unix.EFBIG { // else this disk holds anything
		if err := unix.Truncate(f, 1<<62); err != unix.EFBIG {
			t.Errorf("the size 1<<62: %v, want EFBIG", err)
		}
	}
	if after, err := os.Stat(f); err != nil || after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("it is %v, %v, was %v", after, err, before)
	}
	if b, err := os.ReadFile(f); err != nil || string(b) != "hello" {
		t.Errorf("it holds %q, %v", b, err)
	}
}

package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change/disk"
	"github.com/peerd/peerd/share/local/tree"
)

func newChanger(dir string, mount bool) changer {
	if t, ok := tree.New(dir, mount).(tree.Kernel); ok {
		return &kernelDisk{Kernel: t, dirty: map[node]int{}}
	}
	return newRootDisk(dir, mount)
}

// kernelDisk changes what a tree.Kernel reads: folders are opened as that does, and all else is done to single names in open
// folders, which are never followed.
type kernelDisk struct {
	tree.Kernel

	mu    sync.Mutex
	dirty map[node]int // open descriptors of what the next sync makes last
	many  bool         // and too much else to name
}

type node struct{ dev, ino uint64 }

// fewDirty is up to how many files and folders are made to last one by one. Beyond it the file system is told to do so with all that
// it has, which costs the same whether it is much or little of ours, but may be much of others'.
const fewDirty = 8

// touch has the next sync make fd's bytes or names last.
func (d *kernelDisk) touch(fd int) error {
	var st unix.Stat_t // of what is open the number is right on any disk
	err := unix.Fstat(fd, &st)
	for err == unix.EINTR {
		err = unix.Fstat(fd, &st)
	}
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n := node{uint64(st.Dev), st.Ino}
	if _, ok := d.dirty[n]; ok || d.many {
		return nil
	}
	if len(d.dirty) == fewDirty {
		d.many = true
		return nil
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		d.dirty[n] = dup
	}
	return err
}

func (d *kernelDisk) sync() error {
	d.mu.Lock()
	dirty, many := d.dirty, d.many
	d.dirty, d.many = map[node]int{}, false
	d.mu.Unlock()
	defer func() {
		for _, fd := range dirty {
			unix.Close(fd)
		}
	}()
	if many {
		for _, fd := range dirty { // all of them are of one file system
			return unix.Syncfs(fd)
		}
	}
	var all errgroup.Group // what is asked for at once goes to the disk at once, where one after the other waits for it each time
	for _, fd := range dirty {
		all.Go(func() error { return unix.Fsync(fd) })
	}
	return all.Wait()
}

func (d *kernelDisk) present() error {
	fd, err := d.Folder()
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func (d *kernelDisk) folder(p share.Path) (disk.Folder, error) {
	f, err := d.Dir(p)
	if err != nil {
		return nil, err
	}
	return kernelFolder{d, f.(tree.KernelDir)}, nil
}

func (d *kernelDisk) own(make bool, names []string) (disk.Folder, error) {
	fd, err := d.Folder()
	if err != nil {
		return nil, err
	}
	if fd, err = reopen(fd); err != nil {
		return nil, err
	}
	for _, name := range names {
		sub, err := openIn2(fd, name)
		if err == unix.ENOENT && make {
			if err = unix.Mkdirat(fd, name, 0o700); err == nil || err == unix.EEXIST {
				err = d.touch(fd)
			}
			if err == nil {
				sub, err = openIn2(fd, name)
			}
		}
		unix.Close(fd)
		if err != nil {
			return nil, err
		}
		fd = sub
	}
	return kernelFolder{d, tree.NewKernelDir(fd)}, nil
}

// reopen makes a descriptor that can do everything of one that only names a folder, which it closes.
func reopen(path int) (int, error) {
	fd, err := tree.Openat2(path, ".", unix.O_RDONLY|unix.O_DIRECTORY, unix.RESOLVE_BENEATH)
	unix.Close(path)
	return fd, err
}

// openIn2 opens a folder in another.
func openIn2(fd int, name string) (int, error) {
	sub, err := tree.Openat2(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW,
		unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_MAGICLINKS|unix.RESOLVE_NO_XDEV)
	switch err {
	case unix.ELOOP:
		return -1, tree.ErrLink
	case unix.ENOTDIR:
		return -1, tree.ErrNoDir
	case unix.EXDEV:
		return -1, tree.ErrMount
	}
	return sub, err
}

// kernelFolder is an open folder of a kernelDisk.
type kernelFolder struct {
	disk *kernelDisk
	dir  tree.KernelDir
}

func (f kernelFolder) fd() int { return f.dir.FD }

func (f kernelFolder) Close() { f.dir.Close() }

func (f kernelFolder) Path() string { return fmt.Sprintf("/proc/self/fd/%d", f.fd()) }

func (f kernelFolder) Stat(name string) (disk.Status, error) {
	st, err := f.dir.Stat(name)
	return seen(st), changeFailure(err)
}

func (f kernelFolder) Names(ctx context.Context) ([]string, error) {
	if _, err := unix.Seek(f.fd(), 0, io.SeekStart); err != nil {
		return nil, err
	}
	names, err := f.dir.Names(ctx)
	return names, changeFailure(err)
}

func (f kernelFolder) Open(name string) (share.OpenFile, error) {
	file, _, err := f.regular(name)
	if err != nil {
		return nil, changeFailure(err)
	}
	return &File{file: file}, nil
}

// regular opens a regular file for reading, and nothing else.
func (f kernelFolder) regular(name string) (*os.File, tree.Status, error) {
	st, err := f.dir.Stat(name)
	if err == nil {
		err = st.Regular()
	}
	if err != nil {
		return nil, st, err
	}
	fd, err := tree.Openat2(f.fd(), name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_NOFOLLOW, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS)
	if err == unix.ELOOP {
		err = tree.ErrLink
	}
	if err != nil {
		return nil, st, err
	}
	if st, err = tree.StatAt(fd, ""); err == nil {
		err = st.Regular()
	}
	if err != nil {
		unix.Close(fd)
		return nil, st, err
	}
	return os.NewFile(uintptr(fd), name), st, nil
}

func (f kernelFolder) Mkdir(name string) error {
	return f.changed(unix.Mkdirat(f.fd(), name, 0o755))
}

// changed takes note that names in the folder changed.
func (f kernelFolder) changed(err error) error {
	if err == nil {
		err = f.disk.touch(f.fd())
	}
	return changeFailure(err)
}

func (f kernelFolder) create(name string, perm uint32) (*os.File, error) {
	fd, err := unix.Openat(f.fd(), name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, perm)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// finish closes a new file, or removes it if something failed.
func (f kernelFolder) finish(name string, file *os.File, err error) error {
	if err == nil {
		err = f.disk.touch(int(file.Fd()))
	}
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = unix.Unlinkat(f.fd(), name, 0)
	}
	return f.changed(err)
}

func (f kernelFolder) Create(name string, data []byte) error {
	file, err := f.create(name, 0o600)
	if err != nil {
		return changeFailure(err)
	}
	_, err = file.Write(data)
	return f.finish(name, file, err)
}

func (f kernelFolder) Copy(ctx context.Context, name string, to disk.Folder, toName string) (disk.Status, error) {
	src, _, err := f.regular(name)
	if err != nil {
		return disk.Status{}, changeFailure(err)
	}
	defer src.Close()
	st, err := settle(ctx, src)
	if err != nil {
		return disk.Status{}, changeFailure(err)
	}
	t := to.(kernelFolder)
	dst, err := t.create(toName, 0o600)
	if err != nil {
		return disk.Status{}, changeFailure(err)
	}
	if err = copyFile(ctx, dst, src, st); err == nil {
		err = dst.Chmod(st.Mode.Perm())
	}
	if err == nil {
		when := unix.NsecToTimespec(st.ModTime.UnixNano())
		err = unix.UtimesNanoAt(t.fd(), toName, []unix.Timespec{when, when}, unix.AT_SYMLINK_NOFOLLOW)
	}
	return seen(st), t.finish(toName, dst, err)
}

func (f kernelFolder) Settle(name string, perm fs.FileMode) error {
	file, st, err := f.regular(name)
	if err != nil {
		return changeFailure(err)
	}
	defer file.Close()
	if st.Mode.Perm() != perm || st.Mode&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
		err = file.Chmod(perm)
	}
	if err == nil {
		err = f.disk.touch(int(file.Fd()))
	}
	return changeFailure(err)
}

func (f kernelFolder) Touch(name string, set disk.Set) error {
	file, st, err := f.regular(name)
	if errors.Is(err, tree.ErrIsDir) {
		var fd int
		if fd, err = openIn2(f.fd(), name); err == nil {
			file = os.NewFile(uintptr(fd), name)
		}
	}
	if err != nil {
		return changeFailure(err)
	}
	defer file.Close()
	if perm := st.Mode.Perm(); st.Mode.IsRegular() && set.Exec != nil && disk.Executable(perm, *set.Exec) != perm {
		err = file.Chmod(disk.Executable(perm, *set.Exec))
	}
	if err == nil && set.ModTime != nil {
		when := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(set.ModTime.UnixNano())}
		err = unix.UtimesNanoAt(f.fd(), name, when, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err == nil {
		err = f.disk.touch(int(file.Fd()))
	}
	return changeFailure(err)
}

func (f kernelFolder) Rename(name string, to disk.Folder, toName string, how disk.How) error {
	t := to.(kernelFolder)
	var flags uint
	switch how {
	case disk.Fresh:
		flags = unix.RENAME_NOREPLACE
	case disk.Exchange:
		flags = unix.RENAME_EXCHANGE
	}
	err := unix.Renameat2(f.fd(), name, t.fd(), toName, flags)
	if err == unix.EINVAL || err == unix.ENOSYS || err == unix.EOPNOTSUPP {
		if how == disk.Exchange {
			return errors.ErrUnsupported
		}
		if how == disk.Fresh {
			err = f.renameFresh(name, t, toName)
		}
	}
	if err != nil {
		return changeFailure(err)
	}
	if err := f.disk.touch(f.fd()); err != nil {
		return changeFailure(err)
	}
	return t.changed(nil)
}

// renameFresh is for file systems that can't tell while they rename: a program that makes a file of the new name in between loses it.
func (f kernelFolder) renameFresh(name string, to kernelFolder, toName string) error {
	if _, err := to.dir.Stat(toName); err == nil {
		return unix.EEXIST
	}
	return unix.Renameat(f.fd(), name, to.fd(), toName)
}

func (f kernelFolder) Remove(name string) error { return f.changed(unix.Unlinkat(f.fd(), name, 0)) }

func (f kernelFolder) Rmdir(name string) error {
	return f.changed(unix.Unlinkat(f.fd(), name, unix.AT_REMOVEDIR))
}

package tree

import (
	"context"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/peerd/peerd/share"
)

// New uses openat2 unless the kernel (before 5.6) or a sandbox around the process has none.
func New(dir string, mount bool) Tree {
	fd, err := Openat2(unix.AT_FDCWD, "/", unix.O_PATH, 0)
	if err != nil {
		return Root{dir, mount}
	}
	unix.Close(fd)
	return Kernel{dir, mount}
}

// Kernel has the kernel confine it: openat2(2).
type Kernel struct {
	Path  string // the folder, absolute and without links
	Mount bool   // a file system is mounted there, or the share is away
}

// Folder opens the folder itself. Each operation does, see the package comment.
func (t Kernel) Folder() (int, error) {
	if err := shown(t.Path); err != nil {
		return -1, err
	}
	fd, err := Openat2(unix.AT_FDCWD, t.Path, unix.O_PATH|unix.O_DIRECTORY, unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_MAGICLINKS)
	if err != nil {
		return -1, Away(err)
	}
	if err := shown(t.Path); err != nil {
		unix.Close(fd)
		return -1, err
	}
	if !t.Mount {
		return fd, nil
	}
	st, err := StatAt(fd, "")
	if err == nil && !st.Mount {
		err = unix.ENODEV
	}
	if err != nil {
		unix.Close(fd)
		return -1, Away(err)
	}
	return fd, nil
}

// beneath opens what lies at p below the open folder root, and stays inside while it goes there.
func beneath(root int, p share.Path, flags uint64) (int, error) {
	rel := p.String()
	if rel == "" {
		rel = "."
	}
	fd, err := Openat2(root, rel, flags,
		unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_MAGICLINKS|unix.RESOLVE_NO_XDEV)
	switch err {
	case unix.ELOOP:
		return -1, ErrLink
	case unix.EXDEV:
		return -1, ErrMount
	}
	return fd, err
}

// lookBeneath looks at what lies at p without opening it.
func lookBeneath(root int, p share.Path) (Status, error) {
	fd, err := beneath(root, p, unix.O_PATH)
	if err != nil {
		return Status{}, err
	}
	defer unix.Close(fd)
	st, err := StatAt(fd, "")
	st.Mount = false // only the share's own folder can be one here
	return st, err
}

// Stat looks without opening; see [Tree].
func (t Kernel) Stat(p share.Path) (Status, error) {
	root, err := t.Folder()
	if err != nil {
		return Status{}, err
	}
	defer unix.Close(root)
	return lookBeneath(root, p)
}

// Open opens a regular file; see [Tree].
func (t Kernel) Open(p share.Path) (*os.File, error) {
	root, err := t.Folder()
	if err != nil {
		return nil, err
	}
	defer unix.Close(root)
	st, err := lookBeneath(root, p)
	if err == nil {
		err = st.Regular()
	}
	if err != nil {
		return nil, err
	}
	fd, err := beneath(root, p, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	if st, err = StatAt(fd, ""); err == nil { // another file may have taken the name
		err = st.Regular()
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), p.String()), nil
}

// Dir opens a folder; see [Tree].
func (t Kernel) Dir(p share.Path) (Dir, error) {
	root, err := t.Folder()
	if err != nil {
		return nil, err
	}
	defer unix.Close(root)
	fd, err := beneath(root, p, unix.O_RDONLY|unix.O_DIRECTORY)
	if err == nil {
		return NewKernelDir(fd), nil
	}
	if err == unix.ENOTDIR {
		if st, serr := lookBeneath(root, p); serr != nil {
			err = serr
		} else if err = st.Check(); err == nil {
			err = ErrNoDir
		}
	}
	return nil, err
}

// KernelDir is an open folder.
type KernelDir struct {
	FD       int
	numbered bool
}

// NewKernelDir is the folder that fd has open.
func NewKernelDir(fd int) KernelDir { return KernelDir{fd, numbered(fd)} }

// Close gives the folder up.
func (d KernelDir) Close() { unix.Close(d.FD) }

// Names are all that the folder holds; see [Dir].
func (d KernelDir) Names(ctx context.Context) (names []string, err error) {
	buf := make([]byte, 8<<10)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := unix.ReadDirent(d.FD, buf)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.ENOENT: // the folder itself was removed
			return names, nil
		case err != nil:
			return nil, err
		case n == 0:
			return names, nil
		}
		for rest := buf[:n]; len(rest) > 0; {
			var consumed int
			consumed, _, names = unix.ParseDirent(rest, -1, names)
			rest = rest[consumed:]
		}
		if len(names) > MaxNames {
			return nil, ErrCrowded
		}
	}
}

// Stat looks at one of them; see [Dir].
func (d KernelDir) Stat(name string) (Status, error) {
	st, err := statAt(d.FD, name)
	return lasting(d.numbered, st), err
}

// StatAt looks at a name in an open folder, without following it and without mounting what would be mounted on use; or with
// no name at what is open itself.
func StatAt(fd int, name string) (Status, error) {
	st, err := statAt(fd, name)
	if err != nil {
		return st, err
	}
	return lasting(numbered(fd), st), nil
}

// statAt is StatAt, with what does not last.
func statAt(fd int, name string) (Status, error) {
	flags := unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	var x unix.Statx_t
	for {
		err := unix.Statx(fd, name, flags, unix.STATX_BASIC_STATS, &x)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return Status{}, err
		}
		break
	}
	st := Status{
		Mode:       fs.FileMode(x.Mode & 0o777),
		Size:       int64(x.Size),
		ModTime:    time.Unix(x.Mtime.Sec, int64(x.Mtime.Nsec)),
		ChangeTime: time.Unix(x.Ctime.Sec, int64(x.Ctime.Nsec)),
		Device:     unix.Mkdev(x.Dev_major, x.Dev_minor),
		File:       x.Ino,
		Mount:      x.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0,
	}
	switch x.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		st.Mode |= fs.ModeDir
	case unix.S_IFLNK:
		st.Mode |= fs.ModeSymlink
	default:
		st.Mode |= fs.ModeIrregular
	}
	return st, nil
}

// Openat2 opens for reading. The kernel asks for another try when something was moved while it looked (EAGAIN).
func Openat2(dirfd int, path string, flags, resolve uint64) (fd int, err error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: resolve}
	for range 100 {
		fd, err = unix.Openat2(dirfd, path, &how)
		if err != unix.EAGAIN && err != unix.EINTR {
			break
		}
	}
	return fd, err
}

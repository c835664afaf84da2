package local

import (
	"context"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/peerd/peerd/share"
)

// newTree uses openat2 unless the kernel (before 5.6) or a sandbox around the process has none.
func newTree(dir string, mount bool) tree {
	fd, err := openat2(unix.AT_FDCWD, "/", unix.O_PATH, 0)
	if err != nil {
		return rootTree{dir, mount}
	}
	unix.Close(fd)
	return kernelTree{dir, mount}
}

// kernelTree has the kernel confine it: openat2(2).
type kernelTree struct {
	top   string
	mount bool
}

// root opens the folder itself. Each operation does, see the package comment.
func (t kernelTree) root() (int, error) {
	fd, err := openat2(unix.AT_FDCWD, t.top, unix.O_PATH|unix.O_DIRECTORY, unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_MAGICLINKS)
	if err != nil {
		return -1, away(err)
	}
	if !t.mount {
		return fd, nil
	}
	st, err := statAt(fd, "")
	if err == nil && !st.mount {
		err = unix.ENODEV
	}
	if err != nil {
		unix.Close(fd)
		return -1, away(err)
	}
	return fd, nil
}

// beneath opens what lies at p below the open folder root, and stays inside while it goes there.
func beneath(root int, p share.Path, flags uint64) (int, error) {
	rel := p.String()
	if rel == "" {
		rel = "."
	}
	fd, err := openat2(root, rel, flags,
		unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_MAGICLINKS|unix.RESOLVE_NO_XDEV)
	switch err {
	case unix.ELOOP:
		return -1, errLink
	case unix.EXDEV:
		return -1, errMount
	}
	return fd, err
}

// lookBeneath looks at what lies at p without opening it.
func lookBeneath(root int, p share.Path) (status, error) {
	fd, err := beneath(root, p, unix.O_PATH)
	if err != nil {
		return status{}, err
	}
	defer unix.Close(fd)
	st, err := statAt(fd, "")
	st.mount = false // only the share's own folder can be one here
	return st, err
}

func (t kernelTree) stat(p share.Path) (status, error) {
	root, err := t.root()
	if err != nil {
		return status{}, err
	}
	defer unix.Close(root)
	return lookBeneath(root, p)
}

func (t kernelTree) open(p share.Path) (*os.File, error) {
	root, err := t.root()
	if err != nil {
		return nil, err
	}
	defer unix.Close(root)
	st, err := lookBeneath(root, p)
	if err == nil {
		err = st.regular()
	}
	if err != nil {
		return nil, err
	}
	fd, err := beneath(root, p, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	if st, err = statAt(fd, ""); err == nil { // another file may have taken the name
		err = st.regular()
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), p.String()), nil
}

func (t kernelTree) dir(p share.Path) (dir, error) {
	root, err := t.root()
	if err != nil {
		return nil, err
	}
	defer unix.Close(root)
	fd, err := beneath(root, p, unix.O_RDONLY|unix.O_DIRECTORY)
	if err == nil {
		return kernelDir(fd), nil
	}
	if err == unix.ENOTDIR {
		if st, serr := lookBeneath(root, p); serr != nil {
			err = serr
		} else if err = st.check(); err == nil {
			err = errNoDir
		}
	}
	return nil, err
}

// kernelDir is the descriptor of an open folder.
type kernelDir int

func (d kernelDir) close() { unix.Close(int(d)) }

func (d kernelDir) names(ctx context.Context) (names []string, err error) {
	buf := make([]byte, 8<<10)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := unix.ReadDirent(int(d), buf)
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
		if len(names) > maxNames {
			return nil, errCrowded
		}
	}
}

func (d kernelDir) stat(name string) (status, error) { return statAt(int(d), name) }

// statAt looks at a name in an open folder, without following it and without mounting what would be mounted on use; or with
// no name at what is open itself.
func statAt(fd int, name string) (status, error) {
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
			return status{}, err
		}
		break
	}
	st := status{
		mode:  fs.FileMode(x.Mode & 0o777),
		size:  int64(x.Size),
		mtime: time.Unix(x.Mtime.Sec, int64(x.Mtime.Nsec)),
		ctime: time.Unix(x.Ctime.Sec, int64(x.Ctime.Nsec)),
		dev:   unix.Mkdev(x.Dev_major, x.Dev_minor),
		ino:   x.Ino,
		mount: x.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0,
	}
	switch x.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		st.mode |= fs.ModeDir
	case unix.S_IFLNK:
		st.mode |= fs.ModeSymlink
	default:
		st.mode |= fs.ModeIrregular
	}
	return st, nil
}

// openat2 opens for reading. The kernel asks for another try when something was moved while it looked (EAGAIN).
func openat2(dirfd int, path string, flags, resolve uint64) (fd int, err error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: resolve}
	for range 100 {
		fd, err = unix.Openat2(dirfd, path, &how)
		if err != unix.EAGAIN && err != unix.EINTR {
			break
		}
	}
	return fd, err
}

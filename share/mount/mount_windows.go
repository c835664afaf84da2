package mount

import (
	"context"
	"log/slog"
	"syscall"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share/mount/face"
	"github.com/peerd/peerd/share/mount/winfs"
	"github.com/peerd/peerd/share/vfs"
)

// Available says why nothing can be mounted here, as an error with [ErrUnavailable] in it, or nil.
func Available() error {
	if !winfs.Installed() {
		return unavailable("WinFsp is missing", "install it from https://winfsp.dev")
	}
	return nil
}

// Mount is a mounted tree.
type Mount struct {
	dir string
	m   *winfs.Mount
}

// New mounts a tree on dir: a drive, such as P:, or a folder that is not there yet. The context is for the mounting alone: the
// mount stays until [Mount.Unmount].
func New(ctx context.Context, fs *vfs.FS, dir string, o Options) (*Mount, error) {
	if err := Available(); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := find(ctx, fs, o); err != nil {
		return nil, err
	}
	m, err := winfs.New(ctx, fs, dir, winfs.Options{
		Root: o.Root, ReadOnly: o.ReadOnly, Log: o.Log, Errno: func(err error) int { return posix[face.Errno(err)] },
	})
	if err != nil {
		return nil, &peer.Error{Op: "mount", Path: dir, Kind: peer.Other, Err: err,
			Hint: "mount on a drive that is free, such as P:, or on a folder that is not there yet"}
	}
	return &Mount{dir, m}, nil
}

// posix is what WinFsp knows the errors of the table in errno as.
var posix = map[syscall.Errno]int{
	0: 0, syscall.EPERM: 1, syscall.ENOENT: 2, syscall.EINTR: 4, syscall.EIO: 5, syscall.EBADF: 9, syscall.EAGAIN: 11,
	syscall.EACCES: 13, syscall.EEXIST: 17, syscall.EXDEV: 18, syscall.ENOTDIR: 20, syscall.EISDIR: 21, syscall.EINVAL: 22,
	syscall.EFBIG: 27, syscall.ENOSPC: 28, syscall.EROFS: 30, syscall.ENAMETOOLONG: 38, syscall.ENOTEMPTY: 41,
	syscall.EDQUOT: 28, syscall.ESTALE: 5, // which it does not know
}

// Dir is what is mounted on.
func (m *Mount) Dir() string { return m.dir }

// Wait returns when nothing is mounted any more.
func (m *Mount) Wait() { <-m.m.Done() }

// Done is closed when nothing is mounted any more.
func (m *Mount) Done() <-chan struct{} { return m.m.Done() }

// Unmount takes the mount away, whoever uses it.
func (m *Mount) Unmount(ctx context.Context) error {
	if !m.m.Unmount() {
		select {
		case <-m.m.Done():
			return nil
		default:
			return &peer.Error{Op: "unmount", Path: m.dir, Kind: peer.Other, Hint: "close what uses it"}
		}
	}
	select {
	case <-m.m.Done():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// On gives the peerd mount that a path lies in, or "". Here nobody can say.
func On(string) string { return "" }

// Mounts are the folders that peerd mounts are on, as far as the system tells. Here it does not.
func Mounts() []string { return nil }

// Release finds nothing to take away: the system does not tell of peerd mounts.
func Release(string) (bool, error) { return false, nil }

// Clean has nothing to do: WinFsp takes a mount away when its daemon dies.
func Clean() []string { return nil }

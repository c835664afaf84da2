// Package face answers the kernel's requests out of a [vfs.FS], and takes back from it what it holds when that changes.
//
// A handler waits for a peer no longer than the tree does, and gives up when whoever asked is told to stop. The kernel is told of
// changes by goroutines that hold nothing a handler could wait for.
package face

import (
	"context"
	"errors"
	"syscall"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share/vfs"
)

// Causes, and what programs know them as. The first that is in an error counts.
var causes = []struct {
	err   error
	errno syscall.Errno
}{
	{context.Canceled, syscall.EINTR},       // whoever asked was told to stop
	{context.DeadlineExceeded, syscall.EIO}, // nobody answered
	{vfs.ErrReadOnly, syscall.EROFS},
	{vfs.ErrNotEmpty, syscall.ENOTEMPTY},
	{vfs.ErrIsDir, syscall.EISDIR},
	{vfs.ErrNotDir, syscall.ENOTDIR},
	{vfs.ErrExists, syscall.EEXIST},
	{vfs.ErrAlike, syscall.EEXIST},
	{vfs.ErrQuota, syscall.EDQUOT},
	{vfs.ErrFull, syscall.ENOSPC},
	{vfs.ErrTooLong, syscall.ENAMETOOLONG},
	{vfs.ErrName, syscall.EINVAL},
	{syscall.EFBIG, syscall.EFBIG}, // on this computer's disk, where what is written waits
	{vfs.ErrLocal, syscall.EPERM},
	{vfs.ErrCrossShare, syscall.EXDEV},
	{vfs.ErrClosed, syscall.EBADF},
}

// Kinds of errors, and what programs know them as. ENOTCONN is never among them: it looks as if the mount were dead.
var kinds = map[peer.Kind]syscall.Errno{
	peer.Usage:       syscall.EINVAL,
	peer.NotFound:    syscall.ENOENT,
	peer.Denied:      syscall.EACCES,
	peer.Unreachable: syscall.EIO,
	peer.Conflict:    syscall.ESTALE,
	peer.NotRunning:  syscall.EIO,
	peer.Integrity:   syscall.EIO,
	peer.Busy:        syscall.EAGAIN,
	peer.Full:        syscall.ENOSPC,
}

// Errno is the one table from errors to what programs know; 0 for nil, EIO for what nobody foresaw.
func Errno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	for _, c := range causes {
		if errors.Is(err, c.err) {
			return c.errno
		}
	}
	if e, ok := kinds[peer.KindOf(err)]; ok {
		return e
	}
	return syscall.EIO
}

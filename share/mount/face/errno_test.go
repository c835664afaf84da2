package face

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share/vfs"
)

func TestErrno(t *testing.T) {
	of := func(kind peer.Kind, err error) error { return &peer.Error{Op: "test", Kind: kind, Err: err} }
	for _, c := range []struct {
		err  error
		want syscall.Errno
	}{
		{nil, 0},
		{errors.New("what nobody foresaw"), syscall.EIO},
		{of(peer.NotFound, nil), syscall.ENOENT},
		{of(peer.Denied, nil), syscall.EACCES},
		{of(peer.Denied, vfs.ErrReadOnly), syscall.EROFS},
		{of(peer.Denied, vfs.ErrLocal), syscall.EPERM},
		{of(peer.Unreachable, nil), syscall.EIO},
		{of(peer.Unreachable, context.DeadlineExceeded), syscall.EIO},
		{of(peer.Unreachable, syscall.ENOTCONN), syscall.EIO}, // it would look as if the mount were dead
		{of(peer.Other, context.Canceled), syscall.EINTR},
		{of(peer.Conflict, nil), syscall.ESTALE},
		{of(peer.Conflict, vfs.ErrExists), syscall.EEXIST},
		{of(peer.Conflict, vfs.ErrAlike), syscall.EEXIST},
		{of(peer.Conflict, vfs.ErrNotEmpty), syscall.ENOTEMPTY},
		{of(peer.Usage, vfs.ErrIsDir), syscall.EISDIR},
		{of(peer.Usage, vfs.ErrNotDir), syscall.ENOTDIR},
		{of(peer.Usage, vfs.ErrTooLong), syscall.ENAMETOOLONG},
		{of(peer.Usage, vfs.ErrName), syscall.EINVAL},
		{of(peer.Other, &os.PathError{Op: "truncate", Err: syscall.EFBIG}), syscall.EFBIG},
		{of(peer.Usage, vfs.ErrCrossShare), syscall.EXDEV},
		{of(peer.Usage, vfs.ErrClosed), syscall.EBADF},
		{of(peer.Full, nil), syscall.ENOSPC},
		{of(peer.Full, vfs.ErrFull), syscall.ENOSPC},
		{of(peer.Full, vfs.ErrQuota), syscall.EDQUOT},
		{of(peer.Integrity, nil), syscall.EIO},
		{of(peer.Busy, nil), syscall.EAGAIN},
		{fmt.Errorf("around: %w", of(peer.Denied, vfs.ErrReadOnly)), syscall.EROFS},
	} {
		if got := Errno(c.err); got != c.want {
			t.Errorf("%v is %v, want %v", c.err, got, c.want)
		}
	}
	for kind := peer.Kind(0); kind < 20; kind++ {
		if e := Errno(of(kind, nil)); e == 0 || e == syscall.ENOTCONN {
			t.Errorf("%v is %v", kind, e)
		}
	}
}

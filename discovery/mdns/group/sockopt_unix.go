//go:build unix && !linux

package group

import "golang.org/x/sys/unix"

// share lets other programs use the port too; the BSDs want both options for that.
func share(fd uintptr, _ bool) error {
	if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	return unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
}

package group

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Watch calls changed when it has begun to listen, since what changed before went unheard, and then whenever the kernel
// says that an interface or address came, went or changed, until ctx ends. It costs nothing while nothing happens.
func Watch(ctx context.Context, changed func()) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "netlink")
	defer f.Close()
	groups := &unix.SockaddrNetlink{Family: unix.AF_NETLINK,
		Groups: unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR}
	if err := unix.Bind(fd, groups); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { f.Close() })()
	buf := make([]byte, 8192)
	changed()
	for ctx.Err() == nil {
		// What it says does not matter, nor that it may say too much at once (ENOBUFS): the interfaces are listed anew.
		if _, err := f.Read(buf); err != nil && !errors.Is(err, unix.ENOBUFS) {
			return err
		}
		changed()
	}
	return nil
}

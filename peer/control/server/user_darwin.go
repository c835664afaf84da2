package server

import (
	"os"

	"golang.org/x/sys/unix"
)

func allowedUser(fd uintptr) bool {
	cred, err := unix.GetsockoptXucred(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	return err == nil && (int(cred.Uid) == os.Geteuid() || cred.Uid == 0)
}

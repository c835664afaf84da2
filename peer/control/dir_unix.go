//go:build unix

package control

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

func checkOwner(info fs.FileInfo, client bool, bad func(error) error) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch uid := os.Geteuid(); {
	case !ok:
		return bad(fmt.Errorf("its owner is unknown"))
	case int(stat.Uid) != uid && !(client && uid == 0):
		return bad(fmt.Errorf("it belongs to user %d, and this is user %d", stat.Uid, uid))
	case info.Mode().Perm()&0o077 != 0:
		return bad(fmt.Errorf("others may enter it (mode %04o); its mode has to be 0700", info.Mode().Perm()))
	}
	return nil
}

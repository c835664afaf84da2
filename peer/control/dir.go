package control

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/peerd/peerd/peer"
)

// MaxSocketPath is how long the path of a Unix socket may be in bytes on every system (sun_path has 104 on macOS and 108
// on Linux, with a zero at the end).
const MaxSocketPath = 100

// CheckSocketDir says why the folder of a socket must not be trusted: it has to be a folder, no link, that belongs to this
// user and that nobody else may enter. Passwords go through the socket, so a client checks as the server does; root may
// talk to the daemon of another user.
func CheckSocketDir(dir string, client bool) error {
	bad := func(err error) error {
		return &peer.Error{Op: "check the control socket's folder", Path: dir, Kind: peer.Other, Err: err}
	}
	info, err := os.Lstat(dir)
	switch {
	case err != nil:
		return &peer.Error{Op: "check the control socket's folder", Path: dir, Kind: peer.KindOf(err), Err: err}
	case !info.IsDir():
		return bad(fmt.Errorf("it is no folder but %s", info.Mode().Type()))
	}
	return checkOwner(info, client, bad)
}

// MakeSocketDir makes the folder of a socket, if it is missing, and checks it.
func MakeSocketDir(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return fmt.Errorf("make the control socket's folder: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
		return fmt.Errorf("make the control socket's folder: %w", err)
	}
	return CheckSocketDir(dir, false)
}

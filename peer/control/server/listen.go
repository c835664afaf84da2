package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

// Listen makes the control socket. Its folder is made with mode 0700 and checked, the socket gets mode 0600, and every
// connection is asked for its user: only this one and root get through (on Windows the folder's access list alone does
// that). What a crashed daemon left behind is replaced; a living one makes it a Conflict.
func Listen(path string) (net.Listener, error) {
	if len(path) > control.MaxSocketPath {
		return nil, &peer.Error{Op: "listen", Path: path, Kind: peer.Usage, Err: fmt.Errorf("a socket's path is at most %d bytes long", control.MaxSocketPath)}
	}
	if err := control.MakeSocketDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	// The lock decides who may replace the socket: of two daemons that start at once, each could take the other's for stale.
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, err
	}
	l, err := listen(path)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &listener{UnixListener: l, lock: lock}, nil
}

func listen(path string) (*net.UnixListener, error) {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type()&(os.ModeSocket|os.ModeIrregular) == 0 { // irregular: how Windows shows a socket
			return nil, &peer.Error{Op: "listen", Path: path, Kind: peer.Conflict, Err: errors.New("something else than a socket has this name")}
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	// The folder kept everybody out until here.
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := tryLock(f); err != nil {
		f.Close()
		if errors.Is(err, errLocked) {
			return nil, &peer.Error{Path: path[:len(path)-len(".lock")], Kind: peer.Conflict,
				Err: errors.New("a peerd already runs with this home"), Hint: `stop it, or give this one another --home`}
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

var errLocked = errors.New("locked by another process")

// listener closes connections of other users before anything is read from them.
type listener struct {
	*net.UnixListener
	lock *os.File
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if allowed(c) {
			return c, nil
		}
		c.Close()
	}
}

func (l *listener) Close() error { return errors.Join(l.UnixListener.Close(), l.lock.Close()) }

func allowed(c *net.UnixConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	ok := false
	err = raw.Control(func(fd uintptr) { ok = allowedUser(fd) })
	return err == nil && ok
}

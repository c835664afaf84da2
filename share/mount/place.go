//go:build linux || darwin

package mount

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/peerd/peerd/peer"
)

// source is what the system shows where a disk would have its device.
const source = "peerd"

// aliveWithin is how long a mount may take to say that it lives.
const aliveWithin = 5 * time.Second

// mounted is a mount, if it is ours perhaps of a daemon that is dead.
type mounted struct {
	dir  string
	dev  string // what tells it from all others
	ours bool
	uid  string // of whom one of ours is; "" if nobody says
}

// On gives the peerd mount that a path lies in, or "".
func On(path string) string {
	on := ""
	for _, m := range ours() {
		if within(path, m.dir) && len(m.dir) > len(on) {
			on = m.dir
		}
	}
	return on
}

// Mounts are the folders of this computer that peerd mounts are on, whoever mounted them.
func Mounts() (dirs []string) {
	for _, m := range ours() {
		dirs = append(dirs, m.dir)
	}
	return dirs
}

// Clean takes away what daemons of this user left mounted when they died, all over this computer, and gives the folders.
func Clean() (dirs []string) {
	for _, m := range ours() {
		if mine(m) && life(m.dir) == dead && detach(m.dir, true) == nil {
			dirs = append(dirs, m.dir)
		}
	}
	return dirs
}

// prepare gives the folder to mount on, absolute and without links, and whether it was made for that; or says why there can't be a
// mount. Nothing is made where there can't.
func prepare(dir string, o Options) (at string, made bool, err error) {
	const above = "a folder that is missing is made, but not the ones above it"
	usage := func(err error, hint string) (string, bool, error) {
		return "", false, &peer.Error{Op: "mount on", Path: dir, Kind: peer.Usage, Err: err, Hint: hint}
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return usage(err, "")
	}
	noFolder := errors.New("what it would lie in is no folder")
	parent, err := filepath.EvalSymlinks(filepath.Dir(dir))
	switch {
	case errors.Is(err, syscall.ENOTDIR):
		return usage(noFolder, above)
	case err != nil:
		return usage(err, above)
	}
	dir = filepath.Join(parent, filepath.Base(dir))
	if err := takeAway(dir); err != nil {
		return "", false, err
	}
	real, err := filepath.EvalSymlinks(dir)
	missing := errors.Is(err, fs.ErrNotExist)
	switch _, e := os.Lstat(dir); {
	case missing && e == nil:
		return usage(errors.New("it is a link to what is not there"), "make the folder that it leads to, or mount elsewhere")
	case errors.Is(err, syscall.ENOTDIR):
		return usage(noFolder, above)
	case err != nil && !missing:
		return usage(err, "mount elsewhere")
	case !missing:
		dir = real
	}
	if on := On(dir); on != "" {
		return usage(errors.New("it lies in the peerd mount "+peer.Quote(on)), "mount outside of it")
	}
	if err := Apart(dir, o.Shared); err != nil {
		return "", false, err
	}
	if missing {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return usage(err, "mount on a folder of your own")
		}
		return dir, true, nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return usage(err, "mount on a folder of your own")
	}
	defer d.Close()
	switch names, err := d.Readdirnames(1); {
	case len(names) > 0:
		return usage(errors.New("the folder is not empty"), "what is in it would be hidden; mount on an empty one")
	case errors.Is(err, syscall.ENOTDIR):
		return usage(errors.New("it is no folder"), "mount on an empty folder, or on a name that is not there yet")
	case err != nil && !errors.Is(err, io.EOF):
		return usage(err, "")
	}
	if err := unix.Access(dir, unix.W_OK); err != nil {
		return usage(err, "mount on a folder of your own")
	}
	return dir, false, nil
}

// takeAway unmounts what a dead daemon left mounted on a folder.
func takeAway(dir string) error {
	for _, m := range ours() {
		if m.dir != dir {
			continue
		}
		how := life(dir)
		if how == alive {
			return &peer.Error{Op: "mount on", Path: dir, Kind: peer.Conflict, Err: errors.New("a peerd mount is there already"),
				Hint: `run "peerd umount ` + dir + `" first`}
		}
		if err := cut(m, how); err != nil {
			return &peer.Error{Op: "mount on", Path: dir, Kind: peer.Other, Err: err, Hint: "a dead mount is there, which must be taken away first"}
		}
	}
	return nil
}

// cut unmounts what may be in use. One that does not answer is cut off first: its threads may be caught in the system, which then
// waits for it for ever.
func cut(m mounted, how state) error {
	if how == silent {
		abort(m.dev)
	}
	return detach(m.dir, true)
}

// Release takes a peerd mount of this user away that no [Mount] of this daemon is for, and reports whether there was one on dir.
func Release(dir string) (bool, error) {
	if real, err := filepath.EvalSymlinks(dir); err == nil { // else it is dead, and its own name has to do
		dir = real
	}
	fail := func(kind peer.Kind, err error, hint string) (bool, error) {
		return true, &peer.Error{Op: "umount", Path: dir, Kind: kind, Err: err, Hint: hint}
	}
	for _, m := range ours() {
		if m.dir != dir {
			continue
		}
		if !mine(m) {
			return fail(peer.Denied, errors.New("it is another user's"), "")
		}
		if on, ok := top(dir); ok && on.dev != m.dev {
			return true, covered(dir)
		}
		if err := cut(m, life(dir)); err != nil {
			return fail(peer.Other, err, "")
		}
		return true, nil
	}
	return false, nil
}

// covered is the error of what can't be unmounted, since the system would take away something else.
func covered(dir string) error {
	return &peer.Error{Op: "umount", Path: dir, Kind: peer.Conflict, Err: errors.New("something else is mounted over it"),
		Hint: `take that away first, as by "umount ` + dir + `"`}
}

// state is how a mount is.
type state int

const (
	alive  state = iota
	dead         // its daemon is gone
	silent       // its daemon does not answer
)

// life asks for the room on a mount: that alone is asked of the daemon each time, whatever the kernel holds.
func life(dir string) state {
	answer := make(chan state, 1)
	go func() {
		var s unix.Statfs_t
		if err := unix.Statfs(dir, &s); errors.Is(err, syscall.ENOTCONN) {
			answer <- dead
			return
		}
		answer <- alive
	}()
	select {
	case s := <-answer:
		return s
	case <-time.After(aliveWithin):
		return silent
	}
}

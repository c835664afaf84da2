//go:build linux || darwin

package mount

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share/mounted"
)

// aliveWithin is how long a mount may take to say that it lives.
const aliveWithin = 5 * time.Second

// On gives the peerd mount that a path lies in, or "".
func On(path string) string { return mounted.On(path) }

// Mounts are the folders of this computer that peerd mounts are on, whoever mounted them.
func Mounts() (dirs []string) {
	for _, m := range mounted.Ours() {
		dirs = append(dirs, m.Dir)
	}
	return dirs
}

// Clean takes away what daemons of this user left mounted when they died, all over this computer, and gives the folders. One that
// does not answer keeps the others from nothing.
func Clean() (dirs []string) {
	var mu sync.Mutex
	var all sync.WaitGroup
	asked := make(map[string]bool)
	for _, m := range mounted.Ours() {
		if asked[m.Dir] {
			continue
		}
		asked[m.Dir] = true
		all.Go(func() {
			for on, ok := mounted.Top(m.Dir); ok && on.Ours && mine(on) && life(m.Dir) == dead && cut(on, dead) == nil; on, ok = mounted.Top(m.Dir) {
				mu.Lock()
				dirs = append(dirs, m.Dir)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	slices.Sort(dirs)
	return slices.Compact(dirs)
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
	at = mounted.Resolve(dir) // in what is mounted nobody looks before it is known to answer
	if err := takeAway(at); err != nil {
		return "", false, err
	}
	if on := mounted.On(at); on != "" {
		return usage(errors.New("it lies in the peerd mount "+peer.Quote(on)), "mount outside of it")
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

// takeAway unmounts what a dead daemon left mounted on a folder. What is mounted over that is not ours to take.
func takeAway(dir string) error {
	for {
		on, ok := mounted.Top(dir)
		if !ok || !on.Ours {
			return nil
		}
		fail := func(kind peer.Kind, err error, hint string) error {
			return &peer.Error{Op: "mount on", Path: dir, Kind: kind, Err: err, Hint: hint}
		}
		if !mine(on) {
			return fail(peer.Usage, errors.New("another user's peerd mount is there"), "mount elsewhere")
		}
		how := life(dir)
		if how == alive {
			return fail(peer.Usage, errors.New("something is mounted there already"), `run "peerd umount `+dir+`" first`)
		}
		if err := cut(on, how); err != nil {
			return fail(peer.Other, err, "a dead mount is there, which must be taken away first")
		}
	}
}

// cut unmounts what may be in use. One that does not answer is cut off first: its threads may be caught in the system, which then
// waits for it for ever.
func cut(m mounted.Mount, how state) error {
	if on, ok := mounted.Top(m.Dir); !ok || on.Dev != m.Dev {
		return covered(m.Dir)
	}
	if how == silent {
		abort(m.Dev)
	}
	return detach(m.Dir, true)
}

// Release takes a peerd mount of this user away that no [Mount] of this daemon is for, and reports whether there was one on dir. Of
// several it is the one on top.
func Release(dir string) (bool, error) {
	dir = mounted.Resolve(dir)
	fail := func(kind peer.Kind, err error, hint string) (bool, error) {
		return true, &peer.Error{Op: "umount", Path: dir, Kind: kind, Err: err, Hint: hint}
	}
	if !slices.Contains(Mounts(), dir) {
		return false, nil
	}
	on, ok := mounted.Top(dir)
	switch {
	case !ok || !on.Ours:
		return true, covered(dir)
	case !mine(on):
		return fail(peer.Denied, errors.New("it is another user's"), "")
	}
	how := life(dir)
	for end := time.Now().Add(busyFor); how == alive && time.Now().Before(end); time.Sleep(busyEvery) {
		if now, ok := mounted.Top(dir); !ok {
			return true, nil
		} else if now.Dev != on.Dev {
			return true, covered(dir)
		}
		if detach(dir, false) == nil {
			return true, nil
		}
	}
	if err := cut(on, how); err != nil {
		if e, ok := errors.AsType[*peer.Error](err); ok {
			return true, e
		}
		return fail(peer.Other, err, "")
	}
	return true, nil
}

// covered is the error of what can't be unmounted, since the system would take away something else.
func covered(dir string) error {
	return &peer.Error{Op: "umount", Path: dir, Kind: peer.Other, Err: errors.New("something else is mounted over it"),
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

// Package notify asks the operating system to tell when something happens in a folder (inotify and its like, by fsnotify). What it
// tells is a hint: it may be late or wrong, and some are lost.
package notify

import (
	"errors"
	"runtime"
	"syscall"

	"github.com/fsnotify/fsnotify"
)

// Notice is one hint.
type Notice struct {
	Name     string // what it is about, below the folder as that was named
	Gone     bool   // it was removed or renamed
	Write    bool   // no more than its bytes or attributes changed
	Overflow bool   // others were lost
}

// FilesCost says that the system's watches keep every file of a folder open, so that the folder is listed first (kqueue).
const FilesCost = runtime.GOOS != "linux" && runtime.GOOS != "windows" && runtime.GOOS != "illumos" && runtime.GOOS != "solaris"

// ManyFiles is how many files a folder may have that is watched where files cost.
const ManyFiles = 32

// Usual is how many folders are watched unless told otherwise. On Linux each takes about a kilobyte of the kernel; with
// kqueue each takes as many descriptors as the folder has files; on Windows a folder that is watched keeps its owner from renaming
// those above it.
func Usual() int {
	switch {
	case runtime.GOOS == "windows":
		return 1
	case FilesCost:
		return 128
	}
	return 65536
}

// Limit is that there can be no more watches.
type Limit struct {
	Text string
	Hint string // what to do, or ""
}

// Error says which limit.
func (e *Limit) Error() string { return e.Text }

// LimitOf makes out whether an error means that the system's watches are used up.
func LimitOf(err error) (*Limit, bool) {
	switch {
	case err == nil:
		return nil, false
	case errors.Is(err, syscall.ENOSPC):
		return &Limit{"fs.inotify.max_user_watches is used up",
			"raise it, for example with sysctl fs.inotify.max_user_watches=524288"}, true
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOMEM):
		return &Limit{"the system has no more watches (" + err.Error() + ")", ""}, true
	}
	return nil, false
}

// System is what the operating system tells. Add, Remove and Close are for one goroutine at a time.
type System struct {
	w   *fsnotify.Watcher
	out chan Notice
}

// New fails with a [*Limit] where the system has no more of its kind.
func New() (*System, error) {
	w, err := fsnotify.NewBufferedWatcher(256)
	if err != nil {
		if errors.Is(err, syscall.EMFILE) && runtime.GOOS == "linux" {
			return nil, &Limit{"fs.inotify.max_user_instances or the limit of open files is used up",
				"raise it, for example with sysctl fs.inotify.max_user_instances=1024"}
		}
		return nil, err
	}
	s := &System{w, make(chan Notice, 256)}
	go s.forward()
	return s, nil
}

func (s *System) forward() {
	defer close(s.out)
	events, errs := s.w.Events, s.w.Errors
	for events != nil || errs != nil {
		select {
		case ev, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			s.out <- Notice{
				Name: ev.Name, Gone: ev.Op&(fsnotify.Remove|fsnotify.Rename) != 0,
				Write: ev.Op&^(fsnotify.Write|fsnotify.Chmod) == 0,
			}
		case _, ok := <-errs:
			if !ok {
				errs = nil
				continue
			}
			s.out <- Notice{Overflow: true} // whatever it was, something may have been lost
		}
	}
}

// Add watches one folder, not what is below. To add one again does no harm. A watch follows its folder when that is renamed, but
// goes on telling of it by the old name; and while it does, no other is made for the folder.
func (s *System) Add(dir string) error { return s.w.Add(dir) }

// Remove does nothing if there is no such watch. When two folders exchange their names faster than fsnotify (1.10.1) hears of it, Add
// leaves it with a name whose watch it dropped, and it panics when that is removed: then there is no such watch.
func (s *System) Remove(dir string) {
	defer func() { _ = recover() }()
	_ = s.w.Remove(dir)
}

// Notices must be read until it is closed, which it is by Close.
func (s *System) Notices() <-chan Notice { return s.out }

// Close ends all watches.
func (s *System) Close() { s.w.Close() }

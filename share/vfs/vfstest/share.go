package vfstest

import (
	"bytes"
	"encoding/binary"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs"
	"github.com/peerd/peerd/share/watch"
	"github.com/peerd/peerd/transfer"
)

// Share is a share in memory. What its methods do is done by its owner, behind the tree's back.
type Share struct {
	peer   *Peer
	label  string
	id     share.ID
	hidden bool
	feed   *watch.Feed

	mu      sync.Mutex
	granted share.Right
	grown   share.Right   // what the owner would grant
	revoked chan struct{} // closed when the right changes; nil while nobody waits
	files   map[string]*file
	last    uint64 // version that was given last
	calls   map[string]int
	refuse  func(verb, path string) error
	answers func(verb, path string)
	forget  bool // old versions can't be read on
	unwatch bool
	space   vfs.Space
	locks   map[string]int
	ahead   map[string][]byte // what came of files before they were put
	sending int               // such files just now
}

// file is a file or folder of a share.
type file struct {
	dir     bool
	data    []byte // never changed in place
	modTime time.Time
	exec    bool
	version uint64
}

func version(n uint64) (v transfer.Version) {
	binary.BigEndian.PutUint64(v[8:], n)
	v[0] = 'm'
	return v
}

func (s *Share) right() share.Right {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.granted
}

// SetRight changes what the tree's peer may do. With less than before, what runs ends as peer.Denied.
func (s *Share) SetRight(r share.Right) {
	s.mu.Lock()
	s.granted = r
	if s.revoked != nil {
		close(s.revoked)
		s.revoked = nil
	}
	s.mu.Unlock()
	s.peer.world.tell()
}

// Grow lets the tree's peer do more than before, which it learns when it asks.
func (s *Share) Grow(r share.Right) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grown = r
}

// Hide makes the share one that is not listed, or is.
func (s *Share) Hide(yes bool) {
	s.peer.mu.Lock()
	s.hidden = yes
	s.peer.mu.Unlock()
	s.peer.world.tell()
}

// Refuse asks f for an error before each call is answered; nil refuses nothing. Verbs are those of [Share.Calls].
func (s *Share) Refuse(f func(verb, path string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = f
}

// Answers has f run when the owner has done what a call asked for, and has not said so yet: a "move", "touch", "list" or "stat". nil has nothing run.
func (s *Share) Answers(f func(verb, path string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers = f
}

func (s *Share) answer(verb string, p share.Path) {
	s.mu.Lock()
	f := s.answers
	s.mu.Unlock()
	if f != nil {
		f(verb, p.String())
	}
}

// Forgetful makes readers of a version that is no more fail as peer.Conflict.
func (s *Share) Forgetful() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget = true
}

// Unwatched makes watches fail, and ends those that run.
func (s *Share) Unwatched(yes bool) {
	s.mu.Lock()
	s.unwatch = yes
	s.mu.Unlock()
	s.feed.Break()
}

// Miss makes all watches miss something.
func (s *Share) Miss() { s.feed.Break() }

// SetSpace sets what the share says of its room. A put that is larger than what is free is refused as peer.Full.
func (s *Share) SetSpace(sp vfs.Space) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.space = sp
}

// Calls is how often the tree called: of "stat", "list", "watch", "space", "open", "read", "put" (calls), "item" (files that
// were put), "mkdir", "touch", "move", "copy", "remove", "lock", "ahead"; of "" all.
func (s *Share) Calls(verb string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if verb != "" {
		return s.calls[verb]
	}
	all := 0
	for _, n := range s.calls {
		all += n
	}
	return all
}

// Ahead is what came of a file before it was put.
func (s *Share) Ahead(p string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ahead[p])
}

// Sending is how many files are sent before they are put.
func (s *Share) Sending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sending
}

// Locked reports whether the tree shows a lock of a file.
func (s *Share) Locked(p string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.locks[p] > 0
}

// Write makes or changes a file, and the folders above it.
func (s *Share) Write(p string, data []byte) {
	s.WriteAt(p, data, time.Now())
}

// WriteAt is [Share.Write] with a modification time.
func (s *Share) WriteAt(p string, data []byte, modTime time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parentsLocked(p)
	f := &file{data: bytes.Clone(data), modTime: modTime}
	if old := s.files[p]; old != nil {
		f.exec = old.exec
	}
	s.setLocked(p, f, "")
}

// Mkdir makes a folder and those above it.
func (s *Share) Mkdir(p string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parentsLocked(p + "/x")
}

// Remove removes a file or a folder with all in it.
func (s *Share) Remove(p string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removeLocked(p, "", func(string) {})
}

// Rename moves a file or folder over what is there.
func (s *Share) Rename(from, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parentsLocked(to)
	s.moveLocked(from, to, "")
}

// Read gives a file's bytes.
func (s *Share) Read(p string) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[p]
	if f == nil || f.dir {
		return nil, false
	}
	return f.data, true
}

// Exec and time of a file.
func (s *Share) Stat(p string) (modTime time.Time, exec, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[p]
	if f == nil {
		return time.Time{}, false, false
	}
	return f.modTime, f.exec, true
}

// Paths are all files and folders, sorted, folders with a slash behind.
func (s *Share) Paths() (paths []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range slices.Sorted(maps.Keys(s.files)) {
		switch {
		case p == "":
		case s.files[p].dir:
			paths = append(paths, p+"/")
		default:
			paths = append(paths, p)
		}
	}
	return paths
}

func parent(p string) string {
	if d := path.Dir(p); d != "." {
		return d
	}
	return ""
}

func (s *Share) parentsLocked(p string) {
	d := parent(p)
	if s.files[d] == nil {
		s.parentsLocked(d)
		s.setLocked(d, &file{dir: true, modTime: time.Now()}, "")
	}
}

func (s *Share) entryLocked(p string) share.Entry {
	f := s.files[p]
	e := share.Entry{Kind: share.File, Size: int64(len(f.data)), ModTime: f.modTime, Exec: f.exec, Version: version(f.version)}
	if f.dir {
		e.Kind, e.Size = share.Dir, 0
	}
	e.Path = must(p)
	return e
}

func must(p string) share.Path {
	if p == "" {
		return share.Path{}
	}
	// Foreign names that no peer could hold never come here: the tree has its paths from share.ParsePath.
	sp, err := share.ParsePath(strings.Split(p, "/"))
	if err != nil {
		panic(err)
	}
	return sp
}

// setLocked puts a file in its place and tells of it.
func (s *Share) setLocked(p string, f *file, by peer.ID) share.Entry {
	kind := watch.Created
	if s.files[p] != nil {
		kind = watch.Changed
	}
	s.last++
	f.version = s.last
	s.files[p] = f
	e := s.entryLocked(p)
	s.feed.Publish(watch.Event{Kind: kind, Entry: e, By: by, Time: time.Now()})
	return e
}

func (s *Share) belowLocked(p string) (below []string) {
	for q := range s.files {
		if strings.HasPrefix(q, p+"/") {
			below = append(below, q)
		}
	}
	slices.Sort(below)
	return below
}

func (s *Share) removeLocked(p string, by peer.ID, told func(string)) {
	if s.files[p] == nil {
		return
	}
	var below []string
	if s.files[p].dir {
		below = s.belowLocked(p)
		slices.Reverse(below)
	}
	for _, q := range append(below, p) {
		e := s.entryLocked(q)
		delete(s.files, q)
		s.feed.Publish(watch.Event{Kind: watch.Removed, Entry: e, By: by, Time: time.Now()})
		told(q)
	}
}

func (s *Share) moveLocked(from, to string, by peer.ID) share.Entry {
	f := s.files[from]
	var below []string
	if f.dir {
		below = s.belowLocked(from)
	}
	for _, q := range below {
		s.files[to+strings.TrimPrefix(q, from)] = s.files[q]
		delete(s.files, q)
	}
	delete(s.files, from)
	if !f.dir {
		s.last++
		f = &file{data: f.data, modTime: f.modTime, exec: f.exec, version: s.last}
	}
	s.files[to] = f
	e := s.entryLocked(to)
	s.feed.Publish(watch.Event{Kind: watch.Moved, Entry: e, From: must(from), By: by, Time: time.Now()})
	return e
}

// childrenLocked are the entries of a folder by name.
func (s *Share) childrenLocked(dir string) (es []share.Entry) {
	for q := range s.files {
		if q != "" && parent(q) == dir {
			if _, err := share.ParsePath(strings.Split(q, "/")); err == nil { // others are left out
				es = append(es, s.entryLocked(q))
			}
		}
	}
	slices.SortFunc(es, func(a, b share.Entry) int { return strings.Compare(a.Name(), b.Name()) })
	return es
}

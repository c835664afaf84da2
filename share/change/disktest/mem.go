// Package disktest holds what every [disk.Disk] must do, as tests, and a disk in memory that loses what was not made to last.
// Only tests import it.
package disktest

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change/disk"
)

// ErrCrashed is what a disk answers whose computer has no power.
var ErrCrashed = errors.New("no power")

// Mem is a disk in memory. It can lose power, which loses what was done since the last sync: each change of names was done or
// not, but none that builds on one that was not; bytes that nothing made last are anything.
type Mem struct {
	mu       sync.Mutex
	now      tree // as programs see it
	safe     tree // as it was after the last sync
	log      []op // since then
	settled  map[uint64]bool
	next     uint64
	swaps    bool
	left     int // operations until the power goes; negative: never
	dead     bool
	syncs    int
	free     int64
	total    int64
	interfer func(n int)
	ops      int
}

type tree map[uint64]*inode

// inode is a file or folder. Inode 1 is the share.
type inode struct {
	dir   bool
	names map[string]uint64
	data  string
	lasts bool // the bytes do
	perm  fs.FileMode
	mtime time.Time
	ctime int64
}

func (t tree) clone() tree {
	out := tree{}
	for id, n := range t {
		c := *n
		c.names = maps.Clone(n.names)
		out[id] = &c
	}
	return out
}

// op is one change of names.
type op struct {
	kind     string // make, move, swap, drop, mode, touch
	dir, to  uint64
	name, as string
	id, with uint64 // what had the names
	node     inode
}

// apply makes a change, if all is as it was when it was made first.
func (t tree) apply(o op, tick int64) bool {
	d := t[o.dir]
	if d == nil {
		return false
	}
	switch o.kind {
	case "make":
		if d.names[o.name] != 0 {
			return false
		}
		n := o.node
		n.names = map[string]uint64{}
		n.ctime = tick
		t[o.id] = &n
		d.names[o.name] = o.id
	case "move":
		to := t[o.to]
		if d.names[o.name] != o.id || to == nil || to.names[o.as] != o.with {
			return false
		}
		delete(d.names, o.name)
		to.names[o.as] = o.id
		t[o.id].ctime, to.ctime = tick, tick
	case "swap":
		to := t[o.to]
		if to == nil || d.names[o.name] != o.id || to.names[o.as] != o.with {
			return false
		}
		d.names[o.name], to.names[o.as] = o.with, o.id
		t[o.id].ctime, t[o.with].ctime, to.ctime = tick, tick, tick
	case "drop":
		if d.names[o.name] != o.id || t[o.id].dir && len(t[o.id].names) > 0 {
			return false
		}
		delete(d.names, o.name)
		delete(t, o.id)
	case "mode":
		if t[o.id] == nil {
			return false
		}
		t[o.id].perm = o.node.perm
	case "touch":
		n := t[o.id]
		if n == nil {
			return false
		}
		n.perm, n.mtime, n.ctime = o.node.perm, o.node.mtime, tick
		return true
	}
	d.ctime = tick
	return true
}

// NewMem makes an empty disk of 1 TB; swaps says whether names can be exchanged in one step.
func NewMem(swaps bool) *Mem {
	m := &Mem{next: 1, swaps: swaps, left: -1, free: 1 << 40, total: 1 << 40, settled: map[uint64]bool{}}
	m.now = tree{1: {dir: true, names: map[string]uint64{}, perm: 0o755}}
	m.safe = m.now.clone()
	return m
}

// CrashAfter has the power go at the n-th operation from now.
func (m *Mem) CrashAfter(n int) { m.left = n }

// Crashed reports whether it went.
func (m *Mem) Crashed() bool { return m.dead }

// Syncs is how many syncs there were.
func (m *Mem) Syncs() int { return m.syncs }

// Ops is how many changes there were.
func (m *Mem) Ops() int { return m.ops }

// Interfere has f called after each change, with its number: another program's doing.
func (m *Mem) Interfere(f func(n int)) { m.interfer = f }

// SetFree says how many bytes are free.
func (m *Mem) SetFree(n int64) { m.free = n }

// SetTotal says how many bytes the disk has.
func (m *Mem) SetTotal(n int64) { m.total = n }

// PowerOn gives back a disk that lost power, or loses it now, with what is left.
func (m *Mem) PowerOn(r *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.safe.clone()
	inOrder := r.IntN(2) == 0 // a journal that keeps the order
	upTo := r.IntN(len(m.log) + 1)
	for i, o := range m.log {
		if inOrder && i < upTo || !inOrder && r.IntN(2) == 0 {
			m.next++
			t.apply(o, int64(m.next))
		}
	}
	for _, n := range t {
		if !n.lasts && !n.dir {
			n.data = n.data[:r.IntN(len(n.data)+1)]
			if r.IntN(2) == 0 {
				n.data = strings.Repeat("\x00", len(n.data))
			}
			n.lasts = true
		}
	}
	m.now, m.safe, m.log, m.dead, m.left = t, t.clone(), nil, false, -1
	clear(m.settled)
}

// step counts an operation, under the lock.
func (m *Mem) step() error {
	if m.dead {
		return ErrCrashed
	}
	if m.left == 0 {
		m.dead = true
		return ErrCrashed
	}
	if m.left > 0 {
		m.left--
	}
	return nil
}

func (m *Mem) do(o op) error {
	if err := m.step(); err != nil {
		return err
	}
	m.next++
	if !m.now.apply(o, int64(m.next)) {
		return fmt.Errorf("can't %+v", o)
	}
	m.log = append(m.log, o)
	if m.ops++; m.interfer != nil {
		f, n := m.interfer, m.ops
		m.mu.Unlock()
		f(n)
		m.mu.Lock()
	}
	return nil
}

// Sync makes all last.
func (m *Mem) Sync() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.step(); err != nil {
		return err
	}
	m.syncs++
	for id := range m.settled {
		if n := m.now[id]; n != nil {
			n.lasts = true
		}
	}
	clear(m.settled)
	m.safe, m.log = m.now.clone(), nil
	return nil
}

// Space tells of the disk.
func (m *Mem) Space() (free, total int64, ok bool) { return m.free, m.total, true }

// Open opens a folder of the share.
func (m *Mem) Open(p share.Path) (disk.Folder, error) { return m.open(false, p.Components()) }

// Own opens a folder of peerd's own.
func (m *Mem) Own(make bool, names ...string) (disk.Folder, error) {
	return m.open(make, append([]string{share.Reserved}, names...))
}

func (m *Mem) open(make bool, names []string) (disk.Folder, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return nil, ErrCrashed
	}
	id := uint64(1)
	for _, name := range names {
		sub := m.now[id].names[name]
		if sub == 0 && !make {
			return nil, fs.ErrNotExist
		}
		if sub == 0 {
			m.next++
			sub = m.next
			if err := m.do(op{kind: "make", dir: id, name: name, id: sub, node: inode{dir: true, perm: 0o700}}); err != nil {
				return nil, err
			}
		}
		if !m.now[sub].dir {
			return nil, &peer.Error{Kind: peer.Conflict, Err: errors.New("it is a file")}
		}
		id = sub
	}
	return memFolder{m, id}, nil
}

// Write is the owner's own program, whose files last at once.
func (m *Mem) Write(path, data string, mtime time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir := uint64(1)
	names := strings.Split(path, "/")
	both := func(o op) {
		m.next++
		m.now.apply(o, int64(m.next))
		m.safe.apply(o, int64(m.next))
	}
	for i, name := range names {
		id := m.now[dir].names[name]
		last := i == len(names)-1
		if id != 0 && last {
			both(op{kind: "drop", dir: dir, name: name, id: id})
			id = 0
		}
		if id == 0 {
			m.next++
			id = m.next
			n := inode{dir: !last, perm: 0o644, mtime: mtime, lasts: true}
			if last {
				n.data = data
			} else {
				n.perm = 0o755
			}
			both(op{kind: "make", dir: dir, name: name, id: id, node: n})
		}
		dir = id
	}
}

// Stage writes a file into staging, as transfer/store does: nothing makes it last.
func (m *Mem) Stage(name, data string, mtime time.Time) error {
	f, err := m.Own(true, "tmp")
	if err != nil {
		return err
	}
	mf := f.(memFolder)
	if err := mf.make(name, inode{data: data, perm: 0o644, mtime: mtime}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	id, _, err := mf.look(name)
	delete(m.settled, id)
	return err
}

// Files gives all files by their paths, those of peerd as well if own; folders end in a slash.
func (m *Mem) Files(own bool) map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]string{}
	var walk func(id uint64, path string)
	walk = func(id uint64, path string) {
		for name, sub := range m.now[id].names {
			if id == 1 && name == share.Reserved && !own {
				continue
			}
			if n := m.now[sub]; n.dir {
				out[path+name+"/"] = ""
				walk(sub, path+name+"/")
			} else {
				out[path+name] = n.data
			}
		}
	}
	walk(1, "")
	return out
}

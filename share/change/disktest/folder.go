package disktest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change/disk"
)

// memFolder is an open folder.
type memFolder struct {
	m  *Mem
	id uint64
}

func (f memFolder) Close() {}

func (f memFolder) Path() string { return fmt.Sprintf("/mem/%d", f.id) }

// look finds a name, under the lock.
func (f memFolder) look(name string) (uint64, *inode, error) {
	if f.m.dead {
		return 0, nil, ErrCrashed
	}
	d := f.m.now[f.id]
	if d == nil || d.names[name] == 0 {
		return 0, nil, fs.ErrNotExist
	}
	id := d.names[name]
	return id, f.m.now[id], nil
}

func (f memFolder) Stat(name string) (disk.Status, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	id, n, err := f.look(name)
	if err != nil {
		return disk.Status{}, err
	}
	return n.status(id), nil
}

func (n *inode) status(id uint64) disk.Status {
	e := share.Entry{Kind: share.Dir, ModTime: n.mtime}
	if !n.dir {
		e.Kind, e.Size, e.Exec = share.File, int64(len(n.data)), n.perm&0o100 != 0
	}
	b := binary.BigEndian.AppendUint64(nil, id)
	b = binary.BigEndian.AppendUint64(b, uint64(n.ctime))
	sum := sha256.Sum256(b)
	copy(e.Version[:], sum[:])
	return disk.Status{Entry: e, Perm: n.perm, Node: disk.Node{Device: 1, File: id}, Changed: n.mtime}
}

func (f memFolder) Names(context.Context) ([]string, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.m.dead {
		return nil, ErrCrashed
	}
	if f.m.now[f.id] == nil {
		return nil, nil
	}
	return slices.Collect(maps.Keys(f.m.now[f.id].names)), nil
}

// memFile is an open file.
type memFile struct {
	*bytes.Reader
	f    memFolder
	id   uint64
	last share.Entry
}

func (memFile) Close() error { return nil }

func (f memFile) Entry() (share.Entry, error) {
	f.f.m.mu.Lock()
	defer f.f.m.mu.Unlock()
	if n := f.f.m.now[f.id]; n != nil {
		return n.status(f.id).Entry, nil
	}
	return f.last, nil
}

func (f memFolder) Open(name string) (share.OpenFile, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	id, n, err := f.look(name)
	if err != nil {
		return nil, err
	}
	if n.dir {
		return nil, &peer.Error{Kind: peer.Usage, Err: errors.New("it is a folder")}
	}
	return memFile{bytes.NewReader([]byte(n.data)), f, id, n.status(id).Entry}, nil
}

func (f memFolder) make(name string, n inode) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if _, _, err := f.look(name); err == nil {
		return fs.ErrExist
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f.m.next++
	id := f.m.next
	if err := f.m.do(op{kind: "make", dir: f.id, name: name, id: id, node: n}); err != nil {
		return err
	}
	f.m.settled[id] = true
	return nil
}

func (f memFolder) Mkdir(name string) error { return f.make(name, inode{dir: true, perm: 0o755}) }

func (f memFolder) Create(name string, data []byte) error {
	return f.make(name, inode{data: string(data), perm: 0o600})
}

func (f memFolder) Copy(_ context.Context, name string, to disk.Folder, toName string) (disk.Status, error) {
	f.m.mu.Lock()
	id, n, err := f.look(name)
	f.m.mu.Unlock()
	switch {
	case err != nil:
		return disk.Status{}, err
	case n.dir:
		return disk.Status{}, &peer.Error{Kind: peer.Usage, Err: errors.New("it is a folder")}
	}
	return n.status(id), to.(memFolder).make(toName, inode{data: n.data, perm: n.perm, mtime: n.mtime})
}

func (f memFolder) Settle(name string, perm fs.FileMode) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	id, n, err := f.look(name)
	if err != nil {
		return err
	}
	if n.dir {
		return &peer.Error{Kind: peer.Usage, Err: errors.New("it is a folder")}
	}
	f.m.settled[id] = true
	if n.perm == perm {
		return nil
	}
	return f.m.do(op{kind: "mode", dir: f.id, id: id, node: inode{perm: perm}})
}

func (f memFolder) Touch(name string, set disk.Set) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	id, n, err := f.look(name)
	if err != nil {
		return err
	}
	next := inode{perm: n.perm, mtime: n.mtime}
	if set.ModTime != nil {
		next.mtime = *set.ModTime
	}
	if set.Exec != nil && !n.dir {
		next.perm = disk.Executable(n.perm, *set.Exec)
	}
	return f.m.do(op{kind: "touch", dir: f.id, id: id, node: next})
}

func (f memFolder) Rename(name string, to disk.Folder, toName string, how disk.How) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	id, _, err := f.look(name)
	if err != nil {
		return err
	}
	t := to.(memFolder)
	with, _, terr := t.look(toName)
	o := op{kind: "move", dir: f.id, name: name, id: id, to: t.id, as: toName, with: with}
	switch {
	case f.m.now[t.id] == nil:
		return fs.ErrNotExist
	case how == disk.Exchange && !f.m.swaps:
		return errors.ErrUnsupported
	case how == disk.Exchange && terr != nil:
		return terr
	case how == disk.Exchange:
		o.kind = "swap"
	case terr == nil:
		return fs.ErrExist
	}
	return f.m.do(o)
}

func (f memFolder) drop(name string, dir bool) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	id, n, err := f.look(name)
	switch {
	case err != nil:
		return err
	case n.dir && !dir:
		return &peer.Error{Kind: peer.Usage, Err: errors.New("it is a folder")}
	case !n.dir && dir:
		return &peer.Error{Kind: peer.Conflict, Err: errors.New("it is a file")}
	case len(n.names) > 0:
		return fs.ErrExist
	}
	return f.m.do(op{kind: "drop", dir: f.id, name: name, id: id})
}

func (f memFolder) Remove(name string) error { return f.drop(name, false) }
func (f memFolder) Rmdir(name string) error  { return f.drop(name, true) }

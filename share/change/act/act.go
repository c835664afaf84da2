// Package act makes groups of changes to a share's files that are planned already, so that a crash at any moment leaves each of
// them done or not done once [Recover] has run: what will be done is written down first.
package act

import (
	"context"
	"errors"
	"io/fs"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change/disk"
	"github.com/peerd/peerd/share/change/history"
	"github.com/peerd/peerd/transfer"
)

// Step is one change of a group.
type Step struct {
	history.Record
	How disk.How // how it is placed if nothing is replaced
	Set disk.Set // what is touched
	Err error    // why it was not made

	Moved transfer.Version // of what is moved, before it is
}

// ErrMoved says that a path changed between the planning and the change: planning again may do.
var ErrMoved = errors.New("it changed meanwhile")

// ErrRoom says that there was no room for a group, of which nothing was begun.
var ErrRoom = errors.New("there is no room")

// ErrNotEmpty is that of a folder that can't be removed.
var ErrNotEmpty = errors.New("the folder is not empty, or holds what is not shared")

// maker makes the changes of one group.
type maker struct {
	ctx     context.Context
	disk    disk.Disk
	history *history.Store
	folders *Folders
	staging disk.Folder // open if something is staged
	stuck   bool        // a step is half done, which recovery must deal with
}

func newMaker(ctx context.Context, d disk.Disk, h *history.Store) *maker {
	return &maker{ctx: ctx, disk: d, history: h, folders: NewFolders(d)}
}

func (m *maker) close() {
	m.folders.Close()
	if m.staging != nil {
		m.staging.Close()
	}
}

// Run makes a group of changes, which last when it returns, and fills in what became of each. An error is one of the whole
// group, of which each change may be made or not. Unless clean, recover before the next group.
func Run(ctx context.Context, d disk.Disk, h *history.Store, steps []*Step) (clean bool, err error) {
	m := newMaker(ctx, d, h)
	defer m.close()
	if err := m.prepare(steps); err != nil {
		return true, err
	}
	first := steps[0].ID
	if err := h.Begin(records(steps)); err != nil {
		return false, err
	}
	if err := d.Sync(); err != nil {
		return false, err
	}
	for _, s := range steps {
		m.folders.Trim()
		s.Err = m.make(s)
	}
	if err := h.End(first, records(steps)); err != nil {
		return false, err
	}
	if err := d.Sync(); err != nil {
		return false, err
	}
	return !m.stuck && h.Done(first) == nil, nil
}

// records are those of the steps that did not fail.
func records(steps []*Step) (rs []history.Record) {
	for _, s := range steps {
		if s.Err == nil {
			rs = append(rs, s.Record)
		}
	}
	return rs
}

// prepare makes the folders of versions, so that keeping one does not fail for want of room once the change is half done.
func (m *maker) prepare(steps []*Step) error {
	for _, s := range steps {
		if !s.Keeps() {
			continue
		}
		f, _, err := m.history.Place(s.Record)
		if err != nil {
			return err
		}
		f.Close()
	}
	return nil
}

// make makes one change.
func (m *maker) make(s *Step) error {
	if err := m.ctx.Err(); err != nil {
		return err
	}
	in, err := m.folders.Open(s.Path.Dir())
	if err != nil {
		return moved(err)
	}
	name := s.Path.Base()
	switch s.Act {
	case history.Mkdir:
		if err = moved(in.Mkdir(name)); err == nil {
			s.After, err = entryAt(in, name, s.Path)
		}
		return err
	case history.Rmdir:
		if err = in.Rmdir(name); errors.Is(err, fs.ErrExist) {
			err = ErrNotEmpty
		}
		return err
	case history.Take:
		return m.take(s, in, name)
	case history.Touch:
		return touch(s, in, name)
	}
	from, fromName, err := m.source(s.Record)
	if err != nil {
		return moved(err)
	}
	if s.Keeps() {
		err = m.replace(s, from, fromName, in, name)
	} else {
		err = moved(from.Rename(fromName, in, name, s.How))
	}
	if err == nil {
		s.After, err = entryAt(in, name, s.Path)
	}
	return err
}

// source is where the thing is that a change places.
func (m *maker) source(r history.Record) (f disk.Folder, name string, err error) {
	if r.Staged == "" {
		f, err = m.folders.Open(r.From.Dir())
		return f, r.From.Base(), err
	}
	if m.staging == nil {
		if m.staging, err = m.history.Staging(); err != nil {
			return nil, "", err
		}
	}
	return m.staging, r.Staged, nil
}

func entryAt(f disk.Folder, name string, p share.Path) (share.Entry, error) {
	st, err := f.Stat(name)
	st.Path = p
	return st.Entry, err
}

// moved says so of a name that is not there any more, or is taken now.
func moved(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
		return ErrMoved
	}
	return err
}

// touch sets times and bits of what is still what it was.
func touch(s *Step, in disk.Folder, name string) error {
	st, err := in.Stat(name)
	if err == nil && st.Version != s.Before.Version {
		err = ErrMoved
	}
	if err == nil {
		err = in.Touch(name, s.Set)
	}
	if err == nil {
		s.After, err = entryAt(in, name, s.Path)
	}
	return moved(err)
}

// take makes a version of a file.
func (m *maker) take(s *Step, in disk.Folder, name string) error {
	to, toName, err := m.history.Place(s.Record)
	if err != nil {
		return err
	}
	defer to.Close()
	if err := in.Rename(name, to, toName, disk.Fresh); err != nil {
		return moved(err)
	}
	if err := cameOut(s, to, toName); err != nil {
		return m.undone(err, to.Rename(toName, in, name, disk.Fresh))
	}
	return nil
}

// cameOut looks at what a rename took from a path. An edit that came just before is in it, so that is kept as well; but
// what is no file is none of ours.
func cameOut(s *Step, f disk.Folder, name string) error {
	st, err := f.Stat(name)
	if err != nil {
		return err
	}
	if st.Kind != share.File {
		return ErrMoved
	}
	if st.Size != s.Before.Size || !st.ModTime.Equal(s.Before.ModTime) {
		st.Path = s.Path
		s.Before = st.Entry
	}
	return nil
}

// undone is the error of a step that failed half way and was taken back, if that did not fail as well.
func (m *maker) undone(err, back error) error {
	if back == nil {
		return err
	}
	m.stuck = true
	return errors.Join(err, back)
}

// replace gives what is at from its path, and keeps what was there.
func (m *maker) replace(s *Step, from disk.Folder, fromName string, in disk.Folder, name string) error {
	to, toName, err := m.history.Place(s.Record)
	if err != nil {
		return err
	}
	defer to.Close()
	err = from.Rename(fromName, in, name, disk.Exchange)
	if errors.Is(err, errors.ErrUnsupported) {
		return m.putAside(s, from, fromName, in, name, to, toName)
	}
	if err != nil {
		return moved(err)
	}
	if err = cameOut(s, from, fromName); err == nil {
		err = from.Rename(fromName, to, toName, disk.Fresh)
	}
	if err != nil {
		return m.undone(err, from.Rename(fromName, in, name, disk.Exchange))
	}
	return nil
}

// putAside is replace where names can't be exchanged: for a moment nothing is at the path.
func (m *maker) putAside(s *Step, from disk.Folder, fromName string, in disk.Folder, name string, to disk.Folder, toName string) error {
	err := in.Rename(name, to, toName, disk.Fresh)
	if err != nil {
		return moved(err)
	}
	if err = cameOut(s, to, toName); err == nil {
		err = moved(from.Rename(fromName, in, name, disk.Fresh))
	}
	if err != nil {
		return m.undone(err, to.Rename(toName, in, name, disk.Fresh))
	}
	return nil
}

package act

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change/disk"
	"github.com/peerd/peerd/share/change/history"
)

// Recover finishes or drops the groups that were begun and not ended. Doing it twice is doing it once.
func Recover(ctx context.Context, d disk.Disk, h *history.Store, log *slog.Logger) error {
	groups, err := h.Pending(ctx)
	if err != nil {
		return err
	}
	for _, g := range groups {
		m := newMaker(ctx, d, h)
		done, err := m.finishAll(g.Records)
		m.close()
		if err == nil {
			err = h.End(g.First, done)
		}
		if err == nil {
			err = d.Sync()
		}
		if err == nil {
			err = h.Done(g.First)
		}
		if err != nil {
			return err
		}
		log.Info("finished changes that were interrupted", "begun", len(g.Records), "done", len(done))
	}
	if len(groups) == 0 {
		return nil
	}
	h.Recount()
	return d.Sync()
}

func (m *maker) finishAll(rs []history.Record) (done []history.Record, err error) {
	for _, r := range rs {
		m.folders.Trim()
		ok, err := m.finish(&r)
		if err != nil {
			return nil, err
		}
		if ok {
			done = append(done, r)
		}
	}
	return done, nil
}

// finish finds out whether a change was made, and finishes one that was made by half. What was not begun is dropped. It errs
// only where trying again later may do.
func (m *maker) finish(r *history.Record) (done bool, err error) {
	in, err := m.folders.Open(r.Path.Dir())
	if errors.Is(err, fs.ErrNotExist) {
		in, err = nil, nil // nothing can be there
	}
	if err != nil {
		return false, err
	}
	there := false
	switch r.Act {
	case history.Take:
		return m.kept(r)
	case history.Rmdir:
		there, err = has(in, r.Path.Base())
		return !there, err
	case history.Mkdir:
		done, err = has(in, r.Path.Base())
	case history.Touch:
		done, err = touched(r, in)
	default:
		done, err = m.finishPlace(r, in)
	}
	if err == nil && done && in != nil {
		if e, serr := entryAt(in, r.Path.Base(), r.Path); serr == nil {
			r.After = e
		}
	}
	return done, err
}

func has(in disk.Folder, name string) (bool, error) {
	if in == nil {
		return false, nil
	}
	_, err := in.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// touched reports whether something about a file or folder was set, perhaps by half. What changed in another way as well is none of
// ours.
func touched(r *history.Record, in disk.Folder) (bool, error) {
	there, err := has(in, r.Path.Base())
	if !there || err != nil {
		return false, err
	}
	st, err := in.Stat(r.Path.Base())
	return err == nil && st.Node == r.Node && st.Size == r.Before.Size && st.Version != r.Before.Version, err
}

// kept reports whether the version of a change is there.
func (m *maker) kept(r *history.Record) (bool, error) {
	f, name, err := m.history.Place(*r)
	if err != nil {
		return false, err
	}
	defer f.Close()
	return has(f, name)
}

// finishPlace looks at where the newcomer came from: if it is still there, it did not get to its place; if something else is,
// that came out of its place and is to be kept.
func (m *maker) finishPlace(r *history.Record, in disk.Folder) (done bool, err error) {
	from, name, err := m.source(*r)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	st, err := from.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	same := st.Node == r.Node
	if !r.Keeps() {
		return m.drop(r, in, from, name, same)
	}
	f, kept, err := m.history.Place(*r)
	if err != nil {
		return false, err
	}
	defer f.Close()
	there, err := has(f, kept)
	switch {
	case err != nil:
		return false, err
	case there && same: // the old was put aside, and the newcomer is not in its place
		if in == nil {
			return true, nil
		}
		err = from.Rename(name, in, r.Path.Base(), disk.Fresh)
		if errors.Is(err, fs.ErrExist) {
			_, err = m.drop(r, in, from, name, same)
		}
		return true, err
	case there: // somebody made a new file where the newcomer came from
		return true, nil
	case !same && st.Kind == share.File: // the two exchanged their names
		return true, from.Rename(name, f, kept, disk.Fresh)
	case !same && in != nil: // so did they, but what came out is none of ours
		return false, from.Rename(name, in, r.Path.Base(), disk.Exchange)
	}
	return m.drop(r, in, from, name, same)
}

// drop gives up a newcomer that is where it came from, unless it is at its place as well, by a link that was to become a rename.
func (m *maker) drop(r *history.Record, in, from disk.Folder, name string, same bool) (done bool, err error) {
	if !same {
		return true, nil // it is another: the newcomer went to its place
	}
	oneName := r.Staged == "" && share.FoldKey(r.From.String()) == share.FoldKey(r.Path.String()) // or so it may be
	if in != nil && r.Node != (disk.Node{}) && !oneName {
		if st, err := in.Stat(r.Path.Base()); err == nil && st.Node == r.Node {
			return true, from.Remove(name)
		}
	}
	if r.Staged == "" {
		return false, nil
	}
	return false, from.Remove(name)
}

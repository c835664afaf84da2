package change

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change/act"
	"github.com/peerd/peerd/share/change/disk"
	"github.com/peerd/peerd/share/change/history"
)

// group is changes that are planned to be made together. It is used by one goroutine, under the Editor's lock.
type group struct {
	e       *Editor
	ctx     context.Context
	folders *act.Folders
	names   map[share.Path]map[string]string // of folders that get new names, by their fold keys
	made    map[share.Path]bool              // folders that will be made
	staging disk.Folder                      // open if something is staged
	steps   []*step
	grow    int64 // bytes of new files
	keep    int64 // bytes of new versions
	owns    int   // files that their writers placed before, unheard
}

// step is one change, and whom it is told.
type step struct {
	act.Step
	res *Result // nil for a folder on the way
}

func planned(r history.Record, res *Result) *step { return &step{act.Step{Record: r}, res} }

func (e *Editor) group(ctx context.Context) *group {
	return &group{e: e, ctx: ctx, folders: act.NewFolders(e.disk), names: map[share.Path]map[string]string{}, made: map[share.Path]bool{}}
}

func (g *group) close() {
	g.folders.Close()
	if g.staging != nil {
		g.staging.Close()
	}
}

// add plans a step, and numbers it.
func (g *group) add(s *step) {
	s.ID = g.e.history.Next()
	if s.Keeps() {
		g.keep += s.Before.Size
	}
	g.steps = append(g.steps, s)
}

// run makes the group's changes: all that could be planned. An error is one of the whole group, of which each step may be done or not.
func (g *group) run() error {
	if len(g.steps) == 0 {
		return nil
	}
	e := g.e
	if err := e.room(g.ctx, 0, g.grow, g.keep); err != nil {
		return errors.Join(act.ErrRoom, err)
	}
	todo := make([]*act.Step, len(g.steps))
	for i, s := range g.steps {
		todo[i] = &s.Step
	}
	clean, err := act.Run(g.ctx, e.disk, e.history, todo)
	e.broken = !clean
	if err != nil {
		e.history.Recount()
		return err
	}
	g.tell()
	return nil
}

// tell fills in the results and tells of the changes, which last now.
func (g *group) tell() {
	var bytes int64
	var count int
	for _, s := range g.steps {
		if s.Err != nil {
			g.e.opt.Log.Debug("change failed", "verb", s.Verb, "path", s.Path.String(), "err", s.Err)
			if s.res != nil {
				s.res.Err = s.Err
			}
			continue
		}
		c := Change{Verb: s.Verb, Path: s.Path, Before: s.Before, After: s.After, By: s.By}
		if s.Keeps() {
			c.Kept = s.ID
			bytes, count = bytes+s.Before.Size, count+1
		}
		if !s.From.IsRoot() {
			c.Path, c.To, c.Moved = s.From, s.Path, s.Moved
		}
		if r := s.res; r != nil {
			r.Entry, r.Before, r.Kept = s.After, s.Before.Version, c.Kept
			r.Entry.Path = s.Path
		}
		g.e.opt.Changed(c)
	}
	g.e.history.Count(bytes, count)
}

// stage opens the staging folder.
func (g *group) stage() (disk.Folder, error) {
	if g.staging == nil {
		f, err := g.e.history.Staging()
		if err != nil {
			return nil, err
		}
		g.staging = f
	}
	return g.staging, nil
}

// stat looks at a path as it will be when the planned folders are made.
func (g *group) stat(p share.Path) (disk.Status, error) {
	if p.IsRoot() || g.made[p] {
		return disk.Status{Entry: share.Entry{Path: p, Kind: share.Dir}}, nil
	}
	if g.made[p.Dir()] {
		return disk.Status{}, fs.ErrNotExist
	}
	f, err := g.folders.Open(p.Dir())
	if err != nil {
		return disk.Status{}, err
	}
	st, err := f.Stat(p.Base())
	if err != nil {
		return st, err
	}
	st.Path = p
	if other := g.alias(f, st); other != "" {
		return st, conflict(p, fmt.Errorf("%q is there, which this disk takes for the same name", other))
	}
	return st, nil
}

// maybe is stat, where nothing there is no error.
func (g *group) maybe(p share.Path) (st disk.Status, there bool, err error) {
	st, err = g.stat(p)
	if errors.Is(err, fs.ErrNotExist) {
		return disk.Status{}, false, nil
	}
	return st, err == nil, err
}

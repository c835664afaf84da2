package change

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"slices"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change/act"
	"github.com/peerd/peerd/share/change/disk"
	"github.com/peerd/peerd/share/change/history"
)

// one makes a single change, which plan plans; and again if its path changes just then.
func (e *Editor) one(ctx context.Context, verb string, p share.Path, plan func(g *group, res *Result) (*step, error)) (res Result) {
	for range maxTries {
		res = Result{}
		var s *step
		err := e.locked(ctx, func(g *group) (err error) {
			if s, err = plan(g, &res); err != nil {
				g.steps = nil
			}
			return err
		})
		if err == nil && s != nil {
			err = s.Err
		}
		res.Err = fail(verb, p, err)
		if s == nil || !errors.Is(s.Err, act.ErrMoved) {
			break
		}
	}
	return res
}

// locked plans a group under the lock, and makes it.
func (e *Editor) locked(ctx context.Context, plan func(g *group) error) error {
	unlock, err := e.begin(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	g := e.group(ctx)
	defer g.close()
	if err := plan(g); err != nil {
		return err
	}
	return g.run()
}

// Mkdir makes a folder; with parents also those above it, and one that is there already is fine.
func (e *Editor) Mkdir(ctx context.Context, p share.Path, parents bool, by By) Result {
	return e.mkdir(ctx, "mkdir", p, parents, by)
}

func (e *Editor) mkdir(ctx context.Context, verb string, p share.Path, parents bool, by By) Result {
	return e.one(ctx, verb, p, func(g *group, res *Result) (*step, error) {
		now, there, err := g.maybe(p)
		switch {
		case err != nil:
			return nil, err
		case there && now.Kind == share.Dir && (parents || p.IsRoot()):
			*res = Result{Entry: now.Entry, Before: now.Version}
			return nil, nil
		case there:
			return nil, conflict(p, errors.New("it is there already"))
		}
		if err := g.parents(p.Dir(), parents, verb, by); err != nil {
			return nil, err
		}
		if err := g.free(p, ""); err != nil {
			return nil, err
		}
		s := planned(history.Record{Verb: verb, Act: history.Mkdir, Path: p, By: by}, res)
		g.add(s)
		return s, nil
	})
}

// Remove makes a version of a file, or removes an empty folder; with recursive a folder and all in it, of which one result tells
// each. What is not shared (a link, a name that no peer could hold) stays, and so do the folders that it is in. Nothing is done
// until the results are asked for, and nothing more than 128 changes ahead at first, and a thousand later.
func (e *Editor) Remove(ctx context.Context, p share.Path, base Base, recursive bool, by By) iter.Seq[Result] {
	return func(yield func(Result) bool) {
		if !recursive {
			yield(e.remove(ctx, "rm", p, base, by))
			return
		}
		st, err := e.look(p)
		switch {
		case p.IsRoot():
			yield(Result{Err: fail("rm", p, errRoot)})
		case err != nil:
			yield(Result{Err: fail("rm", p, err)})
		case st.Kind != share.Dir:
			yield(e.remove(ctx, "rm", p, base, by))
		case !base.fits(st.Version):
			yield(Result{Err: fail("rm", p, act.ErrMoved)})
		default:
			r := remover{e: e, ctx: ctx, by: by, yield: yield}
			if r.folder(p) {
				r.flush()
			}
		}
	}
}

var errRoot = errors.New("the share itself stays as it is")
var errNoExec = errors.New("its owner lets nobody make files of this share executable")

// look looks at a path, outside of any group.
func (e *Editor) look(p share.Path) (disk.Status, error) {
	g := e.group(context.Background())
	defer g.close()
	st, err := g.stat(p)
	if err == nil && st.Kind == 0 {
		err = &peer.Error{Kind: peer.NotFound}
	}
	return st, err
}

func (e *Editor) remove(ctx context.Context, verb string, p share.Path, base Base, by By) Result {
	return e.one(ctx, verb, p, func(g *group, res *Result) (*step, error) {
		return g.planRemove(verb, p, base, by, res)
	})
}

// expect looks at what is to be changed, unless it is not what its base says.
func (g *group) expect(p share.Path, base Base) (disk.Status, error) {
	if p.IsRoot() {
		return disk.Status{}, errRoot
	}
	now, err := g.stat(p)
	switch {
	case err != nil:
		return now, err
	case now.Kind == 0:
		return now, &peer.Error{Kind: peer.NotFound}
	case !base.fits(now.Version):
		return now, conflict(p, act.ErrMoved)
	}
	return now, nil
}

func (g *group) planRemove(verb string, p share.Path, base Base, by By, res *Result) (*step, error) {
	now, err := g.expect(p, base)
	if err != nil {
		return nil, err
	}
	s := planned(history.Record{Verb: verb, Act: history.Take, Path: p, By: by, Before: now.Entry}, res)
	if now.Kind == share.Dir {
		s.Act = history.Rmdir
	}
	g.add(s)
	return s, nil
}

// removal is one path to remove.
type removal struct {
	path share.Path
	base Base
}

// removeAll removes paths as one group, and tells of each that was there. An error is one of the whole group, and in the results as
// well.
func (e *Editor) removeAll(ctx context.Context, verb string, rs []removal, by By) (results []Result, err error) {
	all := make([]Result, len(rs))
	steps := make([]*step, len(rs))
	err = e.locked(ctx, func(g *group) error {
		for i, r := range rs {
			g.folders.Trim()
			var err error
			steps[i], err = g.planRemove(verb, r.path, r.base, by, &all[i])
			all[i].Err = err
		}
		return nil
	})
	for i, res := range all {
		switch {
		case err != nil && res.Err == nil:
			res = Result{Err: err}
		case steps[i] != nil && steps[i].Err != nil:
			res.Err = steps[i].Err
		}
		if errors.Is(res.Err, fs.ErrNotExist) {
			continue // somebody else removed it
		}
		res.Entry.Path, res.Err = rs[i].path, fail(verb, rs[i].path, res.Err)
		results = append(results, res)
	}
	return results, err
}

// remover removes folders with all that is in them.
type remover struct {
	e     *Editor
	ctx   context.Context
	by    By
	yield func(Result) bool
	next  []removal // what is in a folder before the folder
	done  int
}

// folder takes a folder and all in it to be removed; false means that nobody wants to know more.
func (r *remover) folder(p share.Path) bool {
	names, err := r.names(p)
	if err != nil {
		return r.yield(Result{Entry: share.Entry{Path: p}, Err: fail("rm", p, err)})
	}
	for _, name := range names {
		q, err := p.Join(name)
		if err != nil {
			continue // no peer can name it
		}
		st, err := r.e.look(q)
		switch {
		case err != nil:
			continue // it is gone, or not shared: then the folder tells
		case st.Kind == share.Dir && !r.folder(q), st.Kind == share.File && !r.take(q):
			return false
		}
	}
	return r.take(p)
}

func (r *remover) names(p share.Path) ([]string, error) {
	f, err := r.e.disk.Open(p)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Names(r.ctx)
	slices.Sort(names)
	return names, err
}

func (r *remover) take(p share.Path) bool {
	r.next = append(r.next, removal{p, Base{Any: true}})
	return len(r.next) < min(max(firstGroup, 3*r.done), maxGroup) || r.flush() // few syncs, and many looks at first
}

// flush removes what was taken.
func (r *remover) flush() bool {
	results, err := r.e.removeAll(r.ctx, "rm", r.next, r.by)
	r.next, r.done = nil, r.done+len(r.next)
	for _, res := range results {
		if !r.yield(res) {
			return false
		}
	}
	return err == nil
}

// Touch sets the time of a file or folder, and whether a file may be run. Nothing is done where all is so already, or where the base
// does not fit.
func (e *Editor) Touch(ctx context.Context, p share.Path, base Base, set disk.Set, by By) Result {
	return e.one(ctx, "touch", p, func(g *group, res *Result) (*step, error) {
		now, err := g.expect(p, base)
		switch {
		case err != nil:
			return nil, err
		case set.Exec != nil && now.Kind != share.File:
			return nil, &peer.Error{Kind: peer.Usage, Err: errors.New("a folder is not run")}
		case set.Exec != nil && *set.Exec && e.opt.Limits().NoExec:
			return nil, errNoExec
		case (set.ModTime == nil || set.ModTime.Equal(now.ModTime)) && (set.Exec == nil || *set.Exec == now.Exec):
			*res = Result{Entry: now.Entry, Before: now.Version}
			return nil, nil
		}
		s := planned(history.Record{Verb: "touch", Act: history.Touch, Path: p, By: by, Node: now.Node, Before: now.Entry}, res)
		s.Set = set
		g.add(s)
		return s, nil
	})
}

// Move gives a file or folder another path in the share. A file that is there becomes a version; a folder goes where nothing is.
// Where a base does not fit, nothing is done.
func (e *Editor) Move(ctx context.Context, from, to share.Path, base, toBase Base, by By) Result {
	return e.move(ctx, "mv", from, to, base, toBase, false, by)
}

func (e *Editor) move(ctx context.Context, verb string, from, to share.Path, base, toBase Base, parents bool, by By) Result {
	return e.one(ctx, verb, from, func(g *group, res *Result) (*step, error) {
		if to.IsRoot() {
			return nil, errRoot
		}
		if _, inside := to.Below(from); inside {
			return nil, &peer.Error{Path: to.String(), Kind: peer.Usage, Err: errors.New("it can't be moved into itself")}
		}
		now, err := g.expect(from, base)
		if err != nil {
			return nil, err
		}
		if err := g.parents(to.Dir(), parents, verb, by); err != nil {
			return nil, err
		}
		s := planned(history.Record{Verb: verb, Act: history.Place, Path: to, From: from, By: by, Node: now.Node}, res)
		s.Moved = now.Version
		if err := g.planTarget(s, now, toBase); err != nil {
			return nil, err
		}
		g.add(s)
		return s, nil
	})
}

// planTarget looks at where a step moves something.
func (g *group) planTarget(s *step, now disk.Status, base Base) error {
	except := ""
	if s.Path.Dir() == s.From.Dir() && share.FoldKey(s.Path.Base()) == share.FoldKey(s.From.Base()) {
		except = s.From.Base() // of the same file, another case
		f, err := g.folders.Open(s.Path.Dir())
		if err != nil {
			return err
		}
		if there, err := f.Stat(s.Path.Base()); err == nil && there.Node == now.Node && there.Version == now.Version {
			s.How = disk.Recase
			return nil
		}
	}
	there, found, err := g.maybe(s.Path)
	switch {
	case err != nil:
		return err
	case !found && base.fits(there.Version):
		return g.free(s.Path, except)
	case !base.fits(there.Version):
		return conflict(s.Path, act.ErrMoved)
	case there.Kind != share.File || now.Kind != share.File:
		return conflict(s.Path, errors.New("a folder goes where nothing is, and nothing replaces one"))
	}
	s.Swap, s.Before = true, there.Entry
	return nil
}

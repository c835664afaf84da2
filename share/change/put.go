package change

import (
	"context"
	"errors"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change/act"
	"github.com/peerd/peerd/share/change/disk"
	"github.com/peerd/peerd/share/change/history"
	"github.com/peerd/peerd/transfer"
)

// put is a Put in the making.
type put struct {
	Put
	verb     string
	strict   bool             // a base that does not fit is an error, not a conflict copy
	keepMode bool             // the staged file has the mode that a new file shall have
	copied   bool             // the staged file goes with a put that failed
	seen     transfer.Version // of what it was compared with
	same     transfer.Version // of what was found at the path with the same bytes
	claim    *history.Claim   // that this is the writer's own
	res      *Result
	tries    int
}

// maxOwn is how many files of a group may be replaced unexpected: who watches for too many looks between groups.
const maxOwn = 32

// maxTries is how often a change is tried when its path changes just then.
const maxTries = 5

// Commit gives staged files their places. They last when it returns, all of them for the price of two syncs of the disk for
// each thousand. What was there is kept as a version. Where a Base does not fit, nothing is replaced: the newcomer becomes a
// conflict copy; but if it has the very bytes that are there, it is dropped. Results are in the order of puts; the staged file of
// one that failed stays, unless there was no room for it.
func (e *Editor) Commit(ctx context.Context, puts []Put) []Result {
	results, todo := make([]Result, len(puts)), make([]*put, len(puts))
	for i, p := range puts {
		todo[i] = &put{Put: p, verb: "put", res: &results[i]}
	}
	e.commit(ctx, todo)
	return results
}

func (e *Editor) commit(ctx context.Context, todo []*put) {
	for len(todo) > 0 {
		n := independent(todo)
		e.compare(ctx, todo[:n])
		again := e.commitGroup(ctx, todo[:n])
		e.discard(todo[:n])
		todo = append(again, todo[n:]...)
	}
}

// discard removes the copies of puts that failed; what it leaves goes with Sweep.
func (e *Editor) discard(puts []*put) {
	for _, p := range puts {
		if !p.copied || p.res.Err == nil {
			continue
		}
		if f, err := e.history.Staging(); err == nil {
			_ = f.Remove(p.Staged)
			f.Close()
		}
	}
}

// independent is how many of the first puts can be made as one group: none at or below the path of another.
func independent(todo []*put) int {
	seen := map[string]bool{}
	for i, p := range todo {
		key := share.FoldKey(p.Path.String())
		if i == maxGroup || seen[key] {
			return i
		}
		for dir := p.Path.Dir(); !dir.IsRoot(); dir = dir.Dir() {
			if seen[share.FoldKey(dir.String())] {
				return i
			}
		}
		seen[key] = true
	}
	return len(todo)
}

// commitGroup makes a group of puts, and gives those to try again.
func (e *Editor) commitGroup(ctx context.Context, puts []*put) (again []*put) {
	unlock, err := e.begin(ctx)
	if err == nil {
		defer unlock()
		g := e.group(ctx)
		defer g.close()
		steps := map[*put]*step{}
		for _, p := range puts {
			g.folders.Trim()
			s, perr := g.planPut(p)
			if errors.Is(perr, errCompare) {
				p.tries++
				*p.res = Result{}
				again = append(again, p)
				continue
			}
			if p.res.Err = fail(p.verb, p.Path, perr); s != nil {
				steps[p] = s
			}
		}
		err = g.run()
		for p, s := range steps {
			if err == nil && errors.Is(s.Err, act.ErrMoved) && p.tries < maxTries {
				p.tries++
				*p.res = Result{}
				again = append(again, p)
			} else if s.Err != nil {
				p.res.Err = fail(p.verb, p.Path, s.Err)
			}
		}
	}
	if err == nil {
		return again
	}
	for _, p := range puts {
		if p.res.Err == nil {
			*p.res = Result{Err: fail(p.verb, p.Path, err)}
			p.copied = p.copied || errors.Is(err, act.ErrRoom)
		}
	}
	return nil
}

// planPut adds the step that a put takes; none if there is nothing to do.
func (g *group) planPut(p *put) (*step, error) {
	if p.Path.IsRoot() {
		return nil, &peer.Error{Kind: peer.Usage, Err: errors.New("the share itself is no file")}
	}
	stage, err := g.stage()
	if err != nil {
		return nil, err
	}
	staged, err := stage.Stat(p.Staged)
	if err != nil {
		return nil, err
	}
	if staged.Kind != share.File {
		return nil, &peer.Error{Kind: peer.Other, Err: errors.New("what was staged is no file")}
	}
	if p.Stale != nil && p.Stale() {
		return nil, conflict(p.Path, errStale)
	}
	if err := g.parents(p.Path.Dir(), p.Parents, "mkdir", p.By); err != nil {
		return nil, err
	}
	now, there, err := g.maybe(p.Path)
	if err != nil {
		return nil, err
	}
	if there && now.Kind != share.File {
		return nil, conflict(p.Path, errNoFile)
	}
	if p.Exec != nil && *p.Exec && g.e.opt.Limits().NoExec {
		p.Exec = nil
	}
	fits := p.Base.fits(now.Version)
	if there && !fits && p.claim != nil && p.claim.Own && p.claim.Version == now.Version {
		if g.owns++; g.owns > maxOwn {
			return nil, &peer.Error{Kind: peer.Busy, Err: errors.New("too many are replaced at once")}
		}
		fits = true
	}
	if there && p.same == now.Version && (!fits || staged.ModTime.Equal(now.ModTime) && (p.Exec == nil || *p.Exec == now.Exec)) {
		*p.res = Result{Entry: now.Entry, Before: now.Version}
		return nil, stage.Remove(p.Staged)
	}
	s := planned(history.Record{Verb: p.verb, Act: history.Place, Path: p.Path, By: p.By, Staged: p.Staged, Node: staged.Node}, p.res)
	perm := staged.Perm & 0o644
	if p.keepMode {
		perm = staged.Perm & 0o777
	}
	switch {
	case !fits && there && p.seen != now.Version && (staged.Size == now.Size || p.State != nil) && p.tries < maxTries:
		return nil, errCompare
	case !fits && p.strict:
		return nil, conflict(p.Path, act.ErrMoved)
	case !fits:
		if s.Path, err = g.beside(p.Path, p.By, g.e.opt.Now()); err != nil {
			return nil, err
		}
		p.res.Conflict = true
	case there:
		s.Swap, s.Before, perm = true, now.Entry, now.Perm&0o777
	default:
		if err := g.free(p.Path, ""); err != nil {
			return nil, err
		}
	}
	if p.Exec != nil {
		perm = disk.Executable(perm, *p.Exec)
	}
	if err := stage.Settle(p.Staged, perm); err != nil {
		return nil, err
	}
	g.add(s)
	g.grow += staged.Size
	return s, nil
}

// compare finds out which staged files have the very bytes that are at their paths, where that makes a difference. It runs
// while others change the share: what it found holds for the version that it found.
func (e *Editor) compare(ctx context.Context, puts []*put) {
	stage, err := e.history.Staging()
	if err != nil {
		return
	}
	defer stage.Close()
	claims := map[share.Path]*history.Claim{}
	for _, p := range puts {
		p.seen, p.same, p.claim = transfer.Version{}, transfer.Version{}, nil
		if p.Path.IsRoot() || ctx.Err() != nil {
			continue
		}
		dir, err := e.disk.Open(p.Path.Dir())
		if err != nil {
			continue
		}
		p.compare(ctx, stage, dir)
		dir.Close()
		if p.State != nil && p.seen != (transfer.Version{}) && p.seen != p.same && !p.Base.fits(p.seen) {
			p.claim = &history.Claim{Version: p.seen, Fits: p.Base.fits, By: p.By, State: p.State}
			claims[p.Path] = p.claim
		}
	}
	e.history.Judge(ctx, claims)
}

// compare sees what is at the path of a put, and whether it has the same bytes.
func (p *put) compare(ctx context.Context, stage, dir disk.Folder) {
	a, aerr := stage.Stat(p.Staged)
	b, berr := dir.Stat(p.Path.Base())
	if aerr != nil || berr != nil || a.Kind != share.File || b.Kind != share.File {
		return
	}
	if p.seen = b.Version; a.Size != b.Size || p.Base.fits(b.Version) && !a.ModTime.Equal(b.ModTime) {
		return
	}
	if disk.SameFiles(ctx, stage, p.Staged, dir, p.Path.Base(), b.Entry) {
		p.same = b.Version
	}
}

// errCompare says that what is at a path came there after the comparison: whether it is the same has to be found out first.
var errCompare = errors.New("it was not compared")
var errStale = errors.New("a later state of it came")
var errNoFile = errors.New("something that is no file is in the way")

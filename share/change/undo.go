package change

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change/act"
	"github.com/peerd/peerd/share/change/history"
	"github.com/peerd/peerd/share/change/rewind"
	"github.com/peerd/peerd/transfer"
)

// Undo puts every path that one peer changed since a moment back to what it was before the peer's first change of it: what was
// overwritten, removed or moved is back, what was created is removed. It is itself made of changes, so nothing is lost by it either.
// Where somebody else changed a path after the peer, that stays: what was there before comes beside it as a conflict copy, or
// where the path was to be removed or moved the result is an error of kind [peer.Conflict]. An error ends it; doing it again goes on.
func (e *Editor) Undo(ctx context.Context, who peer.ID, since time.Time, by By) iter.Seq2[Result, error] {
	return func(yield func(Result, error) bool) {
		u := &undo{e: e, ctx: ctx, by: by, yield: yield, want: rewind.Wants{}, now: map[share.Path]transfer.Version{}}
		for r, err := range e.history.Records(ctx, history.IDAt(since), true) {
			if err != nil {
				yield(Result{}, fail("undo", share.Path{}, err))
				return
			}
			if r.By.Peer != who || u.want.Back(r) {
				continue
			}
			if !u.apply() || !u.moveBack(r) {
				return
			}
		}
		u.apply()
	}
}

// undo walks back through what a peer did, and puts right at once what came after a folder was moved.
type undo struct {
	e     *Editor
	ctx   context.Context
	by    By
	yield func(Result, error) bool
	want  rewind.Wants
	now   map[share.Path]transfer.Version // what undoing itself left at a path
	busy  map[share.Path]bool             // where files were moved back to, or could not be
}

// expect is what a path must be now, or somebody else changed it.
func (u *undo) expect(p share.Path) transfer.Version {
	if v, ok := u.now[p]; ok {
		return v
	}
	return u.want[p].Expect
}

// moveBack moves a folder to where it was.
func (u *undo) moveBack(r history.Record) bool {
	res := u.e.move(u.ctx, "undo", r.Path, r.From, Base{Any: true}, Base{}, true, u.by)
	if res.Err == nil {
		moved := map[share.Path]transfer.Version{}
		for p, v := range u.now {
			below, ok := p.Below(r.Path)
			if q, err := share.ParsePath(append(r.From.Components(), below...)); ok && err == nil {
				moved[q] = v
			}
			if _, over := p.Below(r.From); ok || over {
				delete(u.now, p)
			}
		}
		maps.Copy(u.now, moved)
	}
	return u.tell(res)
}

func (u *undo) tell(res Result) bool {
	if res.Err == nil {
		u.now[res.Entry.Path] = res.Entry.Version
	}
	return u.yield(res, nil)
}

// apply puts all paths right that were taken back so far.
func (u *undo) apply() bool {
	if len(u.want) == 0 {
		return true
	}
	defer clear(u.want)
	ms := u.want.Moves()
	u.busy = map[share.Path]bool{}
	soon := func(p share.Path) bool { return !ms.Near(p) }
	if !u.clear(slices.DeleteFunc(u.want.Of(rewind.Nothing), ms.Near)) || !u.folders(slices.DeleteFunc(u.want.Of(rewind.Folder), ms.Near)) {
		return false
	}
	for _, p := range u.want.Of(rewind.There) {
		if !u.moveFile(p, ms) {
			return false
		}
	}
	return u.clear(slices.DeleteFunc(u.want.Of(rewind.Nothing), soon)) && u.folders(slices.DeleteFunc(u.want.Of(rewind.Folder), soon)) &&
		u.restore(u.want.Of(rewind.Old))
}

func (u *undo) folders(paths []share.Path) bool {
	for _, p := range paths {
		if !u.makeWay(p) || !u.tell(u.e.mkdir(u.ctx, "undo", p, true, u.by)) {
			return false
		}
	}
	return true
}

// makeWay removes what the peer left where something of the other kind was.
func (u *undo) makeWay(p share.Path) bool {
	w := u.want[p]
	st, err := u.e.look(p)
	if err != nil || (st.Kind == share.Dir) == (w.From == rewind.Folder) {
		return true
	}
	base := Base{Any: st.Kind == share.Dir, Version: u.expect(p)}
	return u.tell(u.e.remove(u.ctx, "undo", p, base, u.by))
}

// moveFile moves a file back to p, once what is in its way has been moved.
func (u *undo) moveFile(p share.Path, ms rewind.Moves) bool {
	w := u.want[p]
	if w.From != rewind.There || u.busy[p] {
		return true
	}
	if w.Path == p { // it stays, as the peer left it
		if _, ok := u.now[p]; !ok {
			u.now[p] = w.Left
		}
		return true
	}
	u.busy[p] = true
	for _, first := range ms.Before(p) {
		if first != p && !u.moveFile(first, ms) {
			return false
		}
	}
	if w.From != rewind.There { // a circle, see below
		return true
	}
	if v, ok := u.now[w.Path]; ok {
		w.Left = v
	}
	if st, err := u.e.look(w.Path); err != nil || st.Version != w.Left { // somebody changed it since: it is a version now
		id, err := u.e.history.After(u.ctx, w.Path, w.ID)
		if err == nil && id == 0 {
			err = conflict(w.Path, act.ErrMoved)
		}
		if err != nil {
			return u.tell(Result{Err: fail("undo", p, err)})
		}
		w.From, w.ID = rewind.Old, id
		return true
	}
	if _, inside := p.Below(w.Path); inside { // its folder comes where it is
		res := u.e.remove(u.ctx, "undo", w.Path, Base{Any: true}, u.by)
		w.From, w.ID = rewind.Old, res.Kept
		return u.tell(res)
	}
	if !u.makeWay(p) {
		return false
	}
	res := u.e.move(u.ctx, "undo", w.Path, p, Base{Any: true}, Base{Version: u.expect(p)}, true, u.by)
	if res.Err == nil {
		u.now[w.Path] = transfer.Version{}
		if next, waits := ms.To(p); waits && res.Kept != 0 && u.want[next].From == rewind.There { // a circle: what was here has become a version
			n := u.want[next]
			n.From, n.Path, n.ID = rewind.Old, p, res.Kept
		}
	}
	return u.tell(res)
}

// Bounds of what is copied into staging before it is committed.
const (
	batchFiles = 500
	batchBytes = 256 << 20
)

// restore puts versions back, many at a time.
func (u *undo) restore(paths []share.Path) bool {
	var batch []*put
	var bytes int64
	for i, p := range paths {
		if !u.makeWay(p) {
			return false
		}
		pt, size, err := u.fetch(p, u.want[p])
		if err == nil {
			batch = append(batch, pt)
			bytes += size
		} else if !u.tell(Result{Err: fail("undo", p, err)}) {
			return false
		}
		if len(batch) == batchFiles || bytes > batchBytes || i == len(paths)-1 {
			u.e.commit(u.ctx, batch)
			for _, pt := range batch {
				if !u.tell(*pt.res) {
					return false
				}
			}
			batch, bytes = nil, 0
		}
	}
	return true
}

// fetch copies a version into staging.
func (u *undo) fetch(p share.Path, w *rewind.Want) (*put, int64, error) {
	id, err := u.e.history.Nearest(u.ctx, w.Path, w.ID)
	if err != nil {
		return nil, 0, err
	}
	dir, name, k, err := u.e.history.Find(u.ctx, w.Path, cmp.Or(id, w.ID))
	if err != nil {
		return nil, 0, err
	}
	defer dir.Close()
	if err := u.e.room(u.ctx, k.Size, k.Size, 0); err != nil {
		return nil, 0, err
	}
	pt := &put{Put: Put{Path: p, Base: Base{Version: u.expect(p)}, Parents: true, By: u.by}, verb: "undo", res: &Result{}}
	return pt, k.Size, u.e.stage(u.ctx, dir, name, pt)
}

// clear removes what was not there.
func (u *undo) clear(paths []share.Path) bool {
	slices.SortFunc(paths, func(a, b share.Path) int { return strings.Compare(b.String(), a.String()) }) // what is in a folder first
	for part := range slices.Chunk(paths, maxGroup) {
		var rs []removal
		for _, p := range part {
			base := Base{Version: u.expect(p)}
			switch st, err := u.e.look(p); {
			case err != nil && slices.Contains([]peer.Kind{peer.NotFound, peer.Conflict}, peer.KindOf(err)):
				continue // it is gone, perhaps with a folder above it
			case err == nil && st.Kind == share.Dir:
				base.Any = true
			}
			rs = append(rs, removal{p, base})
		}
		results, _ := u.e.removeAll(u.ctx, "undo", rs, u.by)
		for _, res := range results {
			if !u.tell(res) {
				return false
			}
		}
	}
	return true
}

package controltest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

// full says whether what is at ref may be changed: all but the shares of anna that are locked.
func (f *Fake) full(ref control.Ref) (control.Entry, error) {
	e, err := f.check(ref)
	if err == nil && (e.Kind == control.KindPeer || e.Kind == control.KindShare) {
		err = &peer.Error{Path: ref.String(), Kind: peer.Usage, Err: errors.New("it is a " + string(e.Kind))}
	}
	return e, err
}

// text is what a file holds.
func (f *Fake) text(ref control.Ref) (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	text, ok := f.Content[ref]
	return text, ok
}

func (f *Fake) set(ref control.Ref, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Content[ref] = text
}

// lock is who works on a file, or nil.
func (f *Fake) lock(ref control.Ref) *control.FileLock {
	f.mu.Lock()
	defer f.mu.Unlock()
	l, ok := f.locks[ref]
	if !ok {
		return nil
	}
	return &l
}

// below are the files at or under ref, sorted.
func (f *Fake) below(ref control.Ref) []control.Ref {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []control.Ref
	for r := range f.Content {
		if r == ref || strings.HasPrefix(r.String(), ref.String()+"/") {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b control.Ref) int { return cmp.Compare(a.String(), b.String()) })
	return out
}

// keep makes a version of a file and takes the file away.
func (f *Fake) keep(ref control.Ref, by string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := fmt.Sprintf("20260301-123000-%04x", len(f.kept))
	f.kept = append(f.kept, control.Version{
		Ref: ref, ID: id, Kind: control.KindFile, Size: int64(len(f.Content[ref])), ModTime: When(), Until: When(),
		Peer: f.State.ID, Name: f.State.Name, By: by,
	})
	f.old[id] = f.Content[ref]
	delete(f.Content, ref)
	return id
}

// versions are what is kept, oldest first.
func (f *Fake) versions() []control.Version {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.kept)
}

// version is what a Ref that ends in @VERSION holds, and of which file.
func (f *Fake) version(ref control.Ref) (text string, plain control.Ref, ok bool) {
	plain, id, ok := control.SplitVersion(ref)
	if !ok {
		return "", ref, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	text, ok = f.old[id]
	return text, plain, ok
}

// each does something to every file, and ends as the Backend says.
func each(refs []control.Ref, do func(control.Ref) (control.Change, error)) iter.Seq2[control.Change, error] {
	return func(yield func(control.Change, error) bool) {
		var first error
		failed := 0
		for _, ref := range refs {
			c, err := do(ref)
			if err != nil {
				c, failed = control.Change{Ref: ref, Error: control.FromError(err)}, failed+1
				if first == nil {
					first = err
				}
			}
			if !yield(c, nil) {
				return
			}
		}
		if first != nil && len(refs) > 1 {
			first = &peer.Error{Kind: peer.KindOf(first), Err: fmt.Errorf("%d of %d failed", failed, len(refs))}
		}
		if first != nil {
			yield(control.Change{}, first)
		}
	}
}

// Remove implements [control.Changes].
func (f *Fake) Remove(_ context.Context, refs []control.Ref, recursive bool) iter.Seq2[control.Change, error] {
	return each(refs, func(ref control.Ref) (control.Change, error) {
		e, err := f.full(ref)
		if err != nil {
			return control.Change{}, err
		}
		if e.Kind == control.KindDir && !recursive {
			return control.Change{}, &peer.Error{Path: ref.String(), Kind: peer.Usage, Err: errors.New("it is a folder"), Hint: "remove it with -r"}
		}
		c := control.Change{Done: control.Removed, Ref: ref, Kind: e.Kind, Size: e.Size}
		for _, r := range f.below(ref) {
			c.Kept = f.keep(r, "rm")
		}
		if e.Kind == control.KindDir {
			c.Kept = ""
		}
		return c, nil
	})
}

// Move implements [control.Changes]. What is moved to a [Contested] place lands beside it.
func (f *Fake) Move(_ context.Context, req control.MoveRequest) iter.Seq2[control.Change, error] {
	return each(req.Sources, func(ref control.Ref) (control.Change, error) {
		e, err := f.full(ref)
		if err != nil {
			return control.Change{}, err
		}
		to := req.Dest
		if at, err := f.check(to); req.Into || err == nil && at.Kind != control.KindFile {
			to = to.Join(ref.Base())
		}
		if _, err := f.check(to); err != nil && peer.KindOf(err) != peer.NotFound {
			return control.Change{}, err
		}
		c := control.Change{Done: control.Moved, Ref: ref, To: to, Kind: e.Kind, Size: e.Size}
		if to.Base() == Contested {
			to.Path += " (conflict)"
			c.To, c.Conflict = to, true
		}
		if _, there := f.text(to); there {
			if !req.Force {
				return c, &peer.Error{Path: to.String(), Kind: peer.Conflict, Err: errors.New("it exists already"), Hint: "replace it with -f"}
			}
			c.Kept = f.keep(to, "mv")
		}
		for _, r := range f.below(ref) {
			moved, err := control.ParseRef(to.String() + strings.TrimPrefix(r.String(), ref.String()))
			if err != nil {
				return c, err
			}
			text, _ := f.text(r)
			f.set(moved, text)
			f.mu.Lock()
			delete(f.Content, r)
			f.mu.Unlock()
		}
		return c, nil
	})
}

// Mkdir implements [control.Changes]. A folder is there by a file in it.
func (f *Fake) Mkdir(_ context.Context, ref control.Ref, parents bool) error {
	switch _, err := f.full(ref); {
	case err == nil && !parents:
		return &peer.Error{Path: ref.String(), Kind: peer.Conflict, Err: errors.New("it exists already")}
	case err == nil:
		return nil
	case peer.KindOf(err) != peer.NotFound:
		return err
	}
	above := ref
	above.Path = ref.Path[:max(0, strings.LastIndexByte(ref.Path, '/'))]
	if _, err := f.check(above); err != nil && !parents {
		return err
	}
	f.set(ref.Join(".keep"), "")
	return nil
}

// Versions implements [control.Changes].
func (f *Fake) Versions(_ context.Context, ref control.Ref, recursive bool) iter.Seq2[control.Version, error] {
	return func(yield func(control.Version, error) bool) {
		if _, err := f.check(ref); err != nil && peer.KindOf(err) != peer.NotFound {
			yield(control.Version{}, err)
			return
		}
		for _, v := range slices.Backward(f.versions()) {
			if v.Ref != ref && !(recursive && strings.HasPrefix(v.Ref.String(), ref.String()+"/")) {
				continue
			}
			if !yield(v, nil) {
				return
			}
		}
	}
}

// Restore implements [control.Changes].
func (f *Fake) Restore(_ context.Context, req control.RestoreRequest) (control.Change, error) {
	f.mu.Lock()
	text, ok := f.old[req.Version]
	f.mu.Unlock()
	if !ok {
		return control.Change{}, &peer.Error{Path: control.WithVersion(req.Ref, req.Version), Kind: peer.NotFound, Err: errors.New("no such version")}
	}
	to := req.Dest
	if to.IsZero() {
		to = req.Ref
	}
	c := control.Change{Done: control.Restored, Ref: req.Ref, To: to, Kind: control.KindFile, Size: int64(len(text))}
	if _, there := f.text(to); there {
		if to != req.Ref && !req.Force {
			return control.Change{}, &peer.Error{Path: to.String(), Kind: peer.Conflict, Err: errors.New("it exists already"), Hint: "replace it with -f"}
		}
		c.Kept = f.keep(to, "restore")
	}
	f.set(to, text)
	return c, nil
}

// WatchFiles implements [control.Files]. It ends when FileEvents is closed.
func (f *Fake) WatchFiles(ctx context.Context, ref control.Ref) iter.Seq2[control.FileEvent, error] {
	return func(yield func(control.FileEvent, error) bool) {
		if _, err := f.check(ref); err != nil && !ref.IsZero() {
			yield(control.FileEvent{}, err)
			return
		}
		for _, e := range f.Happened {
			if !yield(e, nil) {
				return
			}
		}
		for {
			select {
			case <-ctx.Done():
				return
			case e, ok := <-f.FileEvents:
				if !ok || !yield(e, nil) {
					return
				}
			}
		}
	}
}

// Lock implements [control.Changes]. Who works on the file already is told of once this peer does too.
func (f *Fake) Lock(ctx context.Context, ref control.Ref) iter.Seq2[control.FileLock, error] {
	return func(yield func(control.FileLock, error) bool) {
		if _, err := f.full(ref); err != nil {
			yield(control.FileLock{}, err)
			return
		}
		other := f.lock(ref)
		mine := control.FileLock{Peer: f.State.ID, Name: f.State.Name, Since: When()}
		f.mu.Lock()
		f.locks[ref] = mine
		f.mu.Unlock()
		defer func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			if delete(f.locks, ref); other != nil {
				f.locks[ref] = *other
			}
		}()
		if yield(mine, nil) && (other == nil || yield(*other, nil)) {
			<-ctx.Done()
		}
	}
}

// Undo implements [control.Changes]: every version comes back. One of a file whose name begins with contested is a conflict.
func (f *Fake) Undo(_ context.Context, req control.UndoRequest) iter.Seq2[control.Change, error] {
	return func(yield func(control.Change, error) bool) {
		for _, v := range f.versions() {
			if v.Ref.Share != req.Share || v.Until.Before(req.Since.Time) {
				continue
			}
			c := control.Change{Done: control.Restored, Ref: v.Ref, To: v.Ref, Kind: v.Kind, Size: v.Size}
			if strings.HasPrefix(v.Ref.Base(), "contested") {
				c.Conflict, c.To.Path = true, c.To.Path+" (conflict)"
			}
			f.mu.Lock()
			f.Content[c.To] = f.old[v.ID]
			f.mu.Unlock()
			if !yield(c, nil) {
				return
			}
		}
	}
}

func records() []control.AuditRecord {
	return []control.AuditRecord{
		{Seq: 1, Time: When(), Event: "start", Result: "ok"},
		{Seq: 2, Time: When(), Event: "read", Peer: "12D3KooWAnna4444anna", Name: "anna", Addr: "/ip4/10.0.0.2/tcp/4455", Share: "music",
			Path: "a b/song.ogg", Right: control.Read, Bytes: 4 << 20, Result: "ok"},
		{Seq: 3, Time: When(), Event: "rename", Peer: "12D3KooWBob55555bob", Name: "bob", Share: "music", Path: "old.ogg", To: "new.ogg",
			Right: control.Full, Before: "00112233445566778899aabbccddeeff", Result: "ok"},
		{Seq: 4, Time: When(), Event: "refused", Peer: "12D3KooWEvil6666evil", Name: Hostile, Share: "books", Path: Hostile, Right: control.None,
			Result: "denied", Why: "the right is too low", Count: 12, Dropped: 3},
	}
}

// AuditRecords implements [control.Audit].
func (f *Fake) AuditRecords(_ context.Context, filter control.AuditFilter) iter.Seq2[control.AuditRecord, error] {
	return func(yield func(control.AuditRecord, error) bool) {
		for _, r := range f.Records {
			wanted := (filter.Share == "" || filter.Share == r.Share) && (filter.Peer == "" || filter.Peer == r.Name) &&
				!r.Time.Before(filter.Since.Time) && (len(filter.Events) == 0 || slices.Contains(filter.Events, r.Event))
			if wanted && !yield(r, nil) {
				return
			}
		}
	}
}

// Tamper has AuditVerify find that somebody changed the audit.
func (f *Fake) Tamper() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Broken = &peer.Error{Path: "audit-0001.jsonl", Kind: peer.Integrity, Err: errors.New("record 3 was changed")}
}

// AuditVerify implements [control.Audit].
func (f *Fake) AuditVerify(context.Context) (control.AuditReport, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Broken != nil {
		return control.AuditReport{}, f.Broken
	}
	return control.AuditReport{Records: uint64(len(f.Records)), Files: 1, From: When(), To: When(), Signed: uint64(len(f.Records))}, nil
}

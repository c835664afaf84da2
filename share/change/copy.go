package change

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change/disk"
)

// Copy makes a file from another of the share, without its bytes leaving the disk. It is of one state of the other. Where toBase
// does not fit, it becomes a conflict copy.
func (e *Editor) Copy(ctx context.Context, from, to share.Path, toBase Base, by By) Result {
	res := Result{}
	st, err := e.look(from)
	if err == nil && st.Kind != share.File {
		err = &peer.Error{Kind: peer.Usage, Err: errors.New("it is a folder")}
	}
	if err == nil {
		err = e.room(ctx, st.Size, st.Size, 0)
	}
	if err == nil {
		var dir disk.Folder
		if dir, err = e.disk.Open(from.Dir()); err == nil {
			defer dir.Close()
			res, err = e.place(ctx, dir, from.Base(), &put{Put: Put{Path: to, Base: toBase, By: by}, verb: "cp"})
		}
	}
	if err != nil {
		res.Err = fail("cp", from, err)
	}
	return res
}

// place copies a file into staging, and commits it.
func (e *Editor) place(ctx context.Context, dir disk.Folder, name string, p *put) (Result, error) {
	e.stagers.Add(1)
	defer e.stagers.Add(-1)
	p.res = &Result{}
	if err := e.stage(ctx, dir, name, p); err != nil {
		return *p.res, err
	}
	e.commit(ctx, []*put{p})
	return *p.res, nil
}

// stage copies a file into staging for a put.
func (e *Editor) stage(ctx context.Context, dir disk.Folder, name string, p *put) error {
	f, err := e.history.Staging()
	if err != nil {
		return err
	}
	defer f.Close()
	p.keepMode, p.copied = true, true
	p.Staged = fmt.Sprintf("copy-%x-%d", e.opt.Now().UnixNano(), e.copies.Add(1))
	_, err = dir.Copy(ctx, name, f, p.Staged)
	return err
}

// Versions gives the versions of a path, newest first; with below those of all paths under it, also of files that are gone.
func (e *Editor) Versions(ctx context.Context, p share.Path, below bool) iter.Seq2[Kept, error] {
	of := e.history.Of
	if below {
		of = e.history.Below
	}
	return func(yield func(Kept, error) bool) {
		for k, err := range of(ctx, p) {
			if !yield(k, fail("list versions", p, err)) {
				return
			}
		}
	}
}

// OpenVersion opens a version for reading.
func (e *Editor) OpenVersion(ctx context.Context, p share.Path, id VersionID) (share.OpenFile, error) {
	dir, name, _, err := e.history.Find(ctx, p, id)
	if err != nil {
		return nil, fail("open version", p, err)
	}
	defer dir.Close()
	f, err := dir.Open(name)
	if err != nil {
		return nil, fail("open version", p, err)
	}
	return version{f, p}, nil
}

// version is an open version, under the path that it is of.
type version struct {
	share.OpenFile
	path share.Path
}

func (v version) Entry() (share.Entry, error) {
	e, err := v.OpenFile.Entry()
	e.Path = v.path
	return e, err
}

// Restore puts a version of p at the path to, which may be p; folders above it are made. The version stays, and what is there
// becomes one. Where toBase does not fit, nothing is done.
func (e *Editor) Restore(ctx context.Context, p share.Path, id VersionID, to share.Path, toBase Base, by By) Result {
	return e.restore(ctx, p, id, &put{Put: Put{Path: to, Base: toBase, Parents: true, By: by}, verb: "restore", strict: true})
}

func (e *Editor) restore(ctx context.Context, p share.Path, id VersionID, as *put) Result {
	dir, name, k, err := e.history.Find(ctx, p, id)
	if err != nil {
		return Result{Err: fail(as.verb, p, err)}
	}
	defer dir.Close()
	if err := e.room(ctx, k.Size, k.Size, 0); err != nil {
		return Result{Err: fail(as.verb, p, err)}
	}
	res, err := e.place(ctx, dir, name, as)
	if err != nil {
		return Result{Err: fail(as.verb, p, err)}
	}
	return res
}

// stale is the age at which a file in staging is nobody's.
const stale = 72 * time.Hour

// sweepStaging removes what nobody will ask for again.
func (e *Editor) sweepStaging(ctx context.Context) (freed int64, err error) {
	unlock, err := e.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	f, err := e.disk.Own(false, "tmp")
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	names, err := f.Names(ctx)
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		st, err := f.Stat(name)
		if err != nil || st.Kind != share.File || e.opt.Now().Sub(st.Changed) < stale {
			continue
		}
		if f.Remove(name) == nil {
			freed += st.Size
		}
	}
	return freed, nil
}

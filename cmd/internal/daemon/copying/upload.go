package copying

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/local"
	"github.com/peerd/peerd/share/remote"
)

// upload is one source on this computer on its way to a share.
type upload struct {
	*copying
	at    Place
	fs    *remote.FS
	files *local.FS
	from  share.Path             // in files
	real  string                 // the folder of files
	to    share.Path             // in the share
	there map[string]share.Entry // what is at and below to
	items map[uint64]share.Entry // under way, with their local paths
	sizes int64                  // bytes that the owner verified
	had   int64
	tries int
	late  []late // files to be named again
}

// late is a file that changed since it was named, or so it seems.
type late struct {
	share.Entry
	err error
}

// maxTries is how often a file is named again that changes all the time.
const maxTries = 4

// up copies a file or folder of this computer to a share, and goes on when the owner was away for a while.
func (c *copying) up(ctx context.Context, src string, into bool) error {
	c.mu.Lock()
	before := c.sum
	c.mu.Unlock()
	var away time.Time // since when nothing moves
	for {
		c.mu.Lock()
		moves := c.moves
		c.mu.Unlock()
		err := c.tryUp(ctx, src, into)
		if peer.KindOf(err) != peer.Unreachable || ctx.Err() != nil {
			return err
		}
		c.mu.Lock()
		begun := c.at.Peer.ID != ""
		if c.moves != moves || away.IsZero() {
			away = time.Now()
		}
		c.sum = before
		c.mu.Unlock()
		if !begun || time.Since(away) > patience {
			return err
		}
		c.wait(err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *copying) tryUp(ctx context.Context, src string, into bool) error {
	real, err := filepath.EvalSymlinks(src)
	if err != nil {
		return localError(src, err)
	}
	info, err := os.Stat(real)
	switch {
	case err != nil:
		return localError(src, err)
	case info.IsDir() && !c.req.Recursive:
		return &peer.Error{Path: src, Kind: peer.Usage, Err: errors.New("it is a folder"), Hint: "copy it with -r"}
	case !info.IsDir() && !info.Mode().IsRegular():
		return &peer.Error{Path: src, Kind: peer.Usage, Err: errors.New("it is neither a file nor a folder")}
	}
	u := &upload{copying: c, items: make(map[uint64]share.Entry)}
	if u.at, err = c.world.FindFull(ctx, c.req.To); err != nil {
		return err
	}
	u.fs, u.to = c.world.FS(u.at), u.at.Path
	c.mu.Lock()
	c.at = u.at
	c.mu.Unlock()
	if into, err = Target(ctx, u.fs, u.to, into); err != nil {
		return err
	}
	if into {
		if u.to, err = u.to.Join(filepath.Base(src)); err != nil {
			return &peer.Error{Path: src, Kind: peer.Usage, Err: err, Hint: "give it another name: write the new name behind the folder"}
		}
	}
	if err := share.CheckCreate(u.to.Base()); err != nil {
		return &peer.Error{Path: control.Ref{Peer: u.at.Ref.Peer, Share: u.at.Ref.Share, Path: u.to.String()}.String(), Kind: peer.Usage, Err: err,
			Hint: "not every computer can hold such a name; choose another"}
	}
	u.real = real
	if !info.IsDir() {
		u.real = filepath.Dir(real)
		if u.from, err = (share.Path{}).Join(filepath.Base(real)); err != nil {
			return &peer.Error{Path: src, Kind: peer.Usage, Err: err}
		}
	}
	if u.files, err = local.New(u.real, local.Options{Skipped: u.skipped}); err != nil {
		return err
	}
	if err := u.look(ctx, info.IsDir()); err != nil {
		return err
	}
	up := c.world.Uploads().Begin(u.at.Peer.ID, fmt.Sprintf("%s\x00%s\x00%s", real, u.at.Access.Share, u.to))
	defer up.Close()
	err = u.fs.Put(ctx, up, u.all(ctx), u)
	for u.tries = 1; err == nil && len(u.late) > 0; u.tries++ {
		err = u.fs.Put(ctx, up, u.again(ctx), u)
	}
	return c.world.Ended(u.at, err)
}

// localError says what is wrong with a source on this computer.
func localError(name string, err error) error {
	e := &peer.Error{Path: name, Kind: peer.Other, Err: err}
	var inner *fs.PathError
	if errors.As(err, &inner) {
		e.Err = inner.Err
	}
	if errors.Is(err, fs.ErrNotExist) {
		e.Kind, e.Err = peer.NotFound, errors.New("there is no such file or folder here")
	}
	return e
}

// Writable says why a share can't be changed by this peer.
func Writable(at Place) error {
	if at.Access.Right >= share.Full {
		return nil
	}
	if at.Access.Login >= share.Full {
		return &peer.Error{Path: at.Label(), Kind: peer.Denied, Err: errors.New("your right to change this share is suspended: you may only read it"),
			Hint: "much of it was changed in a short time; its owner can see what, and let you go on with peerd share resume"}
	}
	return &peer.Error{Path: at.Label(), Kind: peer.Denied, Err: errors.New("you may only read this share"),
		Hint: `whoever knows its other password may write: run "peerd login ` + at.Label() + `"`}
}

// Target reports whether to is a folder to put things into. If it is nothing, the folder that it shall lie in must be there.
func Target(ctx context.Context, f *remote.FS, to share.Path, into bool) (bool, error) {
	if to.IsRoot() {
		return true, nil
	}
	e, err := f.Stat(ctx, to)
	switch {
	case err == nil && e.Kind == share.Dir:
		return true, nil
	case err == nil && into:
		return false, &peer.Error{Path: f.Full(to), Kind: peer.Usage, Err: errors.New("it is no folder")}
	case err == nil:
		return false, nil
	case peer.KindOf(err) != peer.NotFound:
		return false, err
	case into:
		return false, &peer.Error{Path: f.Full(to), Kind: peer.NotFound, Err: errors.New("there is no such folder"), Hint: "make it with peerd mkdir"}
	case to.Dir().IsRoot():
		return false, nil
	}
	e, err = f.Stat(ctx, to.Dir())
	if err == nil && e.Kind != share.Dir || peer.KindOf(err) == peer.NotFound {
		return false, &peer.Error{Path: f.Full(to.Dir()), Kind: peer.NotFound, Err: errors.New("there is no such folder"), Hint: "make it with peerd mkdir"}
	}
	return false, err
}

// look takes in what stands where the source goes.
func (u *upload) look(ctx context.Context, dir bool) error {
	u.there = make(map[string]share.Entry)
	e, err := u.fs.Stat(ctx, u.to)
	switch {
	case peer.KindOf(err) == peer.NotFound:
		return nil
	case err != nil:
		return err
	}
	u.there[u.to.String()] = e
	if !dir || e.Kind != share.Dir {
		return nil
	}
	for e, err := range u.fs.WalkOn(ctx, u.to, patience) {
		if err != nil {
			return err
		}
		u.there[e.Path.String()] = e
	}
	return nil
}

// all yields what is to be put.
func (u *upload) all(ctx context.Context) iter.Seq2[remote.PutItem, error] {
	return func(yield func(remote.PutItem, error) bool) {
		e, err := u.files.Stat(ctx, u.from)
		if err != nil {
			yield(remote.PutItem{}, err)
			return
		}
		if e.Kind != share.Dir {
			if it, ok := u.item(e); ok {
				yield(it, nil)
			}
			return
		}
		// Files bring their folders with them, so that only those that are empty are named: they wait for what comes next.
		held := remote.PutItem{}
		if it, ok := u.item(e); ok {
			held = it
		}
		for e, err := range u.files.Walk(ctx, u.from) {
			if err != nil {
				yield(remote.PutItem{}, u.named(err, e))
				return
			}
			it, ok := u.item(e)
			if !ok {
				continue
			}
			if _, below := it.Path.Below(held.Path); !below && held.Number != 0 && !yield(held, nil) {
				return
			}
			if held = (remote.PutItem{}); it.Dir {
				held = it
			} else if !yield(it, nil) {
				return
			}
		}
		if held.Number != 0 {
			yield(held, nil)
		}
	}
}

// again yields what changed since it was named, as it is now.
func (u *upload) again(ctx context.Context) iter.Seq2[remote.PutItem, error] {
	all := u.late
	u.late, u.sizes, u.had = nil, 0, 0
	return func(yield func(remote.PutItem, error) bool) {
		for _, e := range all {
			now, err := u.files.Stat(ctx, e.Path)
			if err != nil || now.Kind != share.File || now.Size == e.Size && now.ModTime.Equal(e.ModTime) {
				to := u.destination(e.Entry)
				u.fail(e.Entry, to, located(e.err, u.fs.Full(to)))
				continue
			}
			u.mu.Lock()
			u.sum.TotalFiles--
			u.sum.TotalBytes -= e.Size
			u.mu.Unlock()
			if it, ok := u.item(now); ok && !yield(it, nil) {
				return
			}
		}
	}
}

// fresh is how long ago a file must have changed for its size and time to tell that another with the same is the same: two
// that are written within one tick of the system's clock, some milliseconds, have the same time.
const fresh = 10 * time.Second

// item makes a local entry one to put, unless it is there already or can't be put.
func (u *upload) item(e share.Entry) (remote.PutItem, bool) {
	to := u.to
	below, _ := e.Path.Below(u.from)
	for _, name := range below {
		next, err := to.Join(name)
		if err == nil {
			err = share.CheckCreate(name)
		}
		if err != nil {
			u.fail(e, to, &peer.Error{Path: u.name(e), Kind: peer.Usage, Err: err, Hint: "not every computer can hold such a name"})
			return remote.PutItem{}, false
		}
		to = next
	}
	was, there := u.there[to.String()]
	if e.Kind == share.Dir {
		if there && was.Kind == share.Dir {
			return remote.PutItem{}, false
		}
		return u.put(e, to, remote.PutItem{Path: to, Dir: true})
	}
	u.mu.Lock()
	u.moves++
	u.sum.TotalFiles++
	u.sum.TotalBytes += e.Size
	u.mu.Unlock()
	it := remote.PutItem{Path: to, Size: e.Size, ModTime: e.ModTime, Open: func(ctx context.Context) (share.OpenFile, error) {
		return u.files.Open(ctx, e.Path)
	}}
	if runtime.GOOS != "windows" { // which has no such bit
		it.Exec = &e.Exec
	}
	switch {
	case !there:
		return u.put(e, to, it)
	case was.Kind == share.File && was.Size == e.Size && was.ModTime.Equal(e.ModTime):
		if time.Since(e.ModTime) < fresh {
			if it.Base = (change.Base{}); u.req.Force {
				it.Base.Version = was.Version
			}
			return u.put(e, to, it) // and if the bytes are the same, the owner leaves its own as it is
		}
		u.mu.Lock()
		defer u.mu.Unlock()
		u.moves++
		u.sum.Files++
		u.sum.Bytes += e.Size
		u.sum.Had += e.Size
		return remote.PutItem{}, false
	case was.Kind == share.Dir:
		u.fail(e, to, &peer.Error{Path: u.fs.Full(to), Kind: peer.Conflict, Err: errors.New("a folder is in the way")})
		return remote.PutItem{}, false
	case !u.req.Force:
		u.fail(e, to, &peer.Error{Path: u.fs.Full(to), Kind: peer.Conflict, Err: errors.New("it exists already and is different"), Hint: "use -f to replace it; what is there stays as a version"})
		return remote.PutItem{}, false
	}
	it.Base = change.Base{Version: was.Version}
	return u.put(e, to, it)
}

// put gives an item its number, which is the same in every try.
func (u *upload) put(e share.Entry, to share.Path, it remote.PutItem) (remote.PutItem, bool) {
	sum := sha256.Sum256([]byte(to.String()))
	it.Number = max(binary.BigEndian.Uint64(sum[:8]), 1)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.items[it.Number] = e
	return it, true
}

// name is a local entry in messages.
func (u *upload) name(e share.Entry) string {
	return filepath.Join(u.real, filepath.FromSlash(e.Path.String()))
}

// named gives an error of the local folder the name that the user has for it.
func (u *upload) named(err error, e share.Entry) error {
	var inner *peer.Error
	if !errors.As(err, &inner) {
		return err
	}
	name := filepath.Join(u.real, filepath.FromSlash(inner.Path))
	if inner.Path == "" {
		name = u.name(e)
	}
	return &peer.Error{Op: inner.Op, Path: name, Kind: inner.Kind, Err: inner.Err, Hint: inner.Hint}
}

// skipped tells of what is left out.
func (u *upload) skipped(path string, why error) {
	if strings.HasPrefix(path, share.Reserved) {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	ev := u.sum
	ev.Event, ev.From = control.CopySkipped, filepath.Join(u.real, filepath.FromSlash(path))
	ev.Error = control.FromError(&peer.Error{Path: ev.From, Kind: peer.Other, Err: why})
	u.event(ev)
}

// fail tells of an item that could not be put.
func (u *upload) fail(e share.Entry, to share.Path, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.moves++
	if u.failed++; u.first == nil {
		u.first = err
	}
	if e.Kind == share.Dir {
		u.failedDirs++
	}
	ev := u.aboutUp(control.CopyError, e, to)
	ev.Error = control.FromError(err)
	u.event(ev)
}

// aboutUp is an event about an item. u.mu is held.
func (u *upload) aboutUp(event string, e share.Entry, to share.Path) control.CopyEvent {
	ev := u.sum
	ev.Event, ev.Size, ev.From = event, e.Size, u.name(e)
	ev.To = control.Ref{Peer: u.at.Ref.Peer, Share: u.at.Ref.Share, Path: to.String()}
	return ev
}

// Put takes what became of an item; see [remote.PutReport].
func (u *upload) Put(number uint64, c remote.Changed) {
	u.mu.Lock()
	e, ok := u.items[number]
	delete(u.items, number)
	u.mu.Unlock()
	if !ok {
		return
	}
	to := u.destination(e)
	switch {
	case peer.KindOf(c.Err) == peer.Conflict && e.Kind == share.File && u.tries < maxTries:
		u.late = append(u.late, late{e, c.Err})
		return
	case c.Err != nil:
		u.fail(e, to, located(c.Err, u.fs.Full(to)))
		return
	case c.Conflict:
		u.conflict(e, c.Entry.Path, to)
		return
	case e.Kind == share.Dir:
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.moves++
	u.sum.Files++
	if u.req.Each {
		u.event(u.aboutUp(control.CopyFile, e, to))
	}
}

// conflict tells that an item lies beside its place, which had moved on.
func (u *upload) conflict(e share.Entry, beside, to share.Path) {
	err := &peer.Error{Path: u.fs.Full(to), Kind: peer.Conflict, Err: errors.New("it changed meanwhile"),
		Hint: fmt.Sprintf("yours is kept beside it as %s", beside.Base())}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.moves++
	if u.failed++; u.first == nil {
		u.first = err
	}
	ev := u.aboutUp(control.CopyError, e, beside)
	ev.Conflict, ev.Error = true, control.FromError(err)
	u.event(ev)
}

// destination is where an item goes.
func (u *upload) destination(e share.Entry) share.Path {
	to := u.to
	below, _ := e.Path.Below(u.from)
	for _, name := range below {
		to, _ = to.Join(name) // it was checked before it was put
	}
	return to
}

// located gives an error of an item its name.
func located(err error, name string) error {
	var e *peer.Error
	if !errors.As(err, &e) {
		return err
	}
	return &peer.Error{Op: e.Op, Path: name, Kind: e.Kind, Err: e.Err, Hint: e.Hint}
}

// Sums takes what the owner has verified in all.
func (u *upload) Sums(bytes, had int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.moves++
	u.sum.Waiting = ""
	u.sum.Bytes += bytes - u.sizes
	u.sum.Had += had - u.had
	u.sizes, u.had = bytes, had
}

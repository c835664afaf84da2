package owners

import (
	"context"
	"fmt"
	"io"
	"iter"
	"sync"
	"time"

	"github.com/peerd/peerd/cmd/internal/daemon/copying"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/remote"
	"github.com/peerd/peerd/share/vfs"
	"github.com/peerd/peerd/share/watch"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/fetch"
)

// keptTime is how long it may take to read what is kept here, while the owner is away.
const keptTime = 45 * time.Millisecond

// lanes is how many connections to an owner what is read comes on: while what one of them brings is decrypted, hashed or kept, others bring
// more. Those who copy have more asked for at a time, and two are enough for them. With the first connection these are all that
// [host.MaxLanes] lets a peer have.
const lanes = 3

// Remote is a share at its owner. It is safe for concurrent use.
type Remote struct {
	world   *World
	contact *contact
	at      copying.Place
	fs      *remote.FS

	mu      sync.Mutex
	refused bool        // the owner denied the right, and gave none since
	last    share.Right // that the owner gave
	fetcher *fetch.Fetcher
	closed  bool
}

var _ vfs.Remote = (*Remote)(nil)

func newRemote(w *World, c *contact, at copying.Place) *Remote {
	return &Remote{world: w, contact: c, at: at, fs: w.cfg.Client.FS(at.Access, at.Label()), last: at.Access.Right}
}

// close ends what fetches.
func (r *Remote) close() {
	r.mu.Lock()
	f := r.fetcher
	r.fetcher, r.closed = nil, true
	r.mu.Unlock()
	if f != nil {
		f.Close()
	}
}

// Owner is whose share it is.
func (r *Remote) Owner() peer.ID { return r.at.Peer.ID }

// ID is the share's.
func (r *Remote) ID() share.ID { return r.at.Access.Share }

// Label is how messages call the share.
func (r *Remote) Label() string { return r.at.Label() }

// Away reports whether the owner is known to be away.
func (r *Remote) Away() bool { return r.contact.away() }

// Right is what this peer may do, by the last word of the owner.
func (r *Remote) Right() share.Right {
	a, held := r.world.cfg.Client.Held(r.at.Peer.ID, r.at.Access.Name)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case held && a.Share != r.at.Access.Share: // another share has the name now
		return share.None
	case held:
		r.last, r.refused = a.Right, false
	case r.refused:
		return share.None
	}
	return r.last
}

// regain takes in that the owner gave a right anew.
func (r *Remote) regain(right share.Right) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last, r.refused = right, false
}

// AskRight asks the owner which right there is now: who may only read would learn that there is a higher one when its grant is over.
func (r *Remote) AskRight(ctx context.Context) {
	if r.contact.away() {
		return
	}
	a, err := r.world.cfg.Client.Ask(ctx, r.at.Peer.ID, r.at.Access.Name)
	if err == nil && a.Share == r.at.Access.Share {
		r.regain(a.Right)
	}
}

// begin looks whether the owner is there, and gives a context that ends when it is not any more.
func (r *Remote) begin(ctx context.Context) (context.Context, func(), error) {
	if r.contact.away() {
		return nil, nil, awayError(r.Label(), r.contact.since())
	}
	ctx, end := r.contact.with(ctx)
	return ctx, end, nil
}

// met says what an error of the owner means. A right that it denies is looked at anew in the background.
func (r *Remote) met(ctx context.Context, err error) error {
	if peer.KindOf(err) == peer.Denied && ctx.Err() == nil {
		r.mu.Lock()
		first := !r.refused
		r.refused = true
		r.mu.Unlock()
		if first {
			r.world.tasks.Go(r.ask)
		}
	}
	return r.contact.met(ctx, r.Label(), err)
}

// ask asks the owner which right there is.
func (r *Remote) ask() {
	ctx, cancel := context.WithTimeout(r.world.ctx, 15*time.Second)
	defer cancel()
	if a, err := r.world.cfg.Client.Access(ctx, r.at.Peer.ID, r.at.Access.Name); err == nil && a.Share == r.at.Access.Share {
		r.regain(a.Right)
	}
	r.world.Tell()
}

// call makes one call to the owner.
func call[T any](ctx context.Context, r *Remote, do func(context.Context) (T, error)) (T, error) {
	ctx, end, err := r.begin(ctx)
	if err != nil {
		var none T
		return none, err
	}
	defer end()
	v, err := do(ctx)
	return v, r.met(ctx, err)
}

// each makes a call that has many answers.
func each[T any](ctx context.Context, r *Remote, do func(context.Context) iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		ctx, end, err := r.begin(ctx)
		if err != nil {
			var none T
			yield(none, err)
			return
		}
		defer end()
		for v, err := range do(ctx) {
			if !yield(v, r.met(ctx, err)) {
				return
			}
		}
	}
}

// Stat tells of one file or folder.
func (r *Remote) Stat(ctx context.Context, p share.Path) (share.Entry, error) {
	return call(ctx, r, func(ctx context.Context) (share.Entry, error) { return r.fs.Stat(ctx, p) })
}

// List yields what a folder holds.
func (r *Remote) List(ctx context.Context, p share.Path) iter.Seq2[share.Entry, error] {
	return each(ctx, r, func(ctx context.Context) iter.Seq2[share.Entry, error] { return r.fs.List(ctx, p) })
}

// Lists yields what many folders hold.
func (r *Remote) Lists(ctx context.Context, folders <-chan share.Path, most int) iter.Seq2[remote.Listed, error] {
	return each(ctx, r, func(ctx context.Context) iter.Seq2[remote.Listed, error] { return r.fs.Lists(ctx, folders, most) })
}

// Walk yields all below a folder.
func (r *Remote) Walk(ctx context.Context, p share.Path) iter.Seq2[share.Entry, error] {
	return each(ctx, r, func(ctx context.Context) iter.Seq2[share.Entry, error] { return r.fs.Walk(ctx, p) })
}

// Watch yields what changes.
func (r *Remote) Watch(ctx context.Context, p share.Path, after watch.Cursor) iter.Seq2[remote.Event, error] {
	return each(ctx, r, func(ctx context.Context) iter.Seq2[remote.Event, error] { return r.fs.Watch(ctx, p, after) })
}

// Put brings files.
func (r *Remote) Put(ctx context.Context, items iter.Seq2[remote.PutItem, error], done func(uint64, remote.Changed)) error {
	_, err := call(ctx, r, func(ctx context.Context) (struct{}, error) {
		up := r.world.cfg.Uploads.Begin(r.at.Peer.ID, "tree\x00"+r.at.Access.Share.String())
		defer up.Close()
		k := &keeping{remote: r, open: make(map[uint64]remote.PutItem)}
		return struct{}{}, r.fs.Put(ctx, up, k.items(items), report(func(number uint64, c remote.Changed) {
			k.done(ctx, number, c)
			done(number, c)
		}))
	})
	return err
}

// Ahead sends what there is of a file that is still written. That an owner does not take it says nothing of the right to the share.
func (r *Remote) Ahead(ctx context.Context, number uint64, p share.Path, next func(context.Context) (remote.Window, bool)) error {
	ctx, end, err := r.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	up := r.world.cfg.Uploads.Begin(r.at.Peer.ID, fmt.Sprintf("ahead\x00%s\x00%d", r.at.Access.Share, number))
	defer up.Close()
	return r.fs.Ahead(ctx, up, number, p, next)
}

// keptSize is the size, in bytes, of the largest file that is kept in memory once its owner has it: who saved it reads it next.
const keptSize = 8 << 20

// keeping keeps what was put as if it had been read.
type keeping struct {
	remote *Remote

	mu   sync.Mutex
	open map[uint64]remote.PutItem
}

// items passes on what is put.
func (k *keeping) items(items iter.Seq2[remote.PutItem, error]) iter.Seq2[remote.PutItem, error] {
	return func(yield func(remote.PutItem, error) bool) {
		for it, err := range items {
			if err == nil && !it.Dir && it.Size > 0 && it.Size <= keptSize {
				k.mu.Lock()
				k.open[it.Number] = it
				k.mu.Unlock()
			}
			if !yield(it, err) {
				return
			}
		}
	}
}

// done keeps a file that is at its owner.
func (k *keeping) done(ctx context.Context, number uint64, c remote.Changed) {
	k.mu.Lock()
	it, ok := k.open[number]
	delete(k.open, number)
	k.mu.Unlock()
	l, err := transfer.LayoutOf(it.Size)
	if !ok || err != nil || c.Err != nil || c.Entry.Kind != share.File || c.Entry.Size != it.Size {
		return
	}
	f, err := it.Open(ctx)
	if err != nil {
		return
	}
	defer f.Close()
	memory := k.remote.world.memory
	file := transfer.File{Owner: k.remote.Owner(), Share: k.remote.ID(), Path: c.Entry.Path.Components(), Version: c.Entry.Version}.ID()
	for i := range l.Pieces() {
		b := memory.Buffer(int(l.Length(i)))
		if _, err := f.ReadAt(b, l.Offset(i)); err != nil && err != io.EOF {
			memory.Recycle(b)
			return
		}
		memory.Put(file, i, b).Release()
	}
}

// report tells what became of what is put.
type report func(uint64, remote.Changed)

// Put tells of one item.
func (f report) Put(number uint64, c remote.Changed) { f(number, c) }

// Sums is not needed.
func (report) Sums(int64, int64) {}

// Mkdir makes a folder.
func (r *Remote) Mkdir(ctx context.Context, p share.Path, parents bool) error {
	_, err := call(ctx, r, func(ctx context.Context) (struct{}, error) { return struct{}{}, r.fs.Mkdir(ctx, p, parents) })
	return err
}

// Move renames.
func (r *Remote) Move(ctx context.Context, from, to share.Path, base, toBase change.Base) (remote.Changed, error) {
	return call(ctx, r, func(ctx context.Context) (remote.Changed, error) { return r.fs.Move(ctx, from, to, base, toBase) })
}

// Copy copies at the owner.
func (r *Remote) Copy(ctx context.Context, from, to share.Path, toBase change.Base) (remote.Changed, error) {
	return call(ctx, r, func(ctx context.Context) (remote.Changed, error) { return r.fs.Copy(ctx, from, to, toBase) })
}

// Remove removes.
func (r *Remote) Remove(ctx context.Context, p share.Path, base change.Base, deep bool) iter.Seq2[remote.Changed, error] {
	return each(ctx, r, func(ctx context.Context) iter.Seq2[remote.Changed, error] { return r.fs.Remove(ctx, p, base, deep) })
}

// Lock tells others that a file is worked on.
func (r *Remote) Lock(ctx context.Context, p share.Path) iter.Seq2[*share.Lock, error] {
	return each(ctx, r, func(ctx context.Context) iter.Seq2[*share.Lock, error] { return r.fs.Lock(ctx, p) })
}

// source gives what fetches from the share.
func (r *Remote) source() *fetch.Fetcher {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fetcher == nil && !r.closed {
		r.fetcher = r.world.cfg.Fetch(r.world.ctx, r.at, 0, fetch.Options{Lanes: lanes, First: 1, Memory: r.world.memory})
	}
	return r.fetcher
}

// Prepare has what reading takes ready before somebody reads: connections, and memory.
func (r *Remote) Prepare(ctx context.Context) {
	if r.Owner() == r.world.self {
		return // nothing of it comes over the network
	}
	r.world.memory.Prepare()
	ctx, end, err := r.begin(ctx)
	if err != nil {
		return
	}
	defer end()
	for lane := range 1 + lanes {
		if r.world.cfg.Host.Connect(ctx, r.Owner(), lane) != nil {
			return // whoever reads is told why
		}
	}
}

// Touch sets when a file or folder was changed, and whether a file may be run.
func (r *Remote) Touch(ctx context.Context, p share.Path, base change.Base, modTime *time.Time, exec *bool) (remote.Changed, error) {
	return call(ctx, r, func(ctx context.Context) (remote.Changed, error) { return r.fs.Touch(ctx, p, base, modTime, exec) })
}

// Space is the room of the share's disk, as far as this peer may use it.
func (r *Remote) Space(ctx context.Context) (vfs.Space, error) {
	return call(ctx, r, func(ctx context.Context) (vfs.Space, error) {
		total, free, err := r.fs.Space(ctx)
		return vfs.Space{Total: total, Free: free}, err
	})
}

// Open opens the version of a file that e tells of.
func (r *Remote) Open(_ context.Context, e share.Entry) (vfs.Reader, error) {
	f := r.source()
	if f == nil {
		return nil, awayError(r.Label(), time.Time{})
	}
	h, err := f.Open(e.Path.Components(), transfer.State{Size: e.Size, ModTime: e.ModTime, Version: e.Version})
	if err != nil {
		return nil, err
	}
	return &reader{h, r}, nil
}

// reader reads one version of a file.
type reader struct {
	*fetch.File
	remote *Remote
}

// ReadAt reads. While the owner is known to be away, what is kept here has to do.
func (h *reader) ReadAt(ctx context.Context, b []byte, off int64) (n int, err error) {
	if n, ok := h.File.Here(b, off); ok { // most small reads: what waiting takes would cost more than they do
		return n, nil
	}
	err = h.read(ctx, func(ctx context.Context) error {
		n, err = h.File.ReadAt(ctx, b, off)
		return err
	})
	return n, err
}

// Lend lends what ReadAt would read.
func (h *reader) Lend(ctx context.Context, n, off int64) (parts [][]byte, done func(), err error) {
	err = h.read(ctx, func(ctx context.Context) error {
		parts, done, err = h.File.Lend(ctx, n, off)
		return err
	})
	return parts, done, err
}

// read has something read that may have to come from the owner.
func (h *reader) read(ctx context.Context, do func(context.Context) error) error {
	r := h.remote
	if r.contact.away() {
		short, cancel := context.WithTimeout(ctx, keptTime)
		defer cancel()
		err := do(short)
		if err != nil && short.Err() != nil && ctx.Err() == nil {
			err = awayError(r.Label(), r.contact.since())
		}
		return err
	}
	ctx, end := r.contact.with(ctx)
	defer end()
	if err := do(ctx); err != io.EOF {
		return r.met(ctx, err)
	}
	return io.EOF
}

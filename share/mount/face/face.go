//go:build linux || darwin

package face

import (
	"context"
	"log/slog"
	"os"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/mount/known"
	"github.com/peerd/peerd/share/mount/push"
	"github.com/peerd/peerd/share/vfs"
)

// maxName is the length of a name, in bytes. A longer one is refused without asking anybody.
const maxName = 255

// blockSize is what programs are told to read at once, in bytes.
const blockSize = 128 << 10

// Options say what is shown, and how.
type Options struct {
	Root     []string // a peer, or a peer and one of its shares; all without
	ReadOnly bool
	Log      *slog.Logger
}

// Face answers the kernel. What it does not answer itself, the embedded one does by ENOSYS.
type Face struct {
	fuse.RawFileSystem
	fs     *vfs.FS
	o      Options
	log    *slog.Logger
	owner  fuse.Owner
	since  time.Time // when it was mounted
	root   atomic.Uint64
	known  *known.Known
	open   handles
	notify *notifier
	pushes *push.Pusher

	listings listings
	unasked  bool // the kernel opens folders by itself
}

// New makes the face of a tree. Its changes are told to the kernel by [Face.Follow].
func New(fs *vfs.FS, o Options) *Face {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	f := &Face{
		RawFileSystem: fuse.NewDefaultRawFileSystem(),
		fs:            fs, o: o, log: o.Log, owner: fuse.Owner{Uid: uint32(os.Getuid()), Gid: uint32(os.Getgid())},
		since: time.Now(), known: known.New(fs),
	}
	f.notify, f.pushes = newNotifier(f), push.New(pushed{f})
	if len(o.Root) == 0 {
		f.known.Pin(vfs.Root)
	}
	return f
}

// Init learns what the kernel can, before it asks anything.
func (f *Face) Init(s *fuse.Server) { f.unasked = opensFolders(s.KernelSettings()) }

// String names the file system to go-fuse.
func (f *Face) String() string { return "peerd" }

// failed gives the status of an error, and logs what no program is to blame for.
func (f *Face) failed(op string, ino vfs.Ino, err error) fuse.Status {
	e := Errno(err)
	if e == syscall.EIO && f.log.Enabled(context.Background(), slog.LevelDebug) {
		f.log.Debug("a mounted file could not be used", "op", op, "path", peer.Quote(f.fs.Path(ino)), "err", err)
	}
	return fuse.Status(e)
}

// Panicked turns a fault in a handler into an error of that request alone.
func (f *Face) Panicked(what any) fuse.Status {
	f.log.Error("a mounted file could not be used", "panic", what, "stack", string(debug.Stack()))
	return fuse.EIO
}

// ino gives the node that the kernel means. The kernel's root is looked for each time: a share that was away may be another
// node now.
func (f *Face) ino(ctx context.Context, id uint64) (vfs.Ino, error) {
	if id != fuse.FUSE_ROOT_ID {
		return vfs.Ino(id), nil
	}
	if len(f.o.Root) == 0 {
		return vfs.Root, nil
	}
	a, err := f.fs.Walk(ctx, f.o.Root...)
	if err != nil {
		return 0, err
	}
	if old := f.root.Swap(uint64(a.Ino)); old != uint64(a.Ino) {
		f.known.Pin(a.Ino)
		f.known.Forget(vfs.Ino(old), 1)
		if old != 0 {
			f.notify.listing(a.Ino) // what it has is of another
		}
	}
	return a.Ino, nil
}

// pushed is a face as a [push.Pusher] sees it.
type pushed struct{ f *Face }

func (p pushed) ID(ino vfs.Ino) uint64               { return p.f.id(ino) }
func (p pushed) Caches(ino vfs.Ino, tag string) bool { return p.f.known.Caches(ino, tag) }

func (p pushed) Open(fh uint64) push.File {
	if h := p.f.open.get(fh); h != nil {
		return h
	}
	return nil
}

func (p pushed) Is(ctx context.Context, ino vfs.Ino, tag string) bool {
	a, err := p.f.fs.Attr(ctx, ino)
	return err == nil && a.Tag == tag
}

// id is the kernel's number of a node.
func (f *Face) id(ino vfs.Ino) uint64 {
	if len(f.o.Root) == 0 && ino == vfs.Root || uint64(ino) == f.root.Load() {
		return fuse.FUSE_ROOT_ID
	}
	return uint64(ino)
}

// writable says why something at a node can't be changed, or 0.
func (f *Face) writable(ctx context.Context, ino vfs.Ino) fuse.Status {
	if f.o.ReadOnly {
		return fuse.EROFS
	}
	a, err := f.fs.Attr(ctx, ino)
	switch {
	case err != nil:
		return f.failed("look at", ino, err)
	case a.Right == share.Read:
		f.fs.AskRight(ino)
		return fuse.EROFS
	case a.Right < share.Full:
		return fuse.EACCES
	}
	return fuse.OK
}

// changeable is writable for what may be open as h, and have no name any more: what was granted at its opening counts then.
func (f *Face) changeable(ctx context.Context, ino vfs.Ino, h *handle) fuse.Status {
	if h != nil && f.known.IsGone(ino) && h.right == share.Full && !f.o.ReadOnly {
		return fuse.OK
	}
	return f.writable(ctx, ino)
}

// fill tells what a node is. Who may do what is told by the mode; the peer decides anyway.
func (f *Face) fill(a vfs.Attr, out *fuse.Attr) {
	mode := uint32(0o444)
	if a.Right == share.Full && !f.o.ReadOnly {
		mode |= 0o200
	}
	switch {
	case a.Dir:
		mode |= syscall.S_IFDIR | 0o111
	case a.Exec:
		mode |= syscall.S_IFREG | 0o111
	default:
		mode |= syscall.S_IFREG
	}
	*out = fuse.Attr{
		Ino: uint64(a.Ino), Mode: mode, Nlink: 1, Size: uint64(a.Size), Blocks: uint64(a.Size+511) / 512,
		Owner: f.owner, Blksize: blockSize,
	}
	if a.Dir && (a.ModTime.IsZero() || a.ModTime.Unix() == 0) { // of which nobody says when
		a.ModTime = f.since
	}
	out.SetTimes(&a.ModTime, &a.ModTime, &a.ModTime)
	if f.known.IsGone(a.Ino) {
		out.Nlink = 0
	}
}

// entry tells the kernel of a node by a name; it knows both from now on.
func (f *Face) entry(a vfs.Attr, at known.Place, turn uint64, out *fuse.EntryOut) {
	fresh := f.known.Told(a, at, turn)
	f.renew(a)
	out.NodeId = uint64(a.Ino)
	f.fill(a, &out.Attr)
	out.SetEntryTimeout(fresh)
	out.SetAttrTimeout(fresh)
}

// Lookup finds a name in a folder.
func (f *Face) Lookup(cancel <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if len(name) > maxName {
		return fuse.Status(syscall.ENAMETOOLONG)
	}
	c := newCall(cancel, h.Pid)
	defer c.end()
	turn := f.known.Now()
	parent, err := f.ino(c, h.NodeId)
	if err != nil {
		return f.failed("look up", parent, err)
	}
	a, err := f.fs.Lookup(c, parent, name)
	if err == nil {
		f.entry(a, known.Place{Parent: parent, Name: name}, turn, out)
		return fuse.OK
	}
	if peer.KindOf(err) != peer.NotFound {
		return f.failed("look up", parent, err)
	}
	dir, err := f.fs.Attr(c, parent)
	if err != nil {
		return fuse.ENOENT
	}
	out.SetEntryTimeout(f.known.Missed(known.Place{Parent: parent, Name: name}, turn, dir.Fresh)) // node 0: there is no such name
	return fuse.OK
}

// Forget takes back what Lookup and its like gave.
func (f *Face) Forget(id, n uint64) {
	if id != fuse.FUSE_ROOT_ID {
		f.known.Forget(vfs.Ino(id), n)
	}
}

// OnUnmount lets go of all that the kernel held, and closes what it did not.
func (f *Face) OnUnmount() {
	for _, h := range f.open.removeAll() {
		f.release(h)
	}
	f.known.ForgetAll()
}

// GetAttr tells what a node is. One that has no name any more is what those see that have it open.
func (f *Face) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	c := newCall(cancel, in.Pid)
	defer c.end()
	ino, err := f.ino(c, in.NodeId)
	if h, ok := f.known.Opener(ino).(*handle); ok && f.gone(ino) {
		f.attr(f.opening(h), out)
		return fuse.OK
	}
	if err == nil {
		var a vfs.Attr
		if a, err = f.fs.Attr(c, ino); err == nil {
			f.attr(a, out)
			return fuse.OK
		}
	}
	if in.NodeId == fuse.FUSE_ROOT_ID { // what is mounted on must stay a folder, or nobody can unmount it
		f.attr(vfs.Attr{Ino: vfs.Root, Dir: true, Right: share.Read, Fresh: time.Second}, out)
		return fuse.OK
	}
	return f.failed("look at", ino, err)
}

// gone reports whether a node that is open has no name any more.
func (f *Face) gone(ino vfs.Ino) bool {
	if !f.known.IsGone(ino) && f.fs.Path(ino) != "" {
		return false
	}
	f.known.Gone(ino)
	return true
}

// opening tells of an open file. One that was removed lies in no share that could say who may do what.
func (f *Face) opening(h *handle) vfs.Attr {
	a := h.file.Attr()
	if f.known.IsGone(h.ino) {
		a.Right = h.right
	}
	return a
}

func (f *Face) attr(a vfs.Attr, out *fuse.AttrOut) {
	f.renew(a)
	f.fill(a, &out.Attr)
	out.SetTimeout(min(a.Fresh, known.Trust))
}

// renew has the kernel read a folder anew that it read long ago.
func (f *Face) renew(a vfs.Attr) {
	if a.Dir && f.known.Overdue(a.Ino) {
		f.notify.listing(a.Ino)
	}
}

// Access says what may be done, of what the right allows.
func (f *Face) Access(cancel <-chan struct{}, in *fuse.AccessIn) fuse.Status {
	c := newCall(cancel, in.Pid)
	defer c.end()
	ino, err := f.ino(c, in.NodeId)
	if err != nil {
		return f.failed("look at", ino, err)
	}
	a, err := f.fs.Attr(c, ino)
	switch {
	case err != nil:
		return f.failed("look at", ino, err)
	case in.Mask&fuse.W_OK != 0 && (f.o.ReadOnly || a.Right == share.Read):
		return fuse.EROFS
	case in.Mask&fuse.W_OK != 0 && a.Right < share.Full, in.Mask&fuse.X_OK != 0 && !a.Dir && !a.Exec:
		return fuse.EACCES
	}
	return fuse.OK
}

// StatFs tells of the room in the share that a node is in.
func (f *Face) StatFs(cancel <-chan struct{}, in *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	c := newCall(cancel, in.Pid)
	defer c.end()
	const block = 4096
	out.Bsize, out.Frsize, out.NameLen, out.Files, out.Ffree = block, block, maxName, 1<<32, 1<<32
	ctx, end := context.WithTimeout(c, time.Second) // df asks all there are, and one that is away shall not stop it
	defer end()
	if ino, err := f.ino(ctx, in.NodeId); err == nil {
		if s, err := f.fs.Space(ctx, ino); err == nil {
			out.Blocks, out.Bfree = uint64(max(s.Total, 0))/block, uint64(max(s.Free, 0))/block
			out.Bavail = out.Bfree
		}
	}
	return fuse.OK
}

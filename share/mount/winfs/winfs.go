//go:build windows

// Package winfs shows a tree to Windows by WinFsp, which its user installs; peerd needs no cgo for it. WinFsp knows files by
// their paths, so each request walks the tree from its root, which is in memory. It can't interrupt a request: each has a bound.
package winfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/winfsp/cgofuse/fuse"
	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs"
)

// patience is how long a request may take. No peer that answers takes so long.
const patience = 20 * time.Second

// Options say what is shown, and how.
type Options struct {
	Root     []string
	ReadOnly bool
	Log      *slog.Logger
	// Errno gives what cgofuse knows an error as, above 0; 0 for nil.
	Errno func(error) int
}

// Installed reports whether WinFsp is there.
func Installed() bool { return library() != "" }

// library is WinFsp's library, "" if there is none.
func library() string {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, `SOFTWARE\WinFsp`, registry.QUERY_VALUE|registry.WOW64_32KEY)
	if err != nil {
		return ""
	}
	defer key.Close()
	dir, _, err := key.GetStringValue("InstallDir")
	if err != nil || !filepath.IsAbs(dir) {
		return ""
	}
	name := map[string]string{"amd64": "winfsp-x64.dll", "arm64": "winfsp-a64.dll", "386": "winfsp-x86.dll"}[runtime.GOARCH]
	return filepath.Join(dir, "bin", name)
}

// Mount is a mounted tree.
type Mount struct {
	host *fuse.FileSystemHost
	done chan struct{}
}

// Done is closed when it is mounted no more.
func (m *Mount) Done() <-chan struct{} { return m.done }

// Unmount ends it, and reports whether WinFsp could.
func (m *Mount) Unmount() bool { return m.host.Unmount() }

// New mounts on a drive, such as P:, or on a folder that is not there yet.
func New(ctx context.Context, fs *vfs.FS, where string, o Options) (*Mount, error) {
	// cgofuse asks for the library by its name, which may stand for a file beside this program, or wherever it was started; what is
	// loaded already comes first.
	if _, err := windows.LoadDLL(library()); err != nil {
		return nil, fmt.Errorf("WinFsp: %w", err)
	}
	f := &face{fs: fs, o: o, ready: make(chan struct{}), open: map[uint64]*vfs.File{}}
	m := &Mount{host: fuse.NewFileSystemHost(f), done: make(chan struct{})}
	m.host.SetCapReaddirPlus(true)
	args := []string{"-o", "uid=-1,gid=-1,volname=peerd,FileSystemName=peerd"}
	if o.ReadOnly {
		args = append(args, "-o", "ro")
	}
	failed := make(chan error, 1)
	go func() {
		defer close(m.done)
		defer func() {
			if r := recover(); r != nil { // that is how cgofuse says that WinFsp is missing
				failed <- fmt.Errorf("%v", r)
			}
		}()
		if !m.host.Mount(where, args) {
			failed <- errors.New("WinFsp refused")
		}
	}()
	select {
	case <-f.ready:
	case err := <-failed:
		return nil, err
	case <-m.done:
		return nil, errors.New("WinFsp refused")
	case <-ctx.Done():
		m.host.Unmount()
		return nil, ctx.Err()
	}
	living, stop := context.WithCancel(context.Background())
	go func() {
		<-m.done
		stop()
	}()
	go f.follow(living, m.host)
	return m, nil
}

// face answers WinFsp.
type face struct {
	fuse.FileSystemBase
	fs    *vfs.FS
	o     Options
	once  sync.Once
	ready chan struct{}

	mu   sync.Mutex
	last uint64
	open map[uint64]*vfs.File
}

// Init is told when it is mounted.
func (f *face) Init() { f.once.Do(func() { close(f.ready) }) }

// Destroy is told when it is no more, and closes what is open.
func (f *face) Destroy() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range f.open {
		_ = h.Close()
	}
	clear(f.open)
}

// do runs a request, whose error becomes what WinFsp knows; a fault in it is one of that request alone.
func (f *face) do(run func(ctx context.Context) error) (code int) {
	defer func() {
		if r := recover(); r != nil {
			f.o.Log.Error("a mounted file could not be used", "panic", r, "stack", string(debug.Stack()))
			code = -fuse.EIO
		}
	}()
	ctx, end := context.WithTimeout(context.Background(), patience)
	defer end()
	return -f.o.Errno(run(ctx))
}

// at walks to a path. The parts of one of WinFsp's begin with a slash.
func (f *face) at(ctx context.Context, path string) (vfs.Attr, error) {
	walk := append([]string{}, f.o.Root...)
	if path = strings.Trim(path, "/"); path != "" {
		walk = append(walk, strings.Split(path, "/")...)
	}
	return f.fs.Walk(ctx, walk...)
}

// parent walks to the folder that a path is in.
func (f *face) parent(ctx context.Context, path string) (vfs.Ino, string, error) {
	i := strings.LastIndexByte(path, '/')
	a, err := f.at(ctx, path[:max(i, 0)])
	return a.Ino, path[i+1:], err
}

// change is parent for who changes something.
func (f *face) change(ctx context.Context, path string) (vfs.Ino, string, error) {
	if f.o.ReadOnly {
		return 0, "", vfs.ErrReadOnly
	}
	return f.parent(ctx, path)
}

func (f *face) file(fh uint64) *vfs.File {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open[fh]
}

func (f *face) add(h *vfs.File) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	f.open[f.last] = h
	return f.last
}

// fill tells what a node is.
func (f *face) fill(a vfs.Attr, st *fuse.Stat_t) {
	mode := uint32(0o444)
	if a.Right == share.Full && !f.o.ReadOnly {
		mode |= 0o222
	}
	if a.Dir {
		mode |= fuse.S_IFDIR | 0o111
	} else if mode |= fuse.S_IFREG; a.Exec {
		mode |= 0o111
	}
	t := fuse.NewTimespec(a.ModTime)
	*st = fuse.Stat_t{
		Ino: uint64(a.Ino), Mode: mode, Nlink: 1, Size: a.Size, Blocks: (a.Size + 511) / 512, Blksize: 4096,
		Atim: t, Mtim: t, Ctim: t, Birthtim: t,
	}
}

// follow tells Windows what changed, so that its windows show it.
func (f *face) follow(ctx context.Context, host *fuse.FileSystemHost) {
	prefix := "//" + strings.Join(f.o.Root, "/")
	for c := range f.fs.Changes(ctx) {
		ino := c.Ino
		if c.What&vfs.Name != 0 {
			ino = c.Parent
		}
		path, ok := strings.CutPrefix(f.fs.Path(ino), prefix)
		if !ok || c.What&vfs.All != 0 {
			continue
		}
		path = "/" + strings.Trim(path, "/")
		if c.What&vfs.Name != 0 {
			f.named(ctx, host, c, strings.TrimSuffix(path, "/")+"/"+c.Name)
		}
		if c.What&vfs.Content != 0 {
			host.Notify(path, fuse.NOTIFY_TRUNCATE|fuse.NOTIFY_UTIME)
		}
	}
}

// named tells Windows of a name that is new, or gone.
func (f *face) named(ctx context.Context, host *fuse.FileSystemHost, c vfs.Change, path string) {
	short, end := context.WithTimeout(ctx, patience)
	defer end()
	a, err := f.fs.Lookup(short, c.Parent, c.Name)
	switch {
	case err != nil:
		host.Notify(path, fuse.NOTIFY_UNLINK)
	case a.Dir:
		host.Notify(path, fuse.NOTIFY_MKDIR)
	default:
		host.Notify(path, fuse.NOTIFY_CREATE)
	}
}

// readAll turns the rules of io.ReaderAt into those of WinFsp: the bytes that were read, none at the end.
func readAll(n int, err error) (int, error) {
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

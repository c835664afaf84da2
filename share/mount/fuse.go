//go:build linux || darwin

package mount

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share/mount/face"
	"github.com/peerd/peerd/share/mounted"
	"github.com/peerd/peerd/share/vfs"
)

// What the kernel is asked for: as much at once as it gives, and that the tree alone says when what it holds is true no more.
const (
	maxWrite      = 1 << 20
	maxReadAhead  = 1 << 20
	maxBackground = 64 // requests of its own, such as reading ahead
)

// busyFor is how long Unmount waits for those who use the mount, busyEvery how often it tries.
const (
	busyFor   = 2 * time.Second
	busyEvery = 50 * time.Millisecond
)

// Mount is a mounted tree.
type Mount struct {
	dir  string
	dev  string // see [mounted.Mount]; "" if the system did not tell
	log  *slog.Logger
	stop context.CancelFunc
	done chan struct{}
	away atomic.Bool // detached, whether or not somebody uses it still
}

// New mounts a tree on dir, which is made if only it is missing, and must be empty. What an earlier daemon left mounted there
// when it died is taken away first. The context is for the mounting alone: the mount stays until [Mount.Unmount], or until
// somebody unmounts it.
func New(ctx context.Context, fs *vfs.FS, dir string, o Options) (_ *Mount, err error) {
	if err := Available(); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := find(ctx, fs, o); err != nil {
		return nil, err
	}
	dir, made, err := prepare(dir, o)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil && made {
			_ = os.Remove(dir) // it is empty, or somebody uses it already
		}
	}()
	f := face.New(fs, face.Options{Root: o.Root, ReadOnly: o.ReadOnly, Log: o.Log})
	server, err := fuse.NewServer(f, dir, options(f, o))
	if err != nil {
		return nil, refused(dir, o, err)
	}
	living, stop := context.WithCancel(context.Background())
	m := &Mount{dir: dir, log: o.Log, stop: stop, done: make(chan struct{})}
	go f.Follow(living, server)
	go func() {
		defer close(m.done)
		defer stop()
		server.Serve()
	}()
	if err := server.WaitMount(); err != nil {
		_ = m.Unmount(ctx)
		return nil, refused(dir, o, err)
	}
	if on, ok := mounted.Top(dir); ok {
		m.dev = on.Dev
		readAhead(m.dev)
	}
	return m, nil
}

// options are those that go-fuse takes. Extended attributes are refused before they come here: each file that is listed would
// cost two more requests. No lock is passed on: they hold among the programs of this computer.
func options(f *face.Face, o Options) *fuse.MountOptions {
	m := &fuse.MountOptions{
		Name: "peerd", FsName: mounted.Source,
		MaxWrite: maxWrite, MaxReadAhead: maxReadAhead, MaxBackground: maxBackground,
		DisableXAttrs: true, DisableSplice: true, ExplicitDataCacheControl: true,
		AllowOther: o.AllowOther, ExtraCapabilities: fuse.CAP_ATOMIC_O_TRUNC | fuse.CAP_DIRECT_IO_ALLOW_MMAP,
		Logger: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug), PanicHandler: f.Panicked,
	}
	if o.AllowOther {
		m.Options = append(m.Options, "default_permissions")
	}
	if o.ReadOnly {
		m.Options = append(m.Options, "ro")
	}
	direct(m, o.ReadOnly)
	return m
}

// refused says why the system did not mount.
func refused(dir string, o Options, err error) error {
	hint := ""
	if o.AllowOther {
		hint = `others may look in only if /etc/fuse.conf says "user_allow_other"`
	}
	return &peer.Error{Op: "mount", Path: dir, Kind: peer.Other, Err: errors.New(strings.TrimSpace(err.Error())), Hint: hint}
}

// Dir is the folder that is mounted on, absolute.
func (m *Mount) Dir() string { return m.dir }

// Wait returns when nothing is mounted any more.
func (m *Mount) Wait() { <-m.done }

// Done is closed when nothing is mounted any more.
func (m *Mount) Done() <-chan struct{} { return m.done }

// Unmount takes the mount away. While programs use it, it waits for them, 2 s at most; then the mount disappears from their
// sight, and ends when they do. Once more it leaves alone what else was mounted on the folder since, and what was mounted over it
// is never taken away.
func (m *Mount) Unmount(ctx context.Context) error {
	late := time.NewTimer(busyFor)
	defer late.Stop()
	for !m.away.Load() {
		if on, ok := mounted.Top(m.dir); m.dev != "" && (!ok || on.Dev != m.dev) {
			if err := m.elsewhere(); err != nil {
				return err
			}
			m.away.Store(true) // somebody else unmounted it
			break
		}
		err := detach(m.dir, false)
		select {
		case <-m.done:
			return nil
		default:
		}
		if err == nil {
			m.away.Store(true)
			break
		}
		select {
		case <-m.done:
			return nil
		case <-time.After(busyEvery):
			continue
		case <-late.C:
		case <-ctx.Done():
		}
		m.log.Info("a mount is taken away from programs that use it", "dir", peer.Quote(m.dir), "err", err)
		if err := detach(m.dir, true); err != nil {
			return &peer.Error{Op: "unmount", Path: m.dir, Kind: peer.Other, Err: fmt.Errorf("it is in use: %w", err)}
		}
		m.away.Store(true)
		return nil
	}
	select {
	case <-m.done:
	case <-ctx.Done():
	case <-late.C: // a request that is answered late holds it
	}
	return nil
}

// elsewhere says where a mount is that is not what its folder shows: below something else, or where somebody moved it.
func (m *Mount) elsewhere() error {
	var moved error
	for _, o := range mounted.Ours() {
		switch {
		case o.Dev != m.dev:
		case o.Dir == m.dir:
			return covered(m.dir)
		default:
			moved = &peer.Error{Op: "umount", Path: m.dir, Kind: peer.Other, Err: errors.New("it was moved to " + peer.Quote(o.Dir)),
				Hint: `take it away there, as by "umount ` + o.Dir + `"`}
		}
	}
	return moved
}

//go:build linux || darwin

package push

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/peerd/peerd/share/vfs"
)

// mounted is a tree with one file, which is open, and the kernel that has it.
type mounted struct {
	cached string
	silent bool   // bytes never come
	is     func() // before it is said whether it is as it was
	why    error  // nobody waits for them any more
	reads  int
	stored []int64
	st     fuse.Status
}

const (
	ino = vfs.Ino(7)
	fh  = 3
)

func (m *mounted) ID(vfs.Ino) uint64                            { return uint64(ino) }
func (m *mounted) Open(uint64) File                             { return m }
func (m *mounted) Caches(_ vfs.Ino, tag string) bool            { return tag == m.cached }
func (m *mounted) Tag() string                                  { return "one" }
func (m *mounted) Node() vfs.Ino                                { return ino }
func (m *mounted) InodeNotify(uint64, int64, int64) fuse.Status { return fuse.OK }

func (m *mounted) Is(context.Context, vfs.Ino, string) bool {
	if m.is != nil {
		m.is()
	}
	return true
}

func (m *mounted) ReadAt(ctx context.Context, b []byte, _ int64) (int, error) {
	m.reads++
	if m.silent {
		<-ctx.Done()
		m.why = context.Cause(ctx)
		return 0, ctx.Err()
	}
	return len(b), nil
}

func (m *mounted) InodeNotifyStoreCache(_ uint64, off int64, _ []byte) fuse.Status {
	m.stored = append(m.stored, off)
	return m.st
}

// pushes has a part read often enough, and waits until that has its consequences.
func (m *mounted) pushes(p *Pusher, part uint64) {
	var r Reads
	for range often {
		p.Read(ino, fh, &r, part*Part, 4096)()
	}
	synctest.Wait()
}

func TestPusher(t *testing.T) {
	for name, c := range map[string]struct {
		with          func(m *mounted, p *Pusher)
		reads, stored int
	}{
		"a part that is read often":                  {func(*mounted, *Pusher) {}, 1, 1},
		"nothing is fetched of what somebody writes": {func(_ *mounted, p *Pusher) { p.hold(ino) }, 0, 0},
		"nor of what the kernel keeps nothing of":    {func(m *mounted, _ *Pusher) { m.cached = "" }, 0, 0},
		"somebody writes once it is here": {func(m *mounted, p *Pusher) {
			m.is = func() { _ = p.Write(context.Background(), ino) }
		}, 1, 0},
		"somebody opens what is other by then": {func(m *mounted, _ *Pusher) { m.is = func() { m.cached = "two" } }, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &mounted{cached: "one"}
				p := New(m)
				c.with(m, p)
				ctx, end := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() {
					defer close(done)
					p.Run(ctx, m)
				}()
				m.pushes(p, 5)
				if m.reads != c.reads || len(m.stored) != c.stored || c.stored > 0 && !slices.Equal(m.stored, []int64{5 * Part}) {
					t.Errorf("%d were fetched, and pushed is %v", m.reads, m.stored)
				}
				end()
				<-done
			})
		})
	}
}

// Who waits for a part in vain gives up soon, by himself: a time that is over would have programs that read give up as well.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mounted{cached: "one", silent: true}
		p := New(m)
		ctx, end := context.WithCancel(t.Context())
		go p.Run(ctx, m)
		began := time.Now()
		m.pushes(p, 0)
		time.Sleep(2 * patience)
		synctest.Wait()
		if m.why != context.Canceled || len(m.stored) > 0 {
			t.Errorf("it ended with %v after %v, and pushed %v", m.why, time.Since(began), m.stored)
		}
		end()
	})
}

// A kernel that takes none is asked once.
func TestNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mounted{cached: "one", st: fuse.ENOSYS}
		p := New(m)
		ctx, end := context.WithCancel(t.Context())
		go p.Run(ctx, m)
		m.pushes(p, 0)
		m.pushes(p, 1)
		if len(m.stored) != 1 || m.reads != 1 {
			t.Errorf("%d were fetched, and pushed is %v", m.reads, m.stored)
		}
		end()
	})
}

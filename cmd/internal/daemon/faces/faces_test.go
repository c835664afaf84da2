package faces

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/peerd/peerd/discovery/discoverytest"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/mount"
	"github.com/peerd/peerd/share/vfs"
	"github.com/peerd/peerd/share/vfs/vfstest"
)

// system mounts without a kernel.
type system struct {
	mu      sync.Mutex
	refuses error
	slow    chan struct{} // a mount is made once something comes out of it, if it is set
	mounted map[string]mount.Options
	done    map[string]chan struct{}
}

type folder struct {
	s   *system
	dir string
}

func (f folder) Done() <-chan struct{} {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	return f.s.done[f.dir]
}

func (f folder) Unmount(context.Context) error {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if _, ok := f.s.mounted[f.dir]; ok {
		delete(f.s.mounted, f.dir)
		close(f.s.done[f.dir])
	}
	return nil
}

func (s *system) mount(_ context.Context, dir string, o mount.Options) (Folder, error) {
	if s.slow != nil {
		<-s.slow
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuses != nil {
		return nil, s.refuses
	}
	s.mounted[dir], s.done[dir] = o, make(chan struct{})
	return folder{s, dir}, nil
}

// release finds one mount that no Table knows, and one that can't be taken away.
func (s *system) release(dir string) (bool, error) {
	switch dir {
	case "/lost":
		return true, nil
	case "/covered":
		return true, &peer.Error{Op: "umount", Path: dir, Kind: peer.Conflict}
	}
	return false, nil
}

func (s *system) dirs() (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for d := range s.mounted {
		all = append(all, d)
	}
	slices.Sort(all)
	return all
}

// table makes a Table of a workgroup in which anna offers docs.
func table(t *testing.T, state string, s *system) *Table {
	t.Helper()
	w := vfstest.NewWorld()
	w.Add("anna").Share("docs", share.Full).Write("f", nil)
	tree, err := vfs.New(w, vfs.Options{Dir: filepath.Join(state, "tree")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.Close() })
	tb, err := Open(Config{
		State: state, Tree: tree, Mount: s.mount, Release: s.release, Log: slog.New(slog.DiscardHandler),
		Find: func(_ context.Context, ref control.Ref) (Place, error) {
			switch ref.Peer {
			case "":
				return Place{}, nil
			case "anna":
				return Place{Peer: discoverytest.ID(1), Name: "anna", Root: strings.Split(strings.TrimPrefix(ref.String(), "//"), "/")}, nil
			}
			return Place{}, &peer.Error{Path: ref.String(), Kind: peer.NotFound}
		},
		Note: func(string, string, string, error) {}, Pin: func(peer.ID, string) {}, Away: func(peer.ID) bool { return true }, Shared: func() []string { return []string{"/srv"} },
	})
	if err != nil {
		t.Fatal(err)
	}
	return tb
}

func newSystem() *system {
	return &system{mounted: make(map[string]mount.Options), done: make(map[string]chan struct{})}
}

func mustMount(t *testing.T, tb *Table, req control.MountRequest) control.Mount {
	t.Helper()
	m, err := tb.Mount(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func ref(t *testing.T, s string) control.Ref {
	t.Helper()
	r, err := control.ParseRef(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// persisting is the state of a Table by which /a is mounted whenever the daemon runs.
func persisting(t *testing.T) string {
	t.Helper()
	state := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		tb := table(t, state, newSystem())
		mustMount(t, tb, control.MountRequest{Ref: ref(t, "//anna/docs"), Dir: "/a", Persist: true})
		tb.Close()
	})
	return state
}

// TestUnmountUnderWay: what is just being mounted is unmounted once it is, also when the daemon ends; who can't wait is told.
func TestUnmountUnderWay(t *testing.T) {
	state := persisting(t)
	for _, end := range []struct {
		name string
		by   func(t *testing.T, tb *Table) error
		took bool // it waits until the folder is mounted
	}{
		{"umount", func(t *testing.T, tb *Table) error { return tb.Unmount(t.Context(), "/a") }, true},
		{"close", func(_ *testing.T, tb *Table) error { tb.Close(); return nil }, true},
		{"umount, too slow", func(t *testing.T, tb *Table) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			err := tb.Unmount(ctx, "/a")
			if peer.KindOf(err) != peer.Busy {
				t.Errorf("who could not wait is told %v", err)
			}
			return nil
		}, false},
	} {
		t.Run(end.name, func(t *testing.T) {
			own := t.TempDir()
			if err := os.CopyFS(own, os.DirFS(state)); err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				s := newSystem()
				s.slow = make(chan struct{})
				tb := table(t, own, s)
				tb.Start()
				synctest.Wait()
				done := make(chan error, 1)
				go func() { done <- end.by(t, tb) }()
				time.Sleep(turnTime / 2)
				synctest.Wait()
				select {
				case err := <-done:
					if end.took {
						t.Errorf("it ended before the folder was mounted: %v", err)
					}
					done <- err
				default:
				}
				close(s.slow)
				if err := <-done; err != nil {
					t.Error(err)
				}
				synctest.Wait()
				if left := s.dirs(); (len(left) > 0) == end.took {
					t.Errorf("%q is mounted", left)
				}
				tb.Close()
				if left := s.dirs(); len(left) > 0 {
					t.Errorf("%q is mounted after Close", left)
				}
			})
		})
	}
}

// TestCloseWhileMounting: what is being mounted when the daemon ends is not left mounted, however long it takes.
func TestCloseWhileMounting(t *testing.T) {
	state := persisting(t)
	synctest.Test(t, func(t *testing.T) {
		s := newSystem()
		s.slow = make(chan struct{})
		tb := table(t, state, s)
		find := tb.cfg.Find
		tb.cfg.Find = func(ctx context.Context, r control.Ref) (Place, error) {
			if r.Share == "slow" {
				<-ctx.Done()
			}
			return find(ctx, r)
		}
		tb.Start()
		synctest.Wait()
		failed := make(chan error, 1)
		go func() {
			_, err := tb.Mount(t.Context(), control.MountRequest{Ref: ref(t, "//anna/slow"), Dir: "/slow"})
			failed <- err
		}()
		go func() {
			_, _ = tb.Mount(t.Context(), control.MountRequest{Ref: ref(t, "//anna/docs"), Dir: "/b"})
		}()
		synctest.Wait()
		time.AfterFunc(time.Minute, func() { close(s.slow) })
		tb.Close()
		if left := s.dirs(); len(left) > 0 {
			t.Errorf("%q is mounted after Close", left)
		}
		<-failed // it was looked for, and may be mounted and taken away again
		if err := tb.Unmount(t.Context(), "/a"); peer.KindOf(err) != peer.NotRunning {
			t.Errorf("an unmount after Close: %v", err)
		}
	})
}

// TestPersistOnceMounted: what is not mounted yet, and may never be, is not written down as what is to be mounted again.
func TestPersistOnceMounted(t *testing.T) {
	state := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		tb := table(t, state, newSystem())
		find, refuse := tb.cfg.Find, make(chan error)
		tb.cfg.Find = func(ctx context.Context, r control.Ref) (Place, error) {
			if r.Share == "slow" {
				return Place{}, <-refuse
			}
			return find(ctx, r)
		}
		done := make(chan error)
		go func() {
			_, err := tb.Mount(t.Context(), control.MountRequest{Ref: ref(t, "//anna/slow"), Dir: "/slow", Persist: true})
			done <- err
		}()
		synctest.Wait()
		mustMount(t, tb, control.MountRequest{Ref: ref(t, "//anna/docs"), Dir: "/a", Persist: true})
		refuse <- errors.New("no")
		if err := <-done; err == nil {
			t.Error("what was refused is mounted")
		}
		tb.Close()
	})
	synctest.Test(t, func(t *testing.T) {
		tb := table(t, state, newSystem())
		defer tb.Close()
		if list := tb.List(); len(list) != 1 || list[0].Dir != "/a" {
			t.Errorf("what persists: %+v", list)
		}
	})
}

// TestMountedAgain: where a program still uses what was unmounted there, the end of that is not the end of what is mounted there now.
func TestMountedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := table(t, t.TempDir(), newSystem())
		defer tb.Close()
		var made []used
		tb.cfg.Mount = func(context.Context, string, mount.Options) (Folder, error) {
			made = append(made, make(used))
			return made[len(made)-1], nil
		}
		for range 2 {
			if len(made) > 0 {
				if err := tb.Unmount(t.Context(), "/a"); err != nil {
					t.Fatal(err)
				}
			}
			mustMount(t, tb, control.MountRequest{Ref: ref(t, "//anna/docs"), Dir: "/a"})
		}
		close(made[0])
		synctest.Wait()
		if list := tb.List(); len(list) != 1 {
			t.Errorf("%+v", list)
		}
	})
}

// TestUnmountUnknown: what is mounted and not known any more is taken away too, what is known by its other names as well.
func TestUnmountUnknown(t *testing.T) {
	s := newSystem()
	tb := table(t, t.TempDir(), s)
	defer tb.Close()
	for dir, kind := range map[string]peer.Kind{"/lost": peer.Other, "/covered": peer.Conflict, "/nothing": peer.NotFound} {
		if err := tb.Unmount(t.Context(), dir); peer.KindOf(err) != kind || (err == nil) != (dir == "/lost") {
			t.Errorf("%s: %v", dir, err)
		}
	}
	dir, link := t.TempDir(), filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	mustMount(t, tb, control.MountRequest{Dir: dir, Persist: true})
	if err := tb.Unmount(t.Context(), link); err != nil || len(s.dirs()) > 0 || len(tb.List()) > 0 {
		t.Errorf("by a link: %v, %q is mounted", err, s.dirs())
	}
}

// used is a folder that programs still use after it was unmounted, until it is closed.
type used chan struct{}

func (u used) Done() <-chan struct{}         { return u }
func (u used) Unmount(context.Context) error { return nil }

// TestTable: mounts are made, listed, taken away, and those that persist are back in the next run.
func TestTable(t *testing.T) {
	state := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newSystem()
		tb := table(t, state, s)
		m := mustMount(t, tb, control.MountRequest{Ref: ref(t, "//anna/docs"), Dir: "/a", ReadOnly: true, Persist: true})
		if m.State != control.Mounted || m.Peer != discoverytest.ID(1).String() {
			t.Errorf("%+v", m)
		}
		if o := s.mounted["/a"]; !slices.Equal(o.Root, []string{"anna", "docs"}) || !o.ReadOnly || o.Away || len(o.Shared) != 1 {
			t.Errorf("it is mounted with %+v", o)
		}
		mustMount(t, tb, control.MountRequest{Dir: "/b", AllowOther: true})
		for _, bad := range []struct {
			req  control.MountRequest
			kind peer.Kind
		}{
			{control.MountRequest{Dir: "/a"}, peer.Usage}, {control.MountRequest{Dir: "c"}, peer.Usage}, {control.MountRequest{Dir: "/c/../d"}, peer.Usage},
			{control.MountRequest{Ref: ref(t, "//nobody"), Dir: "/c"}, peer.NotFound},
		} {
			if _, err := tb.Mount(t.Context(), bad.req); peer.KindOf(err) != bad.kind || err == nil {
				t.Errorf("%+v: %v", bad.req, err)
			}
		}
		list := tb.List()
		if len(list) != 2 || list[0].Dir != "/a" || !list[0].Away || list[1].Away || !list[1].AllowOther {
			t.Errorf("%+v", list)
		}
		_ = folder{s, "/b"}.Unmount(t.Context()) // by somebody else
		synctest.Wait()
		if list := tb.List(); len(list) != 1 {
			t.Errorf("what somebody else unmounted is listed: %+v", list)
		}
		tb.Close()
		if len(s.dirs()) > 0 {
			t.Errorf("%q is mounted after Close", s.dirs())
		}
		if _, err := tb.Mount(t.Context(), control.MountRequest{Dir: "/d"}); peer.KindOf(err) != peer.NotRunning {
			t.Errorf("a mount after Close: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := newSystem()
		s.refuses = errors.New("no such folder")
		tb := table(t, state, s)
		tb.Start()
		synctest.Wait()
		if list := tb.List(); len(list) != 1 || list[0].State != control.Waiting || list[0].Error == nil || !list[0].Persist {
			t.Errorf("%+v", list)
		}
		s.mu.Lock()
		s.refuses = nil
		s.mu.Unlock()
		time.Sleep(retryEvery)
		synctest.Wait()
		if o := s.mounted["/a"]; !slices.Equal(o.Root, []string{"anna", "docs"}) || !o.ReadOnly || !o.Away {
			t.Errorf("it is mounted with %+v", o)
		}
		if err := tb.Unmount(t.Context(), "/a"); err != nil {
			t.Error(err)
		}
		if err := tb.Unmount(t.Context(), "/a"); peer.KindOf(err) != peer.NotFound {
			t.Errorf("unmounted twice: %v", err)
		}
		tb.Close()
	})
	tb := table(t, state, newSystem())
	defer tb.Close()
	if list := tb.List(); len(list) != 0 {
		t.Errorf("after umount there is %+v", list)
	}
}

// TestNoFUSE: where nothing can be mounted it is served by WebDAV, until it is unmounted.
func TestNoFUSE(t *testing.T) {
	s := newSystem()
	s.refuses = &peer.Error{Op: "mount", Err: mount.ErrUnavailable, Hint: "install this"}
	tb := table(t, t.TempDir(), s)
	defer tb.Close()
	dir := filepath.Join(t.TempDir(), "a b")
	m := mustMount(t, tb, control.MountRequest{Ref: ref(t, "//anna"), Dir: dir})
	if m.State != control.ViaWebdav || m.Webdav == nil || !strings.HasPrefix(m.Webdav.URL, "http://127.0.0.1:") || len(m.Webdav.Commands) == 0 {
		t.Errorf("%+v", m)
	}
	if err := m.Error.Err(); err == nil || !strings.Contains(err.Error(), "install this") {
		t.Errorf("it does not say what is missing: %v", err)
	}
	if err := tb.Unmount(t.Context(), dir); err != nil {
		t.Error(err)
	}
	shared := t.TempDir()
	tb.cfg.Shared = func() []string { return []string{shared} }
	if m, err := tb.Mount(t.Context(), control.MountRequest{Ref: ref(t, "//anna"), Dir: filepath.Join(shared, "new")}); peer.KindOf(err) != peer.Usage {
		t.Errorf("in a shared folder: %+v, %v", m, err)
	}
	if _, err := os.Lstat(filepath.Join(shared, "new")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a mount that was refused left a folder there: %v", err)
	}
}

// TestState: what peerd did not write is refused.
func TestState(t *testing.T) {
	id := discoverytest.ID(1).String()
	for text, good := range map[string]bool{
		`{"mounts":[]}`:                        true,
		`{"mounts":[{"dir":"/a","ref":"//"}]}`: true,
		`{"mounts":[{"dir":"/a","ref":"//anna/docs","peer":"` + id + `","name":"anna"}]}`:   true,
		`{"mounts":[{"dir":"/a","ref":"//anna","peer":"` + id + `"}]}`:                      false,
		`{"mounts":[{"dir":"a","ref":"//"}]}`:                                               false,
		`{"mounts":[{"dir":"/a/../b","ref":"//"}]}`:                                         false,
		`{"mounts":[{"dir":"/a","ref":"//anna/docs"}]}`:                                     false,
		`{"mounts":[{"dir":"/a","ref":"//anna/docs/x","peer":"` + id + `","name":"anna"}]}`: false,
		`{"mounts":[{"dir":"/a","ref":"//anna","peer":"nobody","name":"anna"}]}`:            false,
		`nonsense`: false,
	} {
		state := t.TempDir()
		if err := os.WriteFile(filepath.Join(state, stateName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := (&Table{cfg: Config{State: state}}).load()
		if (err == nil) != good {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestSum(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	pending := []vfs.Pending{
		{Path: "//anna/docs/a", Bytes: 1, Since: at.Add(time.Minute)}, {Path: "//anna/docs2/b", Bytes: 10, Since: at}, {Path: "//berta/docs/c", Bytes: 100, Since: at},
	}
	for _, tc := range []struct {
		root  []string
		count int
		bytes int64
	}{{nil, 3, 111}, {[]string{"anna"}, 2, 11}, {[]string{"anna", "docs"}, 1, 1}, {[]string{"an"}, 0, 0}} {
		if s := Sum(pending, tc.root...); s.Count != tc.count || s.Bytes != tc.bytes || (s.Count > 0) == s.Oldest.IsZero() {
			t.Errorf("%q: %+v", tc.root, s)
		}
	}
}

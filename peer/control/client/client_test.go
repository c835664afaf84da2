package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/peer/control/client"
	"github.com/peerd/peerd/peer/control/controltest"
	"github.com/peerd/peerd/peer/control/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dial serves b and gives a client of it, and a function that stops the server.
func dial(t *testing.T, b control.Backend) (*client.Client, func()) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "run", "ctl.sock")
	l, err := server.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var served sync.WaitGroup
	served.Go(func() {
		if err := server.Serve(ctx, l, b, slog.New(slog.DiscardHandler)); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	stop := func() { cancel(); served.Wait() }
	c := client.New(socket)
	t.Cleanup(func() { c.Close(); stop() })
	return c, stop
}

func ref(t *testing.T, s string) control.Ref {
	t.Helper()
	r, err := control.ParseRef(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// answers makes every call of a Backend and writes down what came of it.
func answers(t *testing.T, b control.Backend) string {
	ctx := t.Context()
	var out strings.Builder
	note := func(call string, v any, err error) {
		text, jsonErr := json.Marshal(v)
		if jsonErr != nil {
			t.Error(jsonErr)
		}
		out.WriteString(call + " " + string(text))
		if err != nil {
			out.WriteString(" " + peer.KindOf(err).String() + ": " + err.Error())
		}
		out.WriteString("\n")
	}
	status, err := b.Status(ctx)
	note("status", status, err)
	peers, err := b.Peers(ctx, true)
	note("peers", peers, err)
	collect(note, "watch", b.WatchPeers(ctx))
	collect(note, "doctor", b.Doctor(ctx))
	for _, s := range []string{"//", "//anna", "//anna/docs", "//anna/docs/notes", "//anna/safe", "//anna/none", "//gone/x", "//nobody"} {
		collect(note, "list "+s, b.List(ctx, ref(t, s), false))
		collect(note, "list -R "+s, b.List(ctx, ref(t, s), true))
		collect(note, "find "+s, b.Find(ctx, ref(t, s), "*.txt"))
		entry, err := b.Stat(ctx, ref(t, s))
		note("stat "+s, entry, err)
		who, err := b.Whoami(ctx, ref(t, s))
		note("whoami "+s, who, err)
	}
	for _, span := range [][2]int64{{0, -1}, {4, 4}, {4, 400}, {400, 4}} {
		var text bytes.Buffer
		err := b.Cat(ctx, ref(t, "//anna/docs/plan.txt"), span[0], span[1], &text)
		note("cat", text.String(), err)
	}
	for _, s := range []string{"//anna/docs/broken.bin", "//anna/docs/notes", "//anna/safe/gold.txt"} {
		var text bytes.Buffer
		err := b.Cat(ctx, ref(t, s), 0, -1, &text)
		note("cat "+s, text.Len(), err)
	}
	var events []control.CopyEvent
	dir := t.TempDir()
	err = b.Copy(ctx, control.CopyRequest{Sources: []control.Ref{ref(t, "//anna/docs")}, Dest: dir, Recursive: true},
		func(e control.CopyEvent) { e.Dest = strings.TrimPrefix(e.Dest, dir); events = append(events, e) })
	note("copy", events, err)

	changes(t, note, b)
	mounts(t, note, b)

	login, err := b.Login(ctx, ref(t, "//anna/safe"), "wrong")
	note("login", login, err)
	login, err = b.Login(ctx, ref(t, "//anna/safe"), controltest.Secret)
	note("login", login, err)
	note("logout", nil, b.Logout(ctx, ref(t, "//anna/safe")))
	note("logout", nil, b.Logout(ctx, ref(t, "//nobody/safe")))

	name, comment, hidden := "new", "a comment", true
	share, err := b.ShareAdd(ctx, control.ShareAdd{Dir: "/srv/music", Read: control.Slot{Mode: control.Open}, Full: control.Slot{Mode: control.Password, Password: "pw"}})
	note("add", share, err)
	share, err = b.ShareAdd(ctx, control.ShareAdd{Dir: "/srv/music"})
	note("add", share, err)
	share, err = b.ShareSet(ctx, "music", control.ShareSet{Name: &name, Comment: &comment, Hidden: &hidden, Read: &control.Slot{Mode: control.Closed}})
	note("set", share, err)
	note("passwd", nil, b.SharePasswd(ctx, "new", control.Read, "pw"))
	note("passwd", nil, b.SharePasswd(ctx, "old", control.Read, "pw"))
	shares, err := b.ShareList(ctx)
	note("shares", shares, err)
	for _, who := range []string{"anna", "12D3KooWBob55555bob", "nobody"} {
		for _, name := range []string{"new", "old"} {
			share, err = b.ShareAllow(ctx, name, who, control.Full)
			note("allow", share, err)
			for _, deny := range []bool{true, false} {
				share, err = b.ShareDeny(ctx, name, who, deny)
				note("deny", share, err)
			}
			share, err = b.ShareResume(ctx, name, who)
			note("resume", share, err)
		}
		for _, block := range []bool{true, false, true} {
			device, err := b.Block(ctx, who, block)
			note("block", device, err)
		}
		blocked, err := b.Blocked(ctx)
		note("blocked", blocked, err)
	}
	note("remove", nil, b.ShareRemove(ctx, "new"))
	note("remove", nil, b.ShareRemove(ctx, "new"))
	password, err := b.GeneratePassword(ctx)
	note("password", password, err)
	return out.String()
}

// changes makes the calls that change files, and those that tell of it.
func changes(t *testing.T, note func(string, any, error), b control.Backend) {
	ctx := t.Context()
	local := filepath.Join(t.TempDir(), "mine.txt")
	if err := os.WriteFile(local, []byte("my own words"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"//anna/docs/", "//anna/docs/plan.txt", "//anna/docs/" + controltest.Contested, "//anna/safe/x", "//gone/x"} {
		for _, force := range []bool{false, true} {
			var events []control.CopyEvent
			err := b.Copy(ctx, control.CopyRequest{Local: []string{local}, To: ref(t, to), Force: force, Each: true, Limit: 1 << 20},
				func(e control.CopyEvent) { e.From = filepath.Base(e.From); events = append(events, e) })
			note("copy to "+to, events, err)
		}
	}
	collect(note, "move", b.Move(ctx, control.MoveRequest{Sources: []control.Ref{ref(t, "//anna/docs/mine.txt"), ref(t, "//anna/docs/none")},
		Dest: ref(t, "//anna/docs/notes"), Into: true}))
	collect(note, "move", b.Move(ctx, control.MoveRequest{Sources: []control.Ref{ref(t, "//anna/docs/notes/mine.txt")}, Dest: ref(t, "//anna/docs/plan.txt"), Force: true}))
	for _, s := range []string{"//anna/docs/notes", "//anna/docs/a", "//anna/docs/b/c", "//anna/safe/x"} {
		for _, parents := range []bool{false, true} {
			note("mkdir "+s, nil, b.Mkdir(ctx, ref(t, s), parents))
		}
	}
	for _, recursive := range []bool{false, true} {
		collect(note, "rm", b.Remove(ctx, []control.Ref{ref(t, "//anna/docs/plan.txt"), ref(t, "//anna/docs/notes"), ref(t, "//anna/safe/x")}, recursive))
		collect(note, "versions", b.Versions(ctx, ref(t, "//anna/docs/plan.txt"), recursive))
		collect(note, "versions", b.Versions(ctx, ref(t, "//anna/docs"), recursive))
		collect(note, "versions", b.Versions(ctx, ref(t, "//anna/safe/x"), recursive))
	}
	for _, version := range []string{"20260301-123000-0000", "20260301-123000-ffff"} {
		c, err := b.Restore(ctx, control.RestoreRequest{Ref: ref(t, "//anna/docs/plan.txt"), Version: version})
		note("restore", c, err)
		c, err = b.Restore(ctx, control.RestoreRequest{Ref: ref(t, "//anna/docs/plan.txt"), Version: version, Dest: ref(t, "//anna/docs/else.txt"), Force: true})
		note("restore", c, err)
		var text bytes.Buffer
		err = b.Cat(ctx, ref(t, control.WithVersion(ref(t, "//anna/docs/plan.txt"), version)), 0, -1, &text)
		note("cat", text.String(), err)
	}
	for _, s := range []string{"//", "//anna/docs", "//anna/none", "//gone/x"} {
		collect(note, "watch "+s, b.WatchFiles(ctx, ref(t, s)))
	}
	for _, s := range []string{"//anna/docs/plan.txt", "//anna/safe/gold.txt", "//anna/docs"} {
		held, release := context.WithCancel(ctx)
		for l, err := range b.Lock(held, ref(t, s)) {
			note("lock "+s, l, err)
			entry, err := b.Stat(ctx, ref(t, s))
			note("stat "+s, entry, err)
			release()
			break
		}
		release()
	}
	collect(note, "undo", b.Undo(ctx, control.UndoRequest{Share: "docs", Peer: "bob", Since: controltest.When()}))
	collect(note, "audit", b.AuditRecords(ctx, control.AuditFilter{}))
	collect(note, "audit", b.AuditRecords(ctx, control.AuditFilter{Share: "music", Peer: "bob", Since: controltest.When(), Events: []string{"rename"}}))
	report, err := b.AuditVerify(ctx)
	note("audit verify", report, err)
}

// mounts makes the calls that show the workgroup to other programs.
func mounts(t *testing.T, note func(string, any, error), b control.Backend) {
	ctx := t.Context()
	for _, req := range []control.MountRequest{
		{Ref: ref(t, "//anna/docs"), Dir: "/mnt/docs", ReadOnly: true, AllowOther: true, Persist: true},
		{Dir: "/mnt/docs"}, {Dir: "/mnt/all"}, {Ref: ref(t, "//anna/safe"), Dir: "/mnt/safe"}, {Ref: ref(t, "//nobody"), Dir: "/mnt/nobody"},
		{Ref: ref(t, "//gone/x"), Dir: "/mnt/gone"}, {Ref: ref(t, "//anna"), Dir: controltest.NoFUSE + "anna"},
	} {
		m, err := b.Mount(ctx, req)
		note("mount", m, err)
	}
	list, err := b.MountList(ctx)
	note("mounts", list, err)
	for range 2 {
		note("umount", nil, b.Unmount(ctx, "/mnt/docs"))
	}
	for _, req := range []control.WebdavRequest{
		{}, {Ref: ref(t, "//anna/docs"), ReadOnly: true}, {Ref: ref(t, "//nobody")}, {Listen: "10.0.0.1:443"},
	} {
		collect(note, "webdav", b.Webdav(ctx, req))
	}
}

func collect[T any](note func(string, any, error), call string, seq iter.Seq2[T, error]) {
	var all []T
	for v, err := range seq {
		if err != nil {
			note(call, all, err)
			return
		}
		all = append(all, v)
	}
	note(call, all, nil)
}

// record serves b as dial does, and writes down what is asked.
func record(t *testing.T, b control.Backend, asked map[string]bool) *client.Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "run", "ctl.sock")
	l, err := server.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	handler := server.Handler(b)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked[r.URL.Path] = true
		mu.Unlock()
		handler.ServeHTTP(w, r)
	})}
	var served sync.WaitGroup
	served.Go(func() { srv.Serve(l) })
	c := client.New(socket)
	t.Cleanup(func() { c.Close(); srv.Close(); served.Wait() })
	return c
}

// TestClientIsTheBackend makes every call twice, straight and over the socket: nothing may differ.
func TestClientIsTheBackend(t *testing.T) {
	near, far := controltest.New(), controltest.New()
	for _, fake := range []*controltest.Fake{near, far} {
		close(fake.Events)
		close(fake.FileEvents)
		fake.Happened = []control.FileEvent{{Event: control.FileMoved, Entry: control.Entry{Ref: ref(t, "//anna/docs/b"), Kind: control.KindFile},
			From: ref(t, "//anna/docs/a"), Peer: "12D3KooWBob55555bob", Name: "bob", Time: controltest.When(), Seq: 7}, {Event: control.FileGap}}
	}
	asked := make(map[string]bool) // by the path of the URL
	c := record(t, far, asked)
	want, got := answers(t, near), answers(t, c)
	if n := reflect.TypeFor[control.Backend]().NumMethod(); len(asked) != n {
		t.Errorf("%d of the %d calls of a Backend were made: %v", len(asked), n, slices.Sorted(maps.Keys(asked)))
	}
	for i, line := range strings.Split(want, "\n") {
		if other := strings.Split(got, "\n"); i < len(other) && other[i] != line {
			t.Errorf("straight:  %s\nby socket: %s", line, other[i])
		}
	}
	for _, name := range []string{"music", "new"} {
		for _, right := range []control.Right{control.Read, control.Full} {
			if a, b := near.Password(name, right), far.Password(name, right); a != b {
				t.Errorf("the password for %s of %s is %q, and by the socket %q", right, name, a, b)
			}
		}
	}
}

func TestNotRunning(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	check := func(when string) {
		t.Helper()
		_, err := client.New(filepath.Join(dir, "ctl.sock")).Status(t.Context())
		var e *peer.Error
		if !errors.As(err, &e) || e.Kind != peer.NotRunning || e.Hint != `start it with "peerd"` {
			t.Errorf("%s: %v", when, err)
		}
	}
	check("no folder")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	check("no socket")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "ctl.sock"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	check("a stale socket")
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := client.New(filepath.Join(dir, "ctl.sock")).Status(t.Context()); err == nil || !strings.Contains(err.Error(), "others may enter it") {
		t.Errorf("a folder open to others: %v", err)
	}
}

// waiting lists one entry, then waits until it is cancelled.
type waiting struct {
	control.Backend
	ended chan struct{}
}

func (w waiting) List(ctx context.Context, r control.Ref, _ bool) iter.Seq2[control.Entry, error] {
	return func(yield func(control.Entry, error) bool) {
		defer close(w.ended)
		if yield(control.Entry{Ref: r}, nil) {
			<-ctx.Done()
			yield(control.Entry{}, ctx.Err())
		}
	}
}

func (w waiting) Copy(ctx context.Context, _ control.CopyRequest, event func(control.CopyEvent)) error {
	defer close(w.ended)
	event(control.CopyEvent{Event: control.CopyProgress})
	<-ctx.Done()
	return ctx.Err()
}

func (w waiting) Cat(ctx context.Context, _ control.Ref, _, _ int64, out io.Writer) error {
	defer close(w.ended)
	if _, err := out.Write(make([]byte, 1<<20)); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// TestLeavingEndsTheWork stops each kind of call from the client's side.
func TestLeavingEndsTheWork(t *testing.T) {
	for name, call := range map[string]func(ctx context.Context, c *client.Client, leave func()) error{
		"list, stop ranging": func(ctx context.Context, c *client.Client, _ func()) error {
			for _, err := range c.List(ctx, control.Ref{}, false) {
				return err
			}
			return nil
		},
		"list, cancel": func(ctx context.Context, c *client.Client, leave func()) error {
			for _, err := range c.List(ctx, control.Ref{}, false) {
				if err != nil {
					return err
				}
				leave()
			}
			return nil
		},
		"copy, cancel": func(ctx context.Context, c *client.Client, leave func()) error {
			return c.Copy(ctx, control.CopyRequest{}, func(control.CopyEvent) { leave() })
		},
		"cat, cancel": func(ctx context.Context, c *client.Client, leave func()) error {
			return c.Cat(ctx, control.Ref{}, 0, -1, writer(func(p []byte) (int, error) { leave(); return len(p), nil }))
		},
		"cat, stop writing": func(ctx context.Context, c *client.Client, leave func()) error {
			stop := errors.New("the pipe is closed")
			err := c.Cat(ctx, control.Ref{}, 0, -1, writer(func(p []byte) (int, error) { return 0, stop }))
			if !errors.Is(err, stop) {
				t.Errorf("Cat gave %v", err)
			}
			return context.Canceled
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := waiting{ended: make(chan struct{})}
			c, _ := dial(t, w)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if err := call(ctx, c, cancel); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("the call gave %v", err)
			}
			select {
			case <-w.ended:
			case <-time.After(10 * time.Second):
				t.Error("the daemon works on")
			}
		})
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// TestTheDaemonStops ends the server in the middle of a call.
func TestTheDaemonStops(t *testing.T) {
	w := waiting{ended: make(chan struct{})}
	c, stop := dial(t, w)
	n := 0
	for _, err := range c.List(t.Context(), control.Ref{}, false) {
		if n++; n == 1 {
			stop()
		} else if err == nil {
			t.Error("the list went on, as if nothing had been")
		}
	}
	if n != 2 {
		t.Errorf("%d items; want one and an error", n)
	}
}

// TestCutOff reads answers that end early, from a server that says that they are whole.
func TestCutOff(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	l, err := server.Listen(filepath.Join(dir, "ctl.sock"))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, `{"item":{"ref":"//a"}}`+"\n")
	})}
	var served sync.WaitGroup
	served.Go(func() { srv.Serve(l) })
	defer served.Wait()
	defer srv.Close()
	c := client.New(filepath.Join(dir, "ctl.sock"))
	defer c.Close()
	var last error
	for _, err := range c.List(t.Context(), control.Ref{}, false) {
		last = err
	}
	if peer.KindOf(last) != peer.NotRunning {
		t.Errorf("a list without an end gave %v", last)
	}
}

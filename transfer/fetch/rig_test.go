package fetch_test

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/fetch"
	"github.com/peerd/peerd/transfer/manifest"
	"github.com/peerd/peerd/transfer/serve"
	"github.com/peerd/peerd/transfer/store"
	"github.com/peerd/peerd/transfer/transfertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const mib = 1 << 20

var quiet = slog.New(slog.DiscardHandler)

// content is n bytes that no compression or luck would give, the same for the same seed.
func content(n int, seed uint64) []byte {
	b := make([]byte, n)
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	_, _ = rand.NewChaCha8(key).Read(b)
	return b
}

// rig is a folder, its source, and a network between.
type rig struct {
	*transfertest.Net
	folder *transfertest.Folder
	cache  *transfertest.Cache
}

func newRig(t testing.TB) *rig {
	r := &rig{folder: &transfertest.Folder{Dir: t.TempDir()}, cache: &transfertest.Cache{}}
	r.Net = transfertest.NewNet(t, r.handlers())
	return r
}

// handlers are those of a source that was just started.
func (r *rig) handlers() map[string]peer.Handler {
	s := serve.New(serve.Options{Auth: r.folder, Manifests: r.cache, Log: quiet})
	return map[string]peer.Handler{serve.ManifestProtocol: s.Manifest, serve.GetProtocol: s.Get}
}

// write puts a file into the served folder.
func (r *rig) write(t testing.TB, name string, b []byte) {
	t.Helper()
	write(t, filepath.Join(r.folder.Dir, filepath.FromSlash(name)), b)
}

func write(t testing.TB, name string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// items lists the served folder.
func (r *rig) items(t testing.TB) []fetch.Item {
	t.Helper()
	var out []fetch.Item
	err := filepath.WalkDir(r.folder.Dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == r.folder.Dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(r.folder.Dir, name)
		p := strings.Split(filepath.ToSlash(rel), "/")
		it := fetch.Item{Path: p, Dest: p, Dir: d.IsDir(), ModTime: info.ModTime(), Exec: !d.IsDir() && info.Mode()&0o100 != 0}
		if !it.Dir {
			it.Size = info.Size()
		}
		out = append(out, it)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func source(n *transfertest.Net) fetch.Source {
	return fetch.Source{Opener: n, Peer: transfertest.Source, Share: transfertest.Share, Label: "//source/share", Grant: transfertest.GiveGrant}
}

func start(t testing.TB, n *transfertest.Net, o fetch.Options) *fetch.Fetcher {
	if o.Log == nil {
		o.Log = quiet
	}
	if o.Patience == 0 {
		o.Patience = 20 * time.Second
	}
	f := fetch.New(t.Context(), source(n), o)
	t.Cleanup(f.Close)
	return f
}

// report keeps what became of each file.
type report struct {
	mu     sync.Mutex
	done   map[string]transfer.Hash
	failed map[string]error
}

func newReport() *report {
	return &report{done: make(map[string]transfer.Hash), failed: make(map[string]error)}
}

func (r *report) Done(it fetch.Item, root transfer.Hash) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done[path.Join(it.Dest...)] = root
}

func (r *report) Failed(it fetch.Item, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed[path.Join(it.Dest...)] = err
}

// meter is a Progress that adds up.
type meter struct{ got, had atomic.Int64 }

func (m *meter) Got(_ peer.ID, _ string, n int64) { m.got.Add(n) }
func (m *meter) Bad(peer.ID, bool)                {}
func (m *meter) Had(_ string, n int64)            { m.had.Add(n) }

func seq(items []fetch.Item) iter.Seq2[fetch.Item, error] {
	return func(yield func(fetch.Item, error) bool) {
		for _, it := range items {
			if !yield(it, nil) {
				return
			}
		}
	}
}

// fetchTree fetches items with a Fetcher of its own, as one run of cp does.
func fetchTree(t testing.TB, n *transfertest.Net, items []fetch.Item, dst string, replace bool, o fetch.Options) (*report, error) {
	t.Helper()
	return fetchTreeUntil(t, t.Context(), n, items, dst, replace, o)
}

func fetchTreeUntil(t testing.TB, ctx context.Context, n *transfertest.Net, items []fetch.Item, dst string, replace bool, o fetch.Options) (*report, error) {
	t.Helper()
	d, err := store.OpenDir(dst)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	f := start(t, n, o)
	defer f.Close()
	rep := newReport()
	err = f.Tree(ctx, seq(items), d, replace, rep)
	return rep, err
}

// mustFetch is fetchTree where nothing may fail.
func (r *rig) mustFetch(t testing.TB, dst string, o fetch.Options) {
	t.Helper()
	rep, err := fetchTree(t, r.Net, r.items(t), dst, false, o)
	if err != nil || len(rep.failed) > 0 {
		t.Fatalf("fetch: %v, failed: %v", err, rep.failed)
	}
}

// same fails the test unless two folders hold the same, in content, times and rights to execute.
func same(t testing.TB, want, got string) {
	t.Helper()
	a, b := snapshot(t, want), snapshot(t, got)
	for name, x := range a {
		switch y, ok := b[name]; {
		case !ok:
			t.Errorf("%s did not arrive", name)
		case x != y:
			t.Errorf("%s differs: %+v, want %+v", name, y, x)
		}
		delete(b, name)
	}
	for name := range b {
		t.Errorf("%s was never there", name)
	}
}

type seen struct {
	root transfer.Hash
	dir  bool
	exec bool
	mod  int64
}

func snapshot(t testing.TB, dir string) map[string]seen {
	t.Helper()
	out := make(map[string]seen)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		if d.IsDir() {
			out[rel] = seen{dir: true}
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		layout, err := transfer.LayoutOf(info.Size())
		if err != nil {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		m, err := manifest.Build(f, layout, func(int, transfer.Hash) error { return nil })
		out[rel] = seen{root: m.Root, exec: info.Mode()&0o100 != 0, mod: info.ModTime().UnixNano()}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// holds fails the test unless a file has exactly this content.
func holds(t testing.TB, name string, want []byte) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// In small parts: the race detector keeps account of every byte that is read, in memory that it has to find first.
	b, at := make([]byte, 64<<10), 0
	for {
		n, err := io.ReadFull(f, b)
		if at+n > len(want) || !bytes.Equal(b[:n], want[at:at+n]) {
			t.Errorf("%s holds other bytes than the %d wanted, from byte %d on or a little later", name, len(want), at)
			return
		}
		switch at += n; {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			if at != len(want) {
				t.Errorf("%s holds %d bytes of the %d wanted", name, at, len(want))
			}
			return
		case err != nil:
			t.Fatal(err)
		}
	}
}

// against is a writer that compares what it takes, and keeps nothing: for memory that grows the race detector needs more memory.
type against struct {
	want []byte
	n    int  // bytes that were taken
	bad  bool // something else came, or more
}

func (a *against) Write(b []byte) (int, error) {
	a.bad = a.bad || !bytes.HasPrefix(a.want[min(a.n, len(a.want)):], b)
	a.n += len(b)
	return len(b), nil
}

// whole reports whether exactly what was wanted came.
func (a *against) whole() bool { return !a.bad && a.n == len(a.want) }

// temporaries are the names of unfinished files in a folder.
func temporaries(t testing.TB, dir string) []string {
	t.Helper()
	out, err := filepath.Glob(filepath.Join(dir, ".peerd-tmp-*"))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// kindIs fails the test unless err is of a kind.
func kindIs(t testing.TB, err error, want peer.Kind) {
	t.Helper()
	if err == nil || peer.KindOf(err) != want {
		t.Errorf("the error is %v (%v), want one of kind %v", err, peer.KindOf(err), want)
	}
}

// oneOf fails the test unless a file has exactly the content of one version.
func oneOf(t testing.TB, name string, versions [][]byte) {
	t.Helper()
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range versions {
		if bytes.Equal(got, v) {
			return
		}
	}
	t.Errorf("%s holds %d bytes that are no version of it", name, len(got))
}

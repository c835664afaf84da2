package seed_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	core "github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/manifest"
	"github.com/peerd/peerd/transfer/seed"
	"github.com/peerd/peerd/transfer/serve"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The owners of shares.
var berta, dora = owner(1), owner(2)

func owner(n byte) peer.ID {
	_, pub, err := crypto.GenerateEd25519Key(bytes.NewReader(bytes.Repeat([]byte{n}, 32)))
	if err != nil {
		panic(err)
	}
	id, err := core.IDFromPublicKey(pub)
	if err != nil {
		panic(err)
	}
	return id
}

const size = 2<<20 + 77 // bytes of the file that is tested with: 33 pieces

var quiet = slog.New(slog.DiscardHandler)

// pieces is a cache in memory.
type pieces struct {
	mu  sync.Mutex
	all map[transfer.Hash][]byte
}

func (p *pieces) Put(h transfer.Hash, b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all[h] = bytes.Clone(b)
}

func (p *pieces) Get(h transfer.Hash, _ []byte) ([]byte, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, ok := p.all[h]
	return b, ok
}

func (p *pieces) Has(h transfer.Hash, n int) bool {
	b, ok := p.Get(h, nil)
	return ok && len(b) == n
}

// rig is a shelf in a folder, and a file that might be on it.
type rig struct {
	*seed.Shelf
	t     *testing.T
	dir   string
	cache *pieces
	data  []byte
	m     transfer.Manifest
	file  transfer.File
	name  string // of the file on disk
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, dir: filepath.Join(t.TempDir(), "seeds"), cache: &pieces{all: make(map[transfer.Hash][]byte)}}
	r.data = make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(r.data)
	l, err := transfer.LayoutOf(size)
	if err != nil {
		t.Fatal(err)
	}
	if r.m, err = manifest.Build(bytes.NewReader(r.data), l, func(int, transfer.Hash) error { return nil }); err != nil {
		t.Fatal(err)
	}
	r.file = transfer.File{Owner: berta, Share: transfer.ShareID{1}, Path: []string{"a", "film"}, Version: transfer.Version{9}}
	r.name = filepath.Join(t.TempDir(), "film")
	r.reopen()
	return r
}

// reopen is what a restart does.
func (r *rig) reopen() {
	r.t.Helper()
	var err error
	if r.Shelf, err = seed.Open(r.dir, r.cache, quiet); err != nil {
		r.t.Fatal(err)
	}
}

// fetched puts the file on disk and on the shelf.
func (r *rig) fetched() {
	r.t.Helper()
	r.write(r.data)
	g := r.Begin(r.file, r.m.Layout, bytes.NewReader(r.data))
	g.Finish(r.m, r.name)
	g.Close()
}

func (r *rig) write(b []byte) {
	r.t.Helper()
	if err := os.WriteFile(r.name, b, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// has are the pieces that the shelf says it has, nil where it has nothing of the file.
func (r *rig) has(f transfer.File) []int {
	r.t.Helper()
	o, err := r.Open(f)
	if err != nil {
		if peer.KindOf(err) != peer.NotFound {
			r.t.Errorf("nothing is here: %v", err)
		}
		return nil
	}
	defer o.Close()
	set, _ := o.Pieces()
	return append([]int{}, slices.Collect(set.All())...)
}

// gives reads pieces as the handler of requests does, and gives those that it got; a wrong byte fails the test.
func (r *rig) gives(o serve.Partial) (got []int) {
	r.t.Helper()
	for i := range r.m.Layout.Pieces() {
		if o.Lacks(i) {
			continue
		}
		b := make([]byte, r.m.Length(i))
		if n, err := o.ReadAt(b, r.m.Offset(i)); n != len(b) {
			r.t.Errorf("piece %d, which is not lacking: %d bytes, %v", i, n, err)
		} else if !bytes.Equal(b, r.data[r.m.Offset(i):][:n]) {
			r.t.Errorf("piece %d is wrong", i)
		}
		got = append(got, i)
	}
	return got
}

func (r *rig) given() []int {
	r.t.Helper()
	o, err := r.Open(r.file)
	if err != nil {
		return nil
	}
	defer o.Close()
	if st, err := o.State(); err != nil || st.Size != size || st.Version != r.file.Version {
		r.t.Errorf("its state is %+v, %v", st, err)
	}
	return r.gives(o)
}

func (r *rig) wants(what string, got []int, want ...int) {
	r.t.Helper()
	if !slices.Equal(got, want) {
		r.t.Errorf("%s: pieces %v, want %v", what, got, want)
	}
}

// every is all pieces of the file.
var every = func() (out []int) {
	for i := range 33 {
		out = append(out, i)
	}
	return out
}()

// TestLife: a file is given on as it grows, when it is whole, and after a restart.
func TestLife(t *testing.T) {
	r := newRig(t)
	r.wants("before", r.given())
	g := r.Begin(r.file, r.m.Layout, bytes.NewReader(r.data))
	r.wants("at first", r.has(r.file))
	o, err := r.Open(r.file)
	if err != nil {
		t.Fatal(err)
	}
	_, more := o.Pieces()
	g.Add(3)
	g.Add(3)
	<-more
	if set, _ := o.Pieces(); set.Len() != 1 {
		t.Errorf("%d pieces", set.Len())
	}
	g.Add(8)
	r.wants("as it grows", r.gives(o), 3, 8)
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	r.write(r.data)
	g.Finish(r.m, r.name)
	g.Close()
	r.wants("whole", r.given(), every...)
	r.wants("whole, as told", r.has(r.file), every...)
	r.reopen()
	r.wants("after a restart", r.given(), every...)
	if n, b := r.Usage(); n != 1 || b != size {
		t.Errorf("%d files, %d bytes", n, b)
	}
	if files := r.Files(seed.Share{Owner: berta, ID: transfer.ShareID{1}}, time.Time{}); len(files) != 1 || files[0].ID() != r.file.ID() {
		t.Errorf("its files are %v", files)
	}
	for what, edit := range map[string]func(*transfer.File){
		"version": func(f *transfer.File) { f.Version[0]++ },
		"owner":   func(f *transfer.File) { f.Owner = dora },
		"share":   func(f *transfer.File) { f.Share[5]++ },
		"path":    func(f *transfer.File) { f.Path = []string{"afilm"} },
	} {
		f := r.file
		edit(&f)
		r.wants("another "+what, r.has(f))
	}
}

// gone is a source of bytes that ends, as that of a file which was put under its name does.
type gone struct {
	io.ReaderAt
	mu   sync.Mutex
	over bool
}

func (g *gone) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.over = true
}

func (g *gone) ReadAt(b []byte, off int64) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over {
		return 0, os.ErrClosed
	}
	return g.ReaderAt.ReadAt(b, off)
}

// TestGoesOn: who asks for a file as it grows gets what is said to be here, and no zeros, when it gets its name meanwhile;
// and more of it afterwards.
func TestGoesOn(t *testing.T) {
	r := newRig(t)
	from := &gone{ReaderAt: bytes.NewReader(r.data)}
	g := r.Begin(r.file, r.m.Layout, from)
	g.Add(2)
	g.Add(4)
	o, err := r.Open(r.file)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if o.Lacks(2) {
		t.Fatal("it lacks what is here")
	}
	from.end() // between asking and reading
	b := make([]byte, r.m.Length(2))
	if _, err := o.ReadAt(b, r.m.Offset(2)); err != nil || !bytes.Equal(b, r.data[r.m.Offset(2):][:len(b)]) {
		t.Errorf("what was not lacking: %v", err)
	}
	if !o.Lacks(4) {
		t.Error("it does not lack what can't be read")
	}
	_, more := o.Pieces()
	r.write(r.data)
	g.Finish(r.m, r.name)
	g.Close()
	<-more
	if set, more := o.Pieces(); !set.Full() || more != nil {
		t.Errorf("afterwards it has %d pieces", set.Len())
	}
	r.wants("by the same opening", r.gives(o), every...)
}

// TestGivenUp: a file that is given up is not given on any more, and can be begun anew.
func TestGivenUp(t *testing.T) {
	r := newRig(t)
	g := r.Begin(r.file, r.m.Layout, bytes.NewReader(r.data))
	g.Add(1)
	second := r.Begin(r.file, r.m.Layout, bytes.NewReader(r.data))
	second.Add(2)
	second.Close() // takes nothing from the first
	r.wants("of the first", r.given(), 1)
	o, err := r.Open(r.file)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	g.Close()
	g.Add(5)
	r.wants("given up", r.has(r.file))
	r.wants("given up, by who has it open", r.gives(o))
	g.Close()
	again := r.Begin(r.file, r.m.Layout, bytes.NewReader(r.data))
	defer again.Close()
	again.Add(6)
	r.wants("anew", r.given(), 6)
	r.reopen()
	r.wants("after a restart", r.has(r.file))
}

// TestCached: a file whose pieces are in the cache is given on from there, as far as they still are there and right.
func TestCached(t *testing.T) {
	r := newRig(t)
	for i, h := range r.m.Pieces {
		if i != 4 {
			r.Keep(h, r.data[r.m.Offset(i):][:r.m.Length(i)])
		}
	}
	g := r.Begin(r.file, r.m.Layout, bytes.NewReader(nil))
	g.Finish(r.m, "")
	r.reopen()
	r.wants("as told", r.has(r.file), slices.Concat(every[:4], every[5:])...)
	r.wants("as given", r.given(), slices.Concat(every[:4], every[5:])...)
	r.cache.all[r.m.Pieces[0]][7] ^= 1
	delete(r.cache.all, r.m.Pieces[1])
	r.cache.all[r.m.Pieces[2]] = []byte("short")
	r.wants("with damage", r.given(), slices.Concat(every[3:4], every[5:])...)
}

// TestChanged: what its user did to a file is never given on.
func TestChanged(t *testing.T) {
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for what, change := range map[string]func(*testing.T, *rig){
		"a byte, the time put back": func(t *testing.T, r *rig) {
			info, err := os.Stat(r.name)
			must(t, err)
			b := bytes.Clone(r.data)
			b[r.m.Offset(0)] ^= 1
			r.write(b)
			must(t, os.Chtimes(r.name, info.ModTime(), info.ModTime()))
		},
		"longer":  func(t *testing.T, r *rig) { r.write(append(bytes.Clone(r.data), 1)) },
		"shorter": func(t *testing.T, r *rig) { must(t, os.Truncate(r.name, size-1)) },
		"touched": func(t *testing.T, r *rig) { must(t, os.Chtimes(r.name, time.Time{}, time.Unix(1e9, 0))) },
		"removed": func(t *testing.T, r *rig) { must(t, os.Remove(r.name)) },
		"a link to a copy": func(t *testing.T, r *rig) {
			must(t, os.Rename(r.name, r.name+"2"))
			must(t, os.Symlink(r.name+"2", r.name))
		},
		"a folder": func(t *testing.T, r *rig) { must(t, errors(os.Remove(r.name), os.Mkdir(r.name, 0o700))) },
	} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t)
			r.fetched()
			before, err := r.Open(r.file)
			must(t, err)
			change(t, r)
			if first := r.given(); len(first) > 0 && first[0] == 0 {
				t.Errorf("pieces %v", first)
			}
			r.gives(before) // what it gives is right
			must(t, before.Close())
			r.wants("afterwards", r.has(r.file))
			r.reopen()
			r.wants("after a restart", r.has(r.file))
			buf := make([]byte, transfer.SmallFile)
			if b, ok := r.Piece(r.file, r.m.Layout, 0, r.m.Pieces[0], buf); ok {
				t.Errorf("a piece of %d bytes to fetch it anew", len(b))
			}
		})
	}
}

func errors(all ...error) error {
	for _, err := range all {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestPiece: what was fetched is had again from a file that grows, from one that is whole, and from the cache.
func TestPiece(t *testing.T) {
	r := newRig(t)
	buf := make([]byte, transfer.SmallFile)
	has := func(i int) bool {
		b, ok := r.Piece(r.file, r.m.Layout, i, r.m.Pieces[i], buf)
		if ok && !bytes.Equal(b, r.data[r.m.Offset(i):][:r.m.Length(i)]) {
			t.Errorf("piece %d is wrong", i)
		}
		return ok
	}
	g := r.Begin(r.file, r.m.Layout, bytes.NewReader(r.data))
	g.Add(2)
	if has(1) || !has(2) {
		t.Error("of a file that grows")
	}
	r.Keep(r.m.Pieces[1], r.data[r.m.Offset(1):][:r.m.Length(1)])
	if !has(1) {
		t.Error("from the cache")
	}
	g.Close()
	if has(2) {
		t.Error("of a file that was given up")
	}
	r.fetched()
	if !has(8) {
		t.Error("of a file that is whole")
	}
	other := r.m.Layout
	other.Size--
	if _, ok := r.Piece(r.file, other, 8, r.m.Pieces[8], buf); ok {
		t.Error("of another layout")
	}
	if _, ok := r.Piece(r.file, r.m.Layout, 8, r.m.Pieces[8], nil); ok {
		t.Error("without room for it")
	}
}

// TestFinishOfAnother: a file that is not what it should be is not put on the shelf.
func TestFinishOfAnother(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{r.name, filepath.Join(r.dir, "none"), r.dir} {
		r.write(r.data[:5])
		g := r.Begin(r.file, r.m.Layout, bytes.NewReader(r.data))
		g.Finish(r.m, name)
		g.Close()
		r.wants(name, r.has(r.file))
	}
}

// TestTwoOwners: shares of two owners that have the same ID have nothing to do with each other.
func TestTwoOwners(t *testing.T) {
	r := newRig(t)
	r.fetched()
	theirs := r.file
	theirs.Owner = dora
	r.Know(seed.Share{Owner: berta, ID: r.file.Share}, "films")
	r.Know(seed.Share{Owner: dora, ID: r.file.Share}, "songs")
	r.Secret(r.file, []byte("one"))
	r.Secret(theirs, []byte("two"))
	r.reopen()
	r.wants("of the other", r.has(theirs))
	if files := r.Files(seed.Share{Owner: dora, ID: r.file.Share}, time.Time{}); len(files) > 0 {
		t.Errorf("the other's files are %v", files)
	}
	got := make(map[peer.ID]string)
	for _, k := range r.Shares() {
		got[k.Owner] = k.Name + " " + string(k.Secret)
	}
	if fmt.Sprint(got) != fmt.Sprint(map[peer.ID]string{berta: "films one", dora: "songs two"}) {
		t.Errorf("shares %v", got)
	}
}

// TestDamage: what lies broken on disk is left out, and the rest is there.
func TestDamage(t *testing.T) {
	one := func(t *testing.T, r *rig, dir string) string {
		t.Helper()
		all, err := os.ReadDir(filepath.Join(r.dir, dir))
		if err != nil || len(all) != 1 {
			t.Fatalf("%d files in %s, %v", len(all), dir, err)
		}
		return filepath.Join(r.dir, dir, all[0].Name())
	}
	edit := func(t *testing.T, r *rig, change func(map[string]any)) {
		t.Helper()
		name := one(t, r, "files")
		b, err := os.ReadFile(name)
		m := make(map[string]any)
		if err = errors(err, json.Unmarshal(b, &m)); err == nil {
			change(m)
			b, err = json.Marshal(m)
		}
		if err = errors(err, os.WriteFile(name, b, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	put := func(dir string, b []byte) func(*testing.T, *rig) {
		return func(t *testing.T, r *rig) {
			if err := os.WriteFile(one(t, r, dir), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for what, damage := range map[string]func(*testing.T, *rig){
		"no JSON":               put("files", []byte("{")),
		"nothing":               put("files", nil),
		"null":                  put("files", []byte("null")),
		"zeros":                 put("files", make([]byte, 500)),
		"no manifest":           func(t *testing.T, r *rig) { _ = os.Remove(one(t, r, "manifests")) },
		"an empty manifest":     put("manifests", nil),
		"manifest of one piece": put("manifests", manifest.Encode(transfer.Manifest{Layout: transfer.Layout{Size: 5, Bits: 20}})),
		"a manifest that is off": func(t *testing.T, r *rig) {
			name := one(t, r, "manifests")
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)-1] ^= 1
			put("manifests", b)(t, r)
		},
		"another size":     func(t *testing.T, r *rig) { edit(t, r, func(m map[string]any) { m["size"] = size - 1 }) },
		"a negative size":  func(t *testing.T, r *rig) { edit(t, r, func(m map[string]any) { m["size"] = -1 }) },
		"a size too large": func(t *testing.T, r *rig) { edit(t, r, func(m map[string]any) { m["size"] = int64(1) << 62 }) },
		"a small size":     func(t *testing.T, r *rig) { edit(t, r, func(m map[string]any) { m["size"] = 3 }) },
		"another owner":    func(t *testing.T, r *rig) { edit(t, r, func(m map[string]any) { m["Owner"] = dora }) },
		"another name":     func(t *testing.T, r *rig) { edit(t, r, func(m map[string]any) { m["name"] = "/dev/zero" }) },
	} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t)
			r.fetched()
			damage(t, r)
			r.reopen()
			r.wants("given", r.given())
			for _, owner := range []peer.ID{berta, dora} {
				f := r.file
				f.Owner = owner
				r.wants("of "+owner.String(), r.has(f))
			}
			r.fetched()
			r.wants("fetched anew", r.given(), every...)
		})
	}
	r := newRig(t)
	r.fetched()
	r.Secret(r.file, []byte("secret"))
	if err := os.WriteFile(filepath.Join(r.dir, "shares.json"), []byte("[{"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.reopen()
	if len(r.Shares()) != 0 {
		t.Errorf("shares %v", r.Shares())
	}
	r.wants("without shares", r.given(), every...)
	r.Secret(r.file, []byte("secret"))
	r.reopen()
	if len(r.Shares()) != 1 {
		t.Errorf("shares %v", r.Shares())
	}
}

// TestBounds: the shelf holds so many files and shares, and what was asked for last stays.
func TestBounds(t *testing.T) {
	r := newRig(t)
	r.fetched()
	growing := r.file
	growing.Path = []string{"grows"}
	g := r.Begin(growing, r.m.Layout, bytes.NewReader(r.data))
	defer g.Close()
	g.Add(0)
	f := r.file
	for i := range seed.MaxFiles + 10 {
		f.Path = []string{fmt.Sprint(i)}
		r.Begin(f, r.m.Layout, bytes.NewReader(nil)).Finish(r.m, "")
		if i%1000 == 0 {
			r.wants("asked for now and then", r.has(r.file), every...)
		}
	}
	if n, _ := r.Usage(); n != seed.MaxFiles {
		t.Errorf("%d files", n)
	}
	r.wants("that grows", r.has(growing), 0)
	f.Path = []string{"1"}
	r.wants("not asked for", r.has(f))
	// One that is fetched again needs no room.
	f.Path = []string{fmt.Sprint(seed.MaxFiles)}
	r.Begin(f, r.m.Layout, bytes.NewReader(nil)).Finish(r.m, "")
	if n, _ := r.Usage(); n != seed.MaxFiles {
		t.Errorf("%d files after one came again", n)
	}
	// Each share that is new writes all of them, so the first thousand are there from before.
	id := func(i int) seed.Share {
		return seed.Share{Owner: berta, ID: transfer.ShareID{byte(i), byte(i >> 8), 5}}
	}
	var before []seed.Known
	for i := range 1000 {
		before = append(before, seed.Known{Share: id(i), Name: "x"})
	}
	b, err := json.Marshal(before)
	if err == nil {
		err = os.WriteFile(filepath.Join(r.dir, "shares.json"), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.reopen()
	if n := len(r.Shares()); n != 1000 {
		t.Errorf("%d shares of those from before", n)
	}
	for i := range 100 {
		r.Know(id(1000+i), "x")
	}
	if n := len(r.Shares()); n != 1024 {
		t.Errorf("%d shares", n)
	}
	r.reopen()
	if n := len(r.Shares()); n != 1024 {
		t.Errorf("%d shares after a restart", n)
	}
	if n, _ := r.Usage(); n > seed.MaxFiles {
		t.Errorf("%d files after a restart", n)
	}
}

// TestAtOnce: many may use the shelf at once; run with -race.
func TestAtOnce(t *testing.T) {
	r := newRig(t)
	r.write(r.data)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 20 {
				g := r.Begin(r.file, r.m.Layout, bytes.NewReader(r.data))
				for i := range every {
					g.Add(i)
				}
				g.Finish(r.m, r.name)
				g.Close()
			}
		})
		all.Go(func() {
			for range 20 {
				r.given()
				r.Files(seed.Share{Owner: berta, ID: r.file.Share}, time.Time{})
				r.Secret(r.file, []byte("secret"))
			}
		})
	}
	all.Wait()
	r.wants("at the end", r.given(), every...)
}

package store_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/store"
)

func openCache(t testing.TB, dir string, limit int64) *store.Cache {
	t.Helper()
	c, err := store.OpenCache(dir, limit, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// noise is what pieces are cut from. It has no two equal parts.
var noise = sync.OnceValue(func() []byte { return content(8*mib, 9) })

// piece is the n-th of many pieces, of a size, and a hash for it: any will do, as a cache can't verify.
func piece(n, size int) (h transfer.Hash, b []byte) {
	binary.LittleEndian.PutUint64(h[:], uint64(n))
	binary.LittleEndian.PutUint64(h[24:], uint64(size))
	from := n * 4099 % (8*mib - size)
	return h, noise()[from : from+size : from+size]
}

func put(c *store.Cache, n, size int) transfer.Hash {
	h, b := piece(n, size)
	c.Put(h, b)
	return h
}

// holds reports whether piece n is got, and fails the test if it is another.
func holds(t testing.TB, c *store.Cache, n, size int) bool {
	t.Helper()
	h, want := piece(n, size)
	got, ok := c.Get(h, nil)
	if ok && !bytes.Equal(got, want) {
		t.Fatalf("piece %d: %d wrong bytes", n, len(got))
	}
	return ok
}

// onDisk is how many bytes the files of a folder have.
func onDisk(t testing.TB, dir string) (n int64) {
	t.Helper()
	for _, name := range names(t, dir) {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		n += info.Size()
	}
	return n
}

// within fails the test unless a cache accounts for what it has on disk, and that is within its limit. A torn entry counts whole.
func within(t testing.TB, c *store.Cache, dir string) {
	t.Helper()
	used, limit, _ := c.Usage()
	if disk := onDisk(t, dir); used > limit || disk > used || disk <= used-64*int64(len(names(t, dir))/2+1) {
		t.Fatalf("%d bytes are used of %d, and %d on disk", used, limit, disk)
	}
}

func TestCache(t *testing.T) {
	const limit = 64 * mib
	dir := filepath.Join(t.TempDir(), "made", "by it")
	c := openCache(t, dir, limit)
	for _, tc := range []struct {
		size int
		kept bool
	}{{0, false}, {1, true}, {4096, true}, {mib, true}, {store.MaxCached, true}, {store.MaxCached + 1, false}} {
		t.Run(fmt.Sprint(tc.size), func(t *testing.T) {
			if holds(t, c, 1, tc.size) {
				t.Error("it is there before")
			}
			h := put(c, 1, tc.size)
			if holds(t, c, 1, tc.size) != tc.kept || c.Has(h, tc.size) != tc.kept || c.Has(h, tc.size+1) {
				t.Error("kept wrongly")
			}
			used, _, n := c.Usage()
			put(c, 1, tc.size)
			if u, _, m := c.Usage(); u != used || m != n {
				t.Errorf("put again, there are %d bytes and %d pieces more", u-used, m-n)
			}
			p, ok := c.Open(h)
			if ok != tc.kept {
				t.Fatalf("open: %v", ok)
			}
			if !ok {
				return
			}
			_, want := piece(1, tc.size)
			if got, err := io.ReadAll(p); err != nil || !bytes.Equal(got, want) || p.Size() != int64(tc.size) {
				t.Errorf("open: %d bytes, %v", len(got), err)
			}
			part := make([]byte, (tc.size+1)/2)
			if _, err := p.ReadAt(part, int64(tc.size/2)); err != nil || !bytes.Equal(part, want[tc.size/2:]) {
				t.Errorf("its second half: %v", err)
			}
			for range 2 {
				if err := p.Close(); err != nil {
					t.Errorf("closing twice: %v", err)
				}
			}
		})
	}
	if hits, misses := c.Counts(); hits != 8 || misses != 10 {
		t.Errorf("%d hits, %d misses", hits, misses)
	}
	within(t, c, dir)
	if runtime.GOOS != "windows" {
		modes(t, dir)
	}
	if err := c.Clear(); err != nil || len(names(t, dir)) != 0 || holds(t, c, 1, 4096) {
		t.Errorf("cleared: %v, %v", err, names(t, dir))
	}
	put(c, 2, 4096)
	if !holds(t, c, 2, 4096) {
		t.Error("nothing is kept after clearing")
	}
}

// modes fails the test if anybody else may read a cache.
func modes(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v", name, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// The buffer that is given is used when it is large enough, and then nothing is allocated.
func TestCacheBuffer(t *testing.T) {
	c := openCache(t, t.TempDir(), 64*mib)
	h := put(c, 1, 10_000)
	buf := make([]byte, 7, 10_000)
	got, ok := c.Get(h, buf)
	if !ok || &got[0] != &buf[0] || len(got) != 10_000 {
		t.Error(ok, len(got))
	}
	if n := testing.AllocsPerRun(100, func() { c.Get(h, buf) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if got, ok := c.Get(transfer.Hash{1}, buf); ok || len(got) != 0 || cap(got) != cap(buf) {
		t.Error("a miss takes the buffer away")
	}
}

// What does not fit is not kept, and a smaller limit holds at once.
func TestCacheLimits(t *testing.T) {
	for _, limit := range []int64{-5, 0, 1, 5000, 100_000, mib, 20 * mib} {
		dir := t.TempDir()
		c := openCache(t, dir, limit)
		for n := range 50 {
			size := 1 + n*n*n
			put(c, n, size)
			within(t, c, dir)
			if fits := int64(size)+64 <= min(limit/4, store.MaxCached); holds(t, c, n, size) != fits {
				t.Errorf("limit %d: a piece of %d is here: %v", limit, size, !fits)
			}
		}
	}
	dir := t.TempDir()
	c := openCache(t, dir, 64*mib)
	for n := range 100 {
		put(c, n, 100_000)
	}
	for _, limit := range []int64{5 * mib, mib, 0, -1} {
		c.SetLimit(limit)
		within(t, c, dir)
		if limit < mib && holds(t, c, 99, 100_000) || limit > mib && !holds(t, c, 99, 100_000) {
			t.Errorf("limit %d: the last piece", limit)
		}
	}
	c.SetLimit(mib)
	if put(c, 1, 1000); !holds(t, c, 1, 1000) {
		t.Error("nothing is kept after the limit grew")
	}
}

// Pieces that are used outlive any number of those that are not, also over restarts.
func TestCacheKeepsWhatIsUsed(t *testing.T) {
	const limit, size = 4 * mib, 8 << 10
	dir := t.TempDir()
	c := openCache(t, dir, limit)
	for n := range 8 {
		put(c, n, size)
	}
	for n := 100; n < 100+10*limit/size; n++ {
		put(c, n, size)
		if n%50 == 0 {
			for hot := range 8 {
				if !holds(t, c, hot, size) {
					t.Fatalf("piece %d is gone after %d others", hot, n-100)
				}
			}
		}
		if n%300 == 0 {
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			c = openCache(t, dir, limit)
		}
	}
	if holds(t, c, 100, size) {
		t.Error("one that was never used is still there")
	}
	within(t, c, dir)
}

// model is what a cache was told, to compare it with.
type model struct {
	t     *testing.T
	rand  *rand.Rand
	c     *store.Cache
	dir   string
	limit int64
	put   map[int]int64 // by number, how much had been put before
	total int64
}

func (m *model) size(n int) int { return 1 + n*7919%30_000 }

// step does one thing at random.
func (m *model) step() {
	n := m.rand.IntN(2000)
	switch m.rand.IntN(100) {
	case 0:
		if err := m.c.Close(); err != nil {
			m.t.Fatal(err)
		}
		m.c = openCache(m.t, m.dir, m.limit)
	case 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20:
		got := holds(m.t, m.c, n, m.size(n))
		since, ever := m.put[n]
		if got && !ever {
			m.t.Fatalf("piece %d was never put", n)
		}
		if fresh := ever && m.total-since < m.limit/4; fresh && !got {
			m.t.Fatalf("piece %d is gone after %d bytes of %d", n, m.total-since, m.limit)
		}
	default:
		if h, _ := piece(n, m.size(n)); m.c.Has(h, m.size(n)) {
			return
		}
		put(m.c, n, m.size(n))
		m.put[n] = m.total
		m.total += int64(m.size(n))
	}
}

// At any time the limit holds, nothing is there that was not put, and what was put last is there.
func TestCacheModel(t *testing.T) {
	for seed := range uint64(4) {
		dir := t.TempDir()
		m := &model{t: t, rand: rand.New(rand.NewPCG(seed, 1)), dir: dir, limit: 3 * mib, put: map[int]int64{}}
		m.c = openCache(t, dir, m.limit)
		for i := range 3000 {
			m.step()
			if used, limit, _ := m.c.Usage(); used > limit {
				t.Fatalf("%d bytes are used of %d", used, limit)
			}
			if i%50 == 0 {
				within(t, m.c, dir)
			}
		}
		if m.total < 4*m.limit {
			t.Errorf("only %d bytes were put", m.total)
		}
	}
}

func TestCacheConcurrent(t *testing.T) {
	const limit, size = mib, 20_000
	dir := t.TempDir()
	c := openCache(t, dir, limit)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 2))
			for i := range 200 {
				n := r.IntN(100)
				h, want := piece(n, size)
				switch p, ok := c.Open(h); {
				case ok:
					c.Put(piece(n+100, size))
					if got, err := io.ReadAll(p); err != nil || !bytes.Equal(got, want) {
						t.Errorf("piece %d while others are put: %d bytes, %v", n, len(got), err)
					}
					p.Close()
				case r.IntN(2) == 0:
					c.Put(h, want)
				default:
					holds(t, c, n, size)
				}
				if g == 0 && i%50 == 0 {
					if err := c.Clear(); err != nil {
						t.Error(err)
					}
				}
				if used, _, _ := c.Usage(); used > limit {
					t.Errorf("%d bytes are used", used)
				}
			}
		})
	}
	wg.Wait()
	within(t, c, dir)
}

// A piece that is open stays readable when the cache drops it or closes, its bytes count until then, and its files never become
// those of others.
func TestCacheOpenPiece(t *testing.T) {
	dir := t.TempDir()
	c := openCache(t, dir, mib)
	h, want := piece(1, 50_000)
	c.Put(h, want)
	p, ok := c.Open(h)
	if !ok {
		t.Fatal("it is not there")
	}
	if err := c.Clear(); err != nil {
		t.Fatal(err)
	}
	if used, _, n := c.Usage(); used < 50_000 || n != 0 {
		t.Errorf("%d bytes, %d pieces", used, n)
	}
	put(c, 2, 40_000)
	if got, err := io.ReadAll(p); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	p.Close()
	within(t, c, dir)
	if !holds(t, c, 2, 40_000) {
		t.Error("another went with it")
	}
	if p, ok = c.Open(put(c, 2, 40_000)); !ok {
		t.Fatal("it is not there")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(p); err != nil || len(got) != 40_000 {
		t.Errorf("after Close: %d bytes, %v", len(got), err)
	}
	p.Close()
	put(c, 3, 1000)
	if err := c.Close(); err != nil || holds(t, c, 3, 1000) || holds(t, c, 2, 40_000) {
		t.Error("it is used after Close", err)
	}
	if c = openCache(t, dir, mib); !holds(t, c, 2, 40_000) {
		t.Error("it is not there the next time")
	}
}

func TestCacheRefusesNoFolder(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.OpenCache(name, mib, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), name) {
		t.Error(err)
	}
}

func TestDefaultCacheLimit(t *testing.T) {
	dir := t.TempDir()
	limit := store.DefaultCacheLimit(filepath.Join(dir, "not", "there yet"))
	if limit <= 0 || limit > 10<<30 {
		t.Error(limit)
	}
}

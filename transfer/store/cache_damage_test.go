package store_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peerd/peerd/transfer/store"
)

// spoil changes a file.
func spoil(t testing.TB, name string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err == nil {
		err = os.WriteFile(name, change(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A byte that flips in a piece makes it a miss, while the cache is open and after, for good; all others stay.
func TestCacheFlippedByte(t *testing.T) {
	const size, limit = 5000, 64 * mib
	dir := t.TempDir()
	c := openCache(t, dir, limit)
	for n := range 5 {
		put(c, n, size)
	}
	data := filepath.Join(dir, "00000001.data")
	flip := func(at int) {
		t.Helper()
		f, err := os.OpenFile(data, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		b := []byte{0}
		if _, err := f.ReadAt(b, int64(at)); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 0x10
		if _, err := f.WriteAt(b, int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string, want ...bool) {
		t.Helper()
		for n, ok := range want {
			if holds(t, c, n, size) != ok {
				t.Errorf("%s, piece %d is there: %v", when, n, !ok)
			}
			if h, _ := piece(n, size); c.Has(h, size) != ok {
				t.Errorf("%s, has piece %d: %v", when, n, !ok)
			}
		}
	}
	flip(2*size + 17)
	check("open", true, true, false, true, true)
	flip(2*size + 17) // it is whole again, and stays dropped
	c.Close()
	c = openCache(t, dir, limit)
	check("again", true, true, false, true, true)
	flip(3 * size)
	h, _ := piece(3, size)
	if _, ok := c.Open(h); ok {
		t.Error("a damaged piece opens")
	}
	c.Close()
	flip(1*size - 1)
	c = openCache(t, dir, limit)
	check("damaged while closed", false, true, false, false, true)
	put(c, 0, size)
	check("put again", true, true, false, false, true)
}

// Any byte of the index may flip, and no piece is mistaken for another.
func TestCacheFlippedIndex(t *testing.T) {
	const pieces = 3
	dir := t.TempDir()
	c := openCache(t, dir, mib)
	for n := range pieces {
		put(c, n, 100+n)
	}
	c.Close()
	index := filepath.Join(dir, "00000001.index")
	whole, err := os.ReadFile(index)
	if err != nil || len(whole) != pieces*64 {
		t.Fatal(len(whole), err)
	}
	for at := range whole {
		spoil(t, index, func([]byte) []byte {
			b := bytes.Clone(whole)
			b[at] ^= 1
			return b
		})
		c := openCache(t, dir, mib)
		for n := range pieces {
			if got := holds(t, c, n, 100+n); got != (n != at/64 || at%64 >= 60) {
				t.Errorf("byte %d flipped, piece %d is there: %v", at, n, got)
			}
		}
		c.Close()
	}
}

// A crash may cut every file anywhere, fill its end with zeros, or lose it. What is got then is right, and the cache goes on.
func TestCacheCrash(t *testing.T) {
	const limit = 2 * mib
	r := rand.New(rand.NewPCG(3, 3))
	dir := t.TempDir()
	got, missed := 0, 0
	for round := range 60 {
		c := openCache(t, dir, limit)
		within(t, c, dir)
		for n := range 200 {
			if holds(t, c, n, 1+n*50) {
				got++
			} else {
				missed++
			}
		}
		for range 60 {
			n := r.IntN(200)
			put(c, n, 1+n*50)
			if !holds(t, c, n, 1+n*50) {
				t.Fatalf("round %d: a piece that was just put is missing", round)
			}
		}
		within(t, c, dir)
		c.Close()
		files := names(t, dir)
		for range 1 + r.IntN(3) {
			damage(t, r, filepath.Join(dir, files[r.IntN(len(files))]))
		}
	}
	if got < 1000 || missed < 1000 {
		t.Errorf("%d got, %d missed: this tests nothing", got, missed)
	}
}

func damage(t testing.TB, r *rand.Rand, name string) {
	t.Helper()
	if _, err := os.Stat(name); err != nil {
		return // it was damaged by its removal
	}
	if r.IntN(10) == 0 {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		return
	}
	spoil(t, name, func(b []byte) []byte {
		at := r.IntN(len(b) + 1)
		if r.IntN(2) == 0 {
			clear(b[at:])
			return b
		}
		return b[:at]
	})
}

// Files that are no part of the cache are left alone.
func TestCacheStrangeFiles(t *testing.T) {
	dir := t.TempDir()
	strange := []string{"notes.txt", "1.data", "0000000g.data", "00000001.data.bak", "000000001.index", "-0000001.data", "+0000001.data"}
	for _, name := range strange {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := openCache(t, dir, mib)
	put(c, 1, 100)
	if err := c.Clear(); err != nil {
		t.Fatal(err)
	}
	if left := names(t, dir); len(left) != len(strange) {
		t.Errorf("left: %v", strings.Join(left, " "))
	}
}

// Whatever is in the files of a segment, opening it does no harm, and what it gives under a hash is what was put under it.
func FuzzCacheFiles(f *testing.F) {
	dir := f.TempDir()
	c := openCache(f, dir, mib)
	for n := range 3 {
		put(c, n, 100+n)
	}
	c.Close()
	index, err := os.ReadFile(filepath.Join(dir, "00000001.index"))
	if err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "00000001.data"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(index, data)
	f.Add(index[:100], data)
	f.Add(index, data[:150])
	f.Add(append(index[64:128:128], index...), data)
	f.Fuzz(func(t *testing.T, index, data []byte) {
		dir := t.TempDir()
		for name, b := range map[string][]byte{"00000007.index": index, "00000007.data": data} {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c := openCache(t, dir, mib)
		for n := range 3 {
			holds(t, c, n, 100+n)
			h, want := piece(n, 100+n)
			if p, ok := c.Open(h); ok {
				if got, err := io.ReadAll(p); err != nil || !bytes.Equal(got, want) {
					t.Errorf("piece %d: %d wrong bytes, %v", n, len(got), err)
				}
				p.Close()
			}
			c.Put(h, want)
			if !holds(t, c, n, 100+n) {
				t.Errorf("piece %d is not kept", n)
			}
		}
		if used, limit, _ := c.Usage(); used > limit {
			t.Errorf("%d bytes are used", used)
		}
	})
}

var _ io.ReaderAt = (*store.CachedPiece)(nil)

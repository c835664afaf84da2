package store_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// The same bytes in files of their own are what the cache is compared with.
func BenchmarkCache(b *testing.B) {
	for _, size := range []int{4 << 10, 256 << 10, mib} {
		limit := int64(512 * mib)
		fit := int(limit / 2 / int64(size))
		b.Run(fmt.Sprintf("put/%dKiB", size>>10), func(b *testing.B) {
			c := openCache(b, b.TempDir(), limit)
			b.SetBytes(int64(size))
			for n := 0; b.Loop(); n++ {
				put(c, n, size)
			}
		})
		b.Run(fmt.Sprintf("get/%dKiB", size>>10), func(b *testing.B) {
			c := openCache(b, b.TempDir(), limit)
			for n := range fit {
				put(c, n, size)
			}
			buf := make([]byte, size)
			b.SetBytes(int64(size))
			for n := 0; b.Loop(); n++ {
				h, _ := piece(n%fit, size)
				if _, ok := c.Get(h, buf); !ok {
					b.Fatal("a miss")
				}
			}
		})
		b.Run(fmt.Sprintf("file-put/%dKiB", size>>10), func(b *testing.B) {
			files := plainFiles(b)
			b.SetBytes(int64(size))
			for n := 0; b.Loop(); n++ {
				_, data := piece(n, size)
				os.Remove(files(n - fit)) // as the cache drops
				if err := os.WriteFile(files(n), data, 0o600); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("file-get/%dKiB", size>>10), func(b *testing.B) {
			files := plainFiles(b)
			for n := range fit {
				_, data := piece(n, size)
				if err := os.WriteFile(files(n), data, 0o600); err != nil {
					b.Fatal(err)
				}
			}
			buf := make([]byte, size)
			b.SetBytes(int64(size))
			for n := 0; b.Loop(); n++ {
				f, err := os.Open(files(n % fit))
				if err != nil {
					b.Fatal(err)
				}
				if _, err := f.ReadAt(buf, 0); err != nil {
					b.Fatal(err)
				}
				f.Close()
			}
		})
	}
}

// plainFiles names files in 256 folders.
func plainFiles(b *testing.B) func(n int) string {
	dir := b.TempDir()
	for i := range 256 {
		if err := os.Mkdir(filepath.Join(dir, fmt.Sprintf("%02x", i)), 0o700); err != nil {
			b.Fatal(err)
		}
	}
	return func(n int) string { return filepath.Join(dir, fmt.Sprintf("%02x", n&0xff), fmt.Sprintf("%064x", n)) }
}

// BenchmarkCacheOpen starts with many pieces, and tells the memory that each takes.
func BenchmarkCacheOpen(b *testing.B) {
	for _, pieces := range []int{20_000, 200_000} {
		b.Run(fmt.Sprint(pieces), func(b *testing.B) {
			dir := b.TempDir()
			c := openCache(b, dir, 1<<40)
			for n := range pieces {
				put(c, n, 200)
			}
			c.Close()
			var before, after runtime.MemStats
			b.ResetTimer()
			for range b.N {
				runtime.GC()
				runtime.ReadMemStats(&before)
				c = openCache(b, dir, 1<<40)
				runtime.GC()
				runtime.ReadMemStats(&after)
				if _, _, n := c.Usage(); n != pieces {
					b.Fatal(n)
				}
				c.Close()
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(pieces), "heap-B/piece")
		})
	}
}

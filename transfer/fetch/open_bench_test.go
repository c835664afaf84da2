package fetch_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/peerd/peerd/transfer/fetch"
	"github.com/peerd/peerd/transfer/fetch/recent"
)

// BenchmarkOpenRead reads a file in order, cold, as a kernel would, beside a copy of the same file.
func BenchmarkOpenRead(b *testing.B) {
	const size = 256 * mib
	r := newRig(b)
	r.write(b, "f", content(size, 1))
	st := r.state(b, "f")
	b.Run("copy", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			r.mustFetch(b, b.TempDir(), fetch.Options{})
		}
	})
	for _, n := range []int{128 << 10, mib} {
		b.Run(fmt.Sprintf("read/%dk", n>>10), func(b *testing.B) {
			b.SetBytes(size)
			buf := make([]byte, n)
			for b.Loop() {
				h := openAs(b, start(b, r.Net, fetch.Options{Memory: recent.New(0)}), "f", st)
				for off := int64(0); off < size; off += int64(n) {
					if _, err := h.ReadAt(b.Context(), buf, off); err != nil {
						b.Fatal(err)
					}
				}
				h.Close()
			}
		})
	}
}

// BenchmarkOpenRandom reads 4 KiB at places that were not read before.
func BenchmarkOpenRandom(b *testing.B) {
	const size = 1024 * mib
	r := newRig(b)
	r.write(b, "f", content(size, 1))
	st := r.state(b, "f")
	f := start(b, r.Net, fetch.Options{})
	buf := make([]byte, 4096)
	var worst time.Duration
	n := 0
	rnd := rand.New(rand.NewPCG(1, 1))
	for b.Loop() {
		h := openAs(b, f, "f", st)
		began := time.Now()
		if _, err := h.ReadAt(b.Context(), buf, rnd.Int64N(size-4096)); err != nil {
			b.Fatal(err)
		}
		worst = max(worst, time.Since(began))
		n++
		h.Close()
	}
	b.ReportMetric(float64(worst.Microseconds()), "worst-us")
}

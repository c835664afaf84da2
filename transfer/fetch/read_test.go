package fetch_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer/fetch"
)

// cat reads a part of the file "f".
func cat(ctx context.Context, t testing.TB, r *rig, size, from, to int64, w io.Writer) error {
	t.Helper()
	f := fetch.New(ctx, source(r.Net), fetch.Options{Lanes: 1, Patience: 5 * time.Second, Log: quiet})
	defer f.Close()
	return f.Read(ctx, []string{"f"}, size, from, to, w)
}

func TestReadRanges(t *testing.T) {
	for _, size := range []int64{0, 1, 1000, mib - 1, mib, mib + 1, 3*mib + 17} {
		r := newRig(t)
		truth := content(int(size), uint64(size))
		r.write(t, "f", truth)
		edges := []int64{0, 1, size / 2, size - 1, size, size + 1, mib - 1, mib, mib + 1, 2 * mib, 256<<10 + 1}
		edges = slices.DeleteFunc(edges, func(at int64) bool { return at < 0 || at > size+1 })
		slices.Sort(edges)
		edges = slices.Compact(edges)
		for _, from := range edges {
			for i, to := range append(edges, -1) {
				if i > 0 && to >= 0 && to < from {
					continue // one end before the beginning is enough
				}
				end := size
				if to >= 0 {
					end = min(to, size)
				}
				out := against{want: truth[min(from, end):end]}
				if err := cat(t.Context(), t, r, size, from, to, &out); err != nil {
					t.Fatalf("size %d, %d to %d: %v", size, from, to, err)
				}
				if !out.whole() {
					t.Errorf("size %d, %d to %d: %d bytes, want %d", size, from, to, out.n, len(out.want))
				}
			}
		}
	}
}

// A part of a large file does not make the rest of it be fetched.
func TestReadFetchesLittle(t *testing.T) {
	r := newRig(t)
	r.write(t, "f", content(40*mib, 1))
	if err := cat(t.Context(), t, r, 40*mib, 20*mib+5, 20*mib+10, io.Discard); err != nil {
		t.Fatal(err)
	}
	if n := r.Received(); n > 2*mib {
		t.Errorf("%d bytes were fetched for 5", n)
	}
}

// The bytes come in order, each once, however often the connection breaks.
func TestReadOverBreaks(t *testing.T) {
	r := newRig(t)
	truth := content(24*mib+1, 1)
	r.write(t, "f", truth)
	breaks := 0
	var kill func()
	kill = func() {
		if r.Kill(); breaks < 4 {
			breaks++
			r.At(5*mib, kill)
		}
	}
	r.At(3*mib, kill)
	out := against{want: truth}
	if err := cat(t.Context(), t, r, int64(len(truth)), 0, -1, &out); err != nil {
		t.Fatal(err)
	}
	if !out.whole() {
		t.Errorf("%d other bytes than the %d", out.n, len(truth))
	}
	if breaks != 4 {
		t.Errorf("%d breaks", breaks)
	}
}

// failing is a writer that takes so many bytes.
type failing struct{ left int }

var errClosed = errors.New("nobody reads any more")

func (f *failing) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, errClosed
	}
	return len(b), nil
}

func TestReadStops(t *testing.T) {
	for _, size := range []int64{1000, 20 * mib} {
		r := newRig(t)
		r.write(t, "f", content(int(size), 1))
		if err := cat(t.Context(), t, r, size, 0, -1, &failing{left: int(size / 4)}); !errors.Is(err, errClosed) {
			t.Errorf("the writer failed: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		r.At(size/2, cancel)
		if err := cat(ctx, t, r, size, 0, -1, io.Discard); err == nil && size > mib {
			t.Error("cancelled, and no error")
		}
		cancel()
		if err := cat(t.Context(), t, r, mib+mib-size/10, 0, -1, io.Discard); err != nil {
			kindIs(t, err, peer.Conflict) // the listing was older than the file
		}
	}
	r := newRig(t)
	err := cat(t.Context(), t, r, 10, 0, -1, io.Discard)
	kindIs(t, err, peer.NotFound)
	err = cat(t.Context(), t, r, 10*mib, 0, -1, io.Discard)
	kindIs(t, err, peer.NotFound)
}

package store

import (
	"bytes"
	"testing"

	"github.com/peerd/peerd/transfer"
)

// An entry that is read is the one that was written, byte for byte, and within its segment.
func FuzzCacheEntry(f *testing.F) {
	e := place{offset: 70, length: 30, sum: 1 << 60, used: true}.entry(transfer.Hash{1, 2, 3})
	f.Add(e[:], int64(100))
	f.Add(e[:], int64(99))
	for _, p := range []place{{}, {offset: -1, length: 1}, {offset: 1<<63 - 1, length: 1}, {length: MaxCached + 1}, {length: 1<<32 - 1}} {
		e := p.entry(transfer.Hash{})
		f.Add(e[:], int64(1<<62))
		if _, _, ok := parseEntry(e[:], 1<<62); ok {
			f.Errorf("%+v was read", p)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		if len(b) != entrySize || size < 0 {
			return
		}
		h, p, ok := parseEntry(b, size)
		if !ok {
			return
		}
		if got := p.entry(h); !bytes.Equal(got[:entryUsed], b[:entryUsed]) || p.used != (b[entryUsed] == 1) {
			t.Errorf("%x became %x", b, got)
		}
		if p.length == 0 || p.length > MaxCached || p.offset < 0 || p.offset+int64(p.length) > size {
			t.Errorf("%+v is outside of %d bytes", p, size)
		}
	})
}

package serve_test

import (
	"bytes"
	"testing"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/transferpb"
)

// hashes asks for all hashes of a file, or for those from the first on.
func (l *line) hashes(share transfer.ShareID, name string, count uint32) (hashes, root []byte, err error) {
	l.t.Helper()
	q := &transferpb.ManifestRequest{File: &transferpb.File{Share: share[:], Path: []string{name}, Grant: permit(l.id, share)}, Count: count}
	if count > 0 {
		q.Version = first[:]
	}
	l.say(q)
	for {
		var r transferpb.ManifestReply
		l.hear(&r)
		switch {
		case r.GetError() != nil:
			return nil, nil, wire.ToError(r.GetError())
		case r.GetState() != nil:
		case len(r.GetHashes()) > 0:
			hashes = append(hashes, r.GetHashes()...)
		default:
			return hashes, r.GetRoot(), nil
		}
	}
}

// Of what was fetched from another peer, whole or not, no hashes are told.
func TestNoHashesOfSeeds(t *testing.T) {
	c := newCourt(nil)
	f := &part{text: content(2 * mib), set: transfer.FullSet(32), changed: make(chan struct{})}
	c.put(docs, "f", f)
	l := c.dial(t, "anna", c.Manifest)
	defer l.hangUp()
	for _, count := range []uint32{0, 1, 32, 0} {
		if hashes, _, err := l.hashes(docs, "f", count); peer.KindOf(err) != peer.Usage {
			t.Errorf("asked for %d: %d bytes of hashes, %v", count, len(hashes), err)
		}
	}
}

// Files of one version are told apart by share, name and size: each has its own hashes, whichever was asked for first.
func TestHashesApart(t *testing.T) {
	type named struct {
		share transfer.ShareID
		name  string
	}
	f, g, long, other := named{docs, "f"}, named{docs, "g"}, named{docs, "long"}, named{films, "f"}
	fill := func(size int, with byte) []byte { return bytes.Repeat([]byte{with}, size) }
	is := map[named][]byte{f: fill(2*mib, 1), g: fill(2*mib, 2), long: fill(5*mib, 3), other: fill(2*mib, 4)}
	for _, count := range []uint32{0, 3, 100} {
		c := newCourt([]byte("secret"))
		for n, b := range is {
			c.put(n.share, n.name, text(b))
		}
		check := func(n named, b []byte) {
			t.Helper()
			l := c.dial(t, "anna", c.Manifest)
			defer l.hangUp()
			m, all := manifestOf(t, b)
			hashes, root, err := l.hashes(n.share, n.name, count)
			if err != nil || len(hashes) == 0 || !bytes.HasPrefix(all, hashes) || len(root) > 0 && !bytes.Equal(root, m.Root[:]) {
				t.Errorf("asked for %d of %s: the first %d bytes of its hashes, root %x: %v", count, n.name, len(hashes), root, err)
			}
		}
		for _, n := range []named{f, g, other, long, f} {
			check(n, is[n])
		}
		// Even the very same file is another when its size is.
		for i, size := range []int{9 * mib, 3 * mib} {
			b := fill(size, byte(5+i))
			c.put(f.share, f.name, text(b))
			check(f, b)
		}
	}
}

package daemon

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/peerd/peerd/peer/control"
)

// gave is what a copy got of a peer.
func gave(e control.CopyEvent, n *node) int64 {
	for _, s := range e.Sources {
		if s.Peer == n.id {
			return s.Bytes
		}
	}
	return 0
}

func random(n int, seed byte) string {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return string(b)
}

// TestSeeds: who fetched a file gives it on, also after a restart, and while the owner is away to those who were let in
// before.
func TestSeeds(t *testing.T) {
	const size = 12 << 20
	films := map[string]string{"one": random(size, 1), "two": random(size, 2), "three": random(size, 3)}
	berta := start(t, "berta")
	berta.offer("films", films, open)
	anna := start(t, "anna", berta)
	anna.sees(berta)
	for _, film := range []string{"one", "two"} {
		last, err := anna.copy(control.CopyRequest{Dest: t.TempDir()}, "//berta/films/"+film)
		works(t, "anna's copy", err)
		if gave(last, berta) != size || last.Bytes != size {
			t.Errorf("anna got %d of %d bytes of berta", gave(last, berta), last.Bytes)
		}
	}
	anna.restart()
	carl := start(t, "carl", berta, anna)
	carl.sees(berta, anna)
	dst := t.TempDir()
	// It takes longer than until anna tells berta of her files after a start, which is to be enough if she was too late before.
	const slow = size / 12 // bytes a second
	last, err := carl.copy(control.CopyRequest{Dest: dst, Limit: slow}, "//berta/films/one")
	works(t, "carl's copy", err)
	if a, b := gave(last, anna), gave(last, berta); a == 0 || b == 0 || a+b != size {
		t.Errorf("carl got %d bytes of anna and %d of berta: %+v", a, b, last.Sources)
	}

	// The owner stops in the midst of it.
	stopped := make(chan struct{})
	began := false
	var without []control.CopyEvent // what was told when she really was away
	req := control.CopyRequest{Dest: dst, Limit: slow, Sources: []control.Ref{ref(t, "//berta/films/two")}}
	err = carl.Copy(t.Context(), req, func(e control.CopyEvent) {
		last = e
		if !began && gave(e, anna) > 0 {
			began = true
			go func() {
				defer close(stopped)
				berta.stop()
			}()
		}
		select {
		case <-stopped:
			without = append(without, e)
		default:
		}
	})
	if !began {
		t.Fatalf("anna gave nothing: %+v, %v", last.Sources, err)
	}
	<-stopped
	works(t, "without the owner", err)
	a, b := gave(last, anna), gave(last, berta)
	if a+b != size {
		t.Errorf("carl got %d bytes of anna and %d of berta", a, b)
	}
	if len(without) == 0 || a <= gave(without[0], anna) {
		t.Errorf("of %d bytes of anna none came without the owner: %+v", a, without)
	}
	for _, film := range []string{"one", "two"} {
		b, err := os.ReadFile(filepath.Join(dst, film))
		if err != nil || string(b) != films[film] {
			t.Errorf("film %s has %d bytes, %v", film, len(b), err)
		}
	}
	begin := time.Now()
	_, err = carl.copy(control.CopyRequest{Dest: dst}, "//berta/films/three")
	if err == nil || time.Since(begin) > time.Minute {
		t.Errorf("what nobody has: %v after %v", err, time.Since(begin))
	}
}

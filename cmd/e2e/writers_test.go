//go:build linux

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"

	"github.com/peerd/peerd/cmd/internal/lantest"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

// wrote is what became of what writers put: where each content was told to be, by its sum.
type wrote struct {
	mu                           sync.Mutex
	at                           map[string]string
	puts, conflicts, gone, moved int
}

// TestWriters has two and ten peers write the same paths at once. What was acknowledged exists afterwards, as the file, as an
// old version, or as a conflict copy. PEERD_E2E_ROUNDS is how many times they do.
func TestWriters(t *testing.T) {
	t.Parallel()
	rounds := number(t, "PEERD_E2E_ROUNDS", 30)
	paths := max(rounds/7, 5) // few enough to be written again, and too many for one to have more versions than are kept
	for _, writers := range []int{2, 10} {
		t.Run(fmt.Sprint(writers), func(t *testing.T) {
			t.Parallel()
			all, _ := nodes(t, lantest.Options{Hosts: 1 + writers})
			owner, dir := all[0], ram(t)
			workshop(t, dir, all...)
			owner.ok(quick, "share", "set", "data", "--brake", "off")
			w := &wrote{at: map[string]string{}}
			random := rand.New(rand.NewPCG(1, 1))
			for round := range rounds {
				path := fmt.Sprintf("f%03d.txt", round%paths)
				odd := random.IntN(3 * writers) // who does something else in this round, if anybody
				var begin, done sync.WaitGroup
				begin.Add(1)
				for i, n := range all[1:] {
					text := fmt.Sprintf("round %d of %s\n", round, n.Name)
					local := filepath.Join(n.Home, "mine")
					write(t, local, text)
					done.Go(func() {
						begin.Wait()
						if i != odd {
							w.put(t, n, local, path, sumOf([]byte(text)))
						} else if round%2 == 0 {
							w.count(t, &w.gone, first(n.api.Remove(context.Background(), []control.Ref{ref(path)}, false)))
						} else {
							req := control.MoveRequest{Sources: control.List[control.Ref]{ref(path)}, Dest: ref(path + ".old"), Force: true}
							w.count(t, &w.moved, first(n.api.Move(context.Background(), req)))
						}
					})
				}
				begin.Done()
				done.Wait()
				if t.Failed() {
					t.Fatalf("round %d\n%s", round, owner.log())
				}
			}
			w.check(t, all[1], &kept{dir: dir})
			if r := owner.ok(quick, "audit", "verify"); t.Failed() {
				t.Log(r)
			}
		})
	}
}

// put puts a file over whatever is there.
func (w *wrote) put(t *testing.T, n *node, local, path, sum string) {
	at, conflict, err := n.put(context.Background(), local, path)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case conflict && peer.KindOf(err) == peer.Conflict:
		w.conflicts++
	case err != nil || conflict:
		t.Errorf("%s: put %s: conflict %v: %v", n.Name, path, conflict, err)
		return
	}
	w.puts++
	w.at[sum] = at
}

// count counts what worked of what may fail because the file is gone or has changed.
func (w *wrote) count(t *testing.T, n *int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch kind := peer.KindOf(err); {
	case err == nil:
		*n++
	case kind != peer.NotFound && kind != peer.Conflict:
		t.Error(err)
	}
}

// check finds everything that was acknowledged, on the owner's disk, and by a peer.
func (w *wrote) check(t *testing.T, n *node, disk *kept) {
	t.Helper()
	files, versions := disk.look(t)
	old, listed := n.oldSums(context.Background()), map[string]bool{}
	seen, err := n.listed(context.Background())
	if err != nil || len(seen) != len(files) {
		t.Errorf("%d files are listed, %d there: %v", len(seen), len(files), err)
	}
	for p, sum := range files {
		listed[sum] = true
		if _, ok := seen[p]; !ok {
			t.Errorf("%s is not listed", p)
		}
	}
	current, asVersion, beside := 0, 0, 0
	for sum, at := range w.at {
		switch {
		case files[at] == sum && at[0] == 'f' && len(at) == len("f000.txt"):
			current++
		case files[at] == sum:
			beside++
		case old[sum] && versions[sum], listed[sum]:
			asVersion++
		default:
			t.Errorf("what was put as %s is lost", at)
		}
	}
	t.Logf("%d puts acknowledged, %d of them as conflicts, %d removed, %d moved: %d are current, %d beside, %d old versions or moved", w.puts,
		w.conflicts, w.gone, w.moved, current, beside, asVersion)
	if current+beside+asVersion != len(w.at) || w.puts != len(w.at) {
		t.Errorf("%d contents of %d", current+beside+asVersion, len(w.at))
	}
	if w.conflicts == 0 {
		t.Error("there never was a conflict: they did not write at once")
	}
}

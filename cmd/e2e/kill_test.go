//go:build linux

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/cmd/internal/lantest"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

// scribe changes //h1/data in every way, one change after the other, and knows what there must be.
type scribe struct {
	*node
	random *rand.Rand
	dir    string
	writes int
	// may has the sums that each path may hold; "" for nothing. More than one where it is not known whether a change was done.
	may   map[string][]string
	put   map[string]bool // all that was ever sent
	acked map[string]bool // of this, what was acknowledged
	done  map[string]int  // changes that were acknowledged, by kind
	open  map[string]int  // changes that were not
	last  string
}

// names are few enough that no brake stops who changes them all.
func (s *scribe) name() string { return fmt.Sprintf("f%02d", s.random.IntN(40)) }

// text is a file with a content that never was before.
func (s *scribe) text(name string) (sum string) {
	size := 1 + s.random.IntN(4<<10)
	switch k := s.random.IntN(20); {
	case k == 0:
		size = 1<<20 + s.random.IntN(3<<20)
	case k < 5:
		size = 64<<10 + s.random.IntN(192<<10)
	}
	s.writes++
	b := bytes.Repeat(fmt.Appendf(nil, "%d:%d;", s.writes, s.random.Uint64()), size/20+1)
	write(s.t, name, string(b))
	sum = sumOf(b)
	s.put[sum] = true
	return sum
}

// change makes one change. Its error is told once it is noted what may be now.
func (s *scribe) change(ctx context.Context) error {
	p, q := s.name(), s.name()
	switch k := s.random.IntN(10); {
	case k < 4:
		local := filepath.Join(s.dir, "new")
		return s.puts(ctx, "put", local, p, map[string]string{p: s.text(local)})
	case k < 5:
		local, into := filepath.Join(s.dir, "folder"), fmt.Sprintf("d%d", s.random.IntN(3))
		sums := map[string]string{}
		for i := range 12 {
			sums[fmt.Sprintf("%s/%d", into, i)] = s.text(filepath.Join(local, into, fmt.Sprint(i)))
		}
		return s.puts(ctx, "put folder", filepath.Join(local, into), "", sums)
	case k < 6 && s.holds(p):
		return s.result("remove", first(s.api.Remove(ctx, []control.Ref{ref(p)}, false)), map[string]string{p: ""})
	case k < 8 && s.holds(p) && p != q:
		req := control.MoveRequest{Sources: control.List[control.Ref]{ref(p)}, Dest: ref(q), Force: true}
		return s.result("move", first(s.api.Move(ctx, req)), map[string]string{q: s.may[p][0], p: ""})
	}
	return s.restore(ctx, p)
}

// puts copies what is local.
func (s *scribe) puts(ctx context.Context, kind, local, to string, sums map[string]string) error {
	at, conflict, err := s.node.put(ctx, local, to)
	if conflict {
		return fmt.Errorf("%s to %s: it became the conflict copy %s, though nobody else writes", kind, to, at)
	}
	return s.result(kind, err, sums)
}

// restore puts back a version of a file, whichever.
func (s *scribe) restore(ctx context.Context, p string) error {
	var all []control.Version
	for v, err := range s.api.Versions(ctx, ref(p), false) {
		if err != nil {
			return s.result("versions", err, nil)
		}
		all = append(all, v)
	}
	if len(all) == 0 {
		return nil
	}
	v := all[s.random.IntN(len(all))]
	var b bytes.Buffer
	at := ref(p + "@" + v.ID)
	if err := s.api.Cat(ctx, at, 0, -1, &b); err != nil {
		return s.result("read version", err, nil)
	}
	if !s.put[sumOf(b.Bytes())] {
		return fmt.Errorf("%s has %d bytes that were never put", at, b.Len())
	}
	_, err := s.api.Restore(ctx, control.RestoreRequest{Ref: ref(p), Version: v.ID})
	return s.result("restore", err, map[string]string{p: sumOf(b.Bytes())})
}

// first is the error of a change of one thing.
func first(changes func(func(control.Change, error) bool)) error {
	for c, err := range changes {
		if err != nil {
			return err
		}
		if c.Error != nil {
			return c.Error.Err()
		}
	}
	return nil
}

func (s *scribe) holds(p string) bool { m := s.may[p]; return len(m) == 1 && m[0] != "" }

// result notes what a change did, or may have done.
func (s *scribe) result(kind string, err error, sums map[string]string) error {
	s.last = fmt.Sprintf("%s %v: %v", kind, slices.Sorted(maps.Keys(sums)), err)
	if err == nil {
		s.done[kind]++
	} else {
		s.open[kind]++
	}
	for p, sum := range sums {
		switch {
		case err == nil:
			s.may[p] = []string{sum}
			if sum != "" {
				s.acked[sum] = true
			}
		case len(s.may[p]) == 0:
			s.may[p] = []string{"", sum}
		default:
			s.may[p] = append(s.may[p], sum)
		}
	}
	return err
}

// check compares what the owner has with what there must be.
func (s *scribe) check(t *testing.T, disk *kept) {
	t.Helper()
	files, versions := disk.look(t)
	for p, sums := range s.may {
		if !slices.Contains(sums, files[p]) {
			t.Errorf("%s holds %q, and may hold %q (last: %s)", p, files[p], sums, s.last)
		}
		s.may[p] = []string{files[p]}
	}
	for p, sum := range files {
		if _, ok := s.may[p]; !ok {
			t.Errorf("nobody made %s", p)
		}
		versions[sum] = true
	}
	for sum := range s.acked {
		if !versions[sum] {
			t.Errorf("a content that was acknowledged is lost: %s (last: %s)", sum, s.last)
		}
	}
}

// TestKillOwner kills the owner's daemon in the midst of changes, again and again. Nothing that was acknowledged is lost, and no
// path holds anything but what was put. PEERD_E2E_KILLS is how many times, and PEERD_E2E_SEED makes the same moments again.
func TestKillOwner(t *testing.T) {
	t.Parallel()
	kills, seed := number(t, "PEERD_E2E_KILLS", 20), uint64(number(t, "PEERD_E2E_SEED", int(time.Now().UnixNano())))
	t.Logf("PEERD_E2E_SEED=%d", seed)
	all, _ := nodes(t, lantest.Options{Hosts: 2})
	owner, dir := all[0], ram(t)
	disk := &kept{dir: dir}
	workshop(t, dir, all...)
	s := &scribe{node: all[1], random: rand.New(rand.NewPCG(seed, 1)), dir: ram(t), may: map[string][]string{}, put: map[string]bool{},
		acked: map[string]bool{}, done: map[string]int{}, open: map[string]int{}}
	moments := rand.New(rand.NewPCG(seed, 2))
	var back time.Duration
	for round := 0; round < kills || round < 4*kills && s.misses(); round++ { // on a busy machine little is done between two kills
		ctx, cancel := context.WithTimeout(context.Background(), slow)
		killed, idle := make(chan struct{}), make(chan error, 1)
		go func() {
			for {
				err := s.change(ctx)
				select {
				case <-killed:
					idle <- err
					return
				default:
				}
				if err != nil { // the daemon died a moment ago, or something is wrong
					<-killed
					idle <- err
					return
				}
			}
		}()
		time.Sleep(time.Duration(moments.ExpFloat64() * float64(150*time.Millisecond))) // the moment is the test
		owner.daemon.Kill()
		close(killed)
		owner.start()
		began := time.Now()
		err := <-idle
		if err != nil && peer.KindOf(err) != peer.Unreachable {
			t.Errorf("round %d: %v", round, err)
		}
		var seen map[string]int64
		lantest.WaitFor(t, slow, "the owner to be back", func() bool { // a connection to the dead one may be tried first
			seen, err = s.listed(ctx)
			return err == nil
		})
		back = max(back, time.Since(began))
		if report, err := owner.api.AuditVerify(ctx); err != nil {
			t.Errorf("round %d: audit verify: %v (%+v)", round, err, report)
		}
		s.check(t, disk)
		files, _ := disk.look(t)
		for p := range seen {
			if files[p] == "" || strings.Contains(p, ".peerd") {
				t.Errorf("round %d: %s is listed", round, p)
			}
			delete(files, p)
		}
		for p := range files {
			t.Errorf("round %d: %s is not listed", round, p)
		}
		cancel()
		if t.Failed() {
			t.Fatalf("round %d: last change: %s\n%s", round, s.last, owner.log())
		}
	}
	old := s.oldSums(context.Background())
	now, _ := disk.look(t)
	for _, sum := range now {
		old[sum] = true
	}
	for sum := range s.acked {
		if !old[sum] {
			t.Errorf("no version can be read that holds an acknowledged content: %s", sum)
		}
	}
	staged, _ := os.ReadDir(filepath.Join(dir, ".peerd", "tmp"))
	t.Logf("%d kills: done %v, not acknowledged %v; %d contents put, %d acknowledged, %d files now, %d contents with old ones; %d things staged; "+
		"back after %v at most", kills, s.done, s.open, len(s.put), len(s.acked), len(now), len(old), len(staged), back.Round(time.Millisecond))
	if s.misses() {
		t.Error("there is a kind of change that never was acknowledged")
	}
}

// misses reports whether a kind of change was never acknowledged.
func (s *scribe) misses() bool {
	return slices.ContainsFunc([]string{"put", "put folder", "remove", "move", "restore"}, func(kind string) bool { return s.done[kind] == 0 })
}

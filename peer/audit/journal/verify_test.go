package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/audit"
)

// untouched is a log of several files, the oldest of which were removed in order.
func untouched(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(scratch(t), "log")
	write(t, dir, small(), 0, 60)
	write(t, dir, small(), 60, 120)
	if rep := verified(t, dir); rep.First == 1 || rep.Files < 3 || rep.Checkpoint.Seq != rep.Last {
		t.Fatalf("the log is not what the test is for: %+v", rep)
	}
	return dir
}

// place is one line of a log.
type place struct {
	file string
	i    int // 0 is the first
}

// places are all lines of a log, in order.
func places(t testing.TB, dir string) (all []place) {
	t.Helper()
	for _, file := range logFiles(t, dir) {
		for i := range linesOf(t, file) {
			all = append(all, place{file, i})
		}
	}
	return all
}

func (p place) line(t testing.TB) string { return linesOf(t, p.file)[p.i] }

func (p place) put(t testing.TB, lines ...string) {
	t.Helper()
	putLines(t, p.file, slices.Replace(linesOf(t, p.file), p.i, p.i+1, lines...))
}

// rechained gives the records from a place on the hashes that fit, as whoever changes one without the key would have to.
func rechained(t testing.TB, all []place, from int) {
	t.Helper()
	prev := audit.HashOf([]byte(strings.TrimSuffix(all[from].line(t), "\n")))
	for _, p := range all[from+1:] {
		var r audit.Record
		must(t, json.Unmarshal([]byte(p.line(t)), &r))
		r.Prev = prev
		line, err := json.Marshal(r)
		must(t, err)
		p.put(t, string(line)+"\n")
		prev = audit.HashOf(line)
	}
}

// TestEveryEditIsFound (T31) does to an untouched log what somebody without the key can do, at many places.
func TestEveryEditIsFound(t *testing.T) {
	good := untouched(t)
	n := len(places(t, good))
	ends := []int{0, n - 2, n - 1}
	edits := []struct {
		name   string
		places []int // besides random ones
		edit   func(t *testing.T, dir string, all []place, at int, rnd *rand.Rand)
		want   []audit.How
	}{
		{"a byte changed", ends, func(t *testing.T, _ string, all []place, at int, rnd *rand.Rand) {
			line := []byte(all[at].line(t))
			i := rnd.IntN(len(line) - 1)
			line[i] ^= byte(1 + rnd.IntN(3))
			all[at].put(t, string(line))
		}, []audit.How{audit.Changed, audit.Removed}}, // the number of the first record may be the one that was changed
		{"a value changed", ends, func(t *testing.T, _ string, all []place, at int, _ *rand.Rand) {
			all[at].put(t, strings.Replace(all[at].line(t), `"kind":"`, `"kind":"x`, 1))
		}, []audit.How{audit.Changed}},
		{"a value changed and hashes made to fit", ends, func(t *testing.T, _ string, all []place, at int, _ *rand.Rand) {
			all[at].put(t, strings.Replace(all[at].line(t), `"kind":"`, `"kind":"x`, 1))
			rechained(t, all, at)
		}, []audit.How{audit.Changed}},
		{"a record inserted and hashes made to fit", []int{n - 2}, func(t *testing.T, _ string, all []place, at int, _ *rand.Rand) {
			var r audit.Record
			must(t, json.Unmarshal([]byte(all[at].line(t)), &r))
			r.Prev = audit.HashOf([]byte(strings.TrimSuffix(all[at].line(t), "\n")))
			r.Seq++
			line, _ := json.Marshal(r)
			all[at].put(t, all[at].line(t), string(line)+"\n")
		}, []audit.How{audit.Changed, audit.Reordered}},
		{"a record removed", ends[:2], func(t *testing.T, _ string, all []place, at int, _ *rand.Rand) {
			if at == len(all)-1 {
				at--
			}
			all[at].put(t)
		}, []audit.How{audit.Removed}},
		{"the last record removed", ends[2:], func(t *testing.T, _ string, all []place, _ int, _ *rand.Rand) {
			all[len(all)-1].put(t)
		}, []audit.How{audit.Truncated}},
		{"a record repeated", ends, func(t *testing.T, _ string, all []place, at int, rnd *rand.Rand) {
			at = min(at, len(all)-2)
			p := all[at+rnd.IntN(len(all)-1-at)]
			p.put(t, p.line(t), all[at].line(t))
		}, []audit.How{audit.Reordered}},
		{"two records swapped", ends, func(t *testing.T, _ string, all []place, at int, rnd *rand.Rand) {
			with := (at + 1 + rnd.IntN(len(all)-1)) % len(all)
			a, b := all[at].line(t), all[with].line(t)
			all[at].put(t, b)
			all[with].put(t, a)
		}, []audit.How{audit.Reordered}},
		{"a file removed", ends[:1], func(t *testing.T, _ string, all []place, at int, _ *rand.Rand) {
			file := all[at].file
			if file == all[len(all)-1].file {
				file = all[0].file
			}
			must(t, os.Remove(file))
		}, []audit.How{audit.Removed}},
		{"the last file removed", ends[2:], func(t *testing.T, _ string, all []place, _ int, _ *rand.Rand) {
			must(t, os.Remove(all[len(all)-1].file))
		}, []audit.How{audit.Truncated}},
		{"all files removed", ends[2:], func(t *testing.T, dir string, _ []place, _ int, _ *rand.Rand) {
			for _, file := range logFiles(t, dir) {
				must(t, os.Remove(file))
			}
		}, []audit.How{audit.Truncated}},
		{"two files swapped", ends[:1], func(t *testing.T, _ string, all []place, at int, _ *rand.Rand) {
			other := all[len(all)-1].file
			if all[at].file == other {
				other = all[0].file
			}
			must(t, os.Rename(other, other+"~"))
			must(t, os.Rename(all[at].file, other))
			must(t, os.Rename(other+"~", all[at].file))
		}, []audit.How{audit.Reordered}},
		{"a file renamed", ends, func(t *testing.T, dir string, all []place, at int, _ *rand.Rand) {
			first, _ := firstOf(filepath.Base(all[at].file))
			must(t, os.Rename(all[at].file, filepath.Join(dir, fileName(first+1))))
		}, []audit.How{audit.Changed}},
		{"a file cut off at a record", ends[:2], func(t *testing.T, _ string, all []place, at int, _ *rand.Rand) {
			at = min(at, len(all)-2)
			for len(linesOf(t, all[at].file)) == all[at].i+1 { // not behind the last of the file
				at--
			}
			putLines(t, all[at].file, linesOf(t, all[at].file)[:all[at].i+1])
		}, []audit.How{audit.Truncated, audit.Removed}},
		{"a file cut off within a record", ends, func(t *testing.T, _ string, all []place, at int, rnd *rand.Rand) {
			lines := linesOf(t, all[at].file)[:all[at].i+1]
			last := lines[all[at].i]
			lines[all[at].i] = last[:1+rnd.IntN(len(last)-2)]
			putLines(t, all[at].file, lines)
		}, []audit.How{audit.Truncated}},
		{"a file emptied", ends, func(t *testing.T, _ string, all []place, at int, _ *rand.Rand) {
			must(t, os.Truncate(all[at].file, 0))
		}, []audit.How{audit.Truncated, audit.Removed}},
		{"the head removed", ends[:1], func(t *testing.T, dir string, _ []place, _ int, _ *rand.Rand) {
			must(t, os.Remove(filepath.Join(dir, headName)))
		}, []audit.How{audit.Removed}},
		{"the head changed", ends[:1], func(t *testing.T, dir string, _ []place, _ int, rnd *rand.Rand) {
			path := filepath.Join(dir, headName)
			b, err := os.ReadFile(path)
			must(t, err)
			i := rnd.IntN(len(strings.TrimRight(string(b), " \n")))
			b[i] ^= byte(1 + rnd.IntN(3))
			must(t, os.WriteFile(path, b, 0o600))
		}, []audit.How{audit.Changed}},
		{"the log cut off and papered over", ends[1:2], func(t *testing.T, _ string, all []place, at int, _ *rand.Rand) {
			at = min(at, len(all)-2)
			prev := strings.TrimSuffix(all[at].line(t), "\n")
			var last audit.Record
			must(t, json.Unmarshal([]byte(all[len(all)-1].line(t)), &last))
			seq, _ := audit.SeqOf([]byte(prev))
			line, err := json.Marshal(audit.Record{Seq: last.Seq + 1, Time: last.Time, Prev: audit.HashOf([]byte(prev)),
				Event: audit.Event{Kind: audit.KindRecovered, Result: audit.OK, Count: last.Seq - seq}})
			must(t, err)
			for _, p := range slices.Backward(all[at+1:]) {
				p.put(t)
			}
			all[at].put(t, prev+"\n", string(line)+"\n")
			for _, file := range logFiles(t, filepath.Dir(all[at].file)) {
				if len(linesOf(t, file)) == 0 {
					must(t, os.Remove(file))
				}
			}
		}, []audit.How{audit.Truncated}},
		{"the log cut off and the head made to fit", ends[:1], func(t *testing.T, dir string, all []place, _ int, _ *rand.Rand) {
			all[len(all)-1].put(t)
			last := strings.TrimSuffix(all[len(all)-2].line(t), "\n")
			seq, _ := audit.SeqOf([]byte(last))
			m := audit.Mark{Seq: seq, Hash: audit.HashOf([]byte(last))}
			b, err := audit.Head{Last: m, Synced: m, Floor: 1}.Encode(keyOf(t, 9))
			must(t, err)
			must(t, os.WriteFile(filepath.Join(dir, headName), b, 0o600))
		}, []audit.How{audit.Changed}},
	}
	for _, e := range edits {
		t.Run(e.name, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(4, uint64(len(e.name))))
			at := slices.Clone(e.places)
			for range 8 {
				at = append(at, rnd.IntN(n))
			}
			for _, i := range at {
				dir := copied(t, good)
				e.edit(t, dir, places(t, dir), i, rnd)
				b := brokenBy(t, dir)
				if !slices.Contains(e.want, b.How) || b.File == "" {
					t.Fatalf("at record %d: %v", i, b)
				}
				// A peer that starts on it must not make it good again, until the file is old enough to be removed.
				opt := small()
				opt.Files = 100
				write(t, dir, opt, 0, 3)
				brokenBy(t, dir)
			}
		})
	}
	verified(t, good)
	write(t, good, small(), 120, 123)
	verified(t, good)
}

// TestBreakIsNamed looks at where a break is said to be.
func TestBreakIsNamed(t *testing.T) {
	good := untouched(t)
	all := places(t, good)
	for _, at := range []int{1, len(all) / 2, len(all) - 3} {
		seq, _ := audit.SeqOf([]byte(all[at].line(t)))
		dir := copied(t, good)
		p := places(t, dir)[at]
		p.put(t, strings.Replace(p.line(t), `"kind":"`, `"kind":"x`, 1))
		if b := brokenBy(t, dir); b.Seq != seq {
			t.Errorf("record %d was changed: %v", seq, b)
		}
		dir = copied(t, good)
		p = places(t, dir)[at]
		p.put(t)
		b := brokenBy(t, dir)
		if want := fmt.Sprintf("line %d", b.Line); b.Seq != seq || b.Line == 0 || !strings.Contains(b.Error(), want) || !strings.Contains(b.Error(), "removed") {
			t.Errorf("record %d was removed: %v", seq, b)
		}
	}
}

func TestAnotherKey(t *testing.T) {
	dir := untouched(t)
	if _, err := Verify(dir, keyOf(t, 2).GetPublic()); peer.KindOf(err) != peer.Integrity {
		t.Errorf("with another key: %v", err)
	}
	l, err := Open(dir, keyOf(t, 2), small())
	must(t, err)
	must(t, l.Close())
	for _, seed := range []byte{1, 2} {
		if _, err := Verify(dir, keyOf(t, seed).GetPublic()); peer.KindOf(err) != peer.Integrity {
			t.Errorf("after another peer wrote there, with key %d: %v", seed, err)
		}
	}
}

func TestNoLog(t *testing.T) {
	for _, dir := range []string{scratch(t), filepath.Join(scratch(t), "none")} {
		if _, err := Verify(dir, keyOf(t, 1).GetPublic()); peer.KindOf(err) != peer.NotFound || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	}
}

// TestPutBack is the limit of Verify: who saved the head can cut the log off there. A running peer notices.
func TestPutBack(t *testing.T) {
	dir := filepath.Join(scratch(t), "log")
	write(t, dir, small(), 0, 5)
	saved := copied(t, dir)
	l := opened(t, dir, small())
	defer l.Close()
	l.Add(event(t, 5))
	rep, err := l.Verify(t.Context())
	must(t, err)
	for _, path := range append(logFiles(t, saved), filepath.Join(saved, headName)) {
		b, err := os.ReadFile(path)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, filepath.Base(path)), b, 0o600))
	}
	back, err := Verify(dir, keyOf(t, 1).GetPublic())
	if err != nil || back.Last >= rep.Last || back.Hash == rep.Hash {
		t.Errorf("put back to before: %+v, %v; this was known not to be noticed but by comparison with %d", back, err, rep.Last)
	}
	if _, err := l.Verify(t.Context()); peer.KindOf(err) != peer.Integrity {
		t.Errorf("the running peer finds %v", err)
	}
	must(t, os.RemoveAll(dir))
	if _, err := l.Verify(t.Context()); err == nil {
		t.Error("the running peer does not notice that all is gone")
	}
}

// TestMadeUp appends a record that fits, as anybody can: it is told, and not taken for a signed one.
func TestMadeUp(t *testing.T) {
	dir := untouched(t)
	all := places(t, dir)
	last := all[len(all)-1]
	var r audit.Record
	must(t, json.Unmarshal([]byte(last.line(t)), &r))
	for _, madeUp := range []audit.Record{
		{Seq: r.Seq + 1, Event: audit.Event{Kind: audit.KindRead}},
		{Seq: audit.MaxSeq, Event: audit.Event{Kind: audit.KindRecovered, Count: audit.MaxSeq - r.Seq - 1, Result: audit.OK}},
	} {
		dir := copied(t, dir)
		madeUp.Time, madeUp.Prev = r.Time, audit.HashOf([]byte(strings.TrimSuffix(last.line(t), "\n")))
		line, err := json.Marshal(madeUp)
		must(t, err)
		p := places(t, dir)[len(all)-1]
		p.put(t, p.line(t), string(line)+"\n")
		if rep := verified(t, dir); rep.Unsigned == 0 {
			t.Errorf("nothing is said of a record behind the head: %+v", rep)
		}
		write(t, dir, small(), 0, 3)
		if rep := verified(t, dir); rep.Last > r.Seq+10 {
			t.Errorf("a made-up record made the log go on at %d", rep.Last)
		}
		if got := only(read(t, dir, Filter{}), audit.KindRecovered); len(got) != 1 {
			t.Errorf("the peer tells %+v of it", got)
		}
		// Without a head there is nothing to compare with, but the log must go on.
		must(t, os.Remove(filepath.Join(dir, headName)))
		p = places(t, dir)[len(places(t, dir))-1]
		madeUp.Seq = audit.MaxSeq
		line, err = json.Marshal(madeUp)
		must(t, err)
		p.put(t, p.line(t), string(line)+"\n")
		write(t, dir, small(), 7, 8)
		got := read(t, dir, Filter{})
		if len(got) < 2 || got[len(got)-2].Path != event(t, 7).Path {
			t.Errorf("without a head the log does not go on")
		}
	}
}

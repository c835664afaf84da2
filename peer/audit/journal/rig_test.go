package journal

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	core "github.com/libp2p/go-libp2p/core/peer"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/audit"
)

// keyOf is a key made of one byte.
func keyOf(t testing.TB, seed byte) crypto.PrivKey {
	t.Helper()
	raw := ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune(seed)), ed25519.SeedSize)))
	key, err := crypto.UnmarshalEd25519PrivateKey(raw)
	must(t, err)
	return key
}

func idOf(t testing.TB, seed byte) peer.ID {
	t.Helper()
	id, err := core.IDFromPrivateKey(keyOf(t, seed))
	must(t, err)
	return id
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// scratch is a folder for a test, in memory if there is such a place: these tests make disks sync by the thousand.
func scratch(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "audit-*")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	return dir
}

// small are options for a log of small files.
func small() Options {
	return Options{FileSize: 8 << 10, Files: 4, CheckpointRecords: 10, Boot: "one"}
}

func opened(t testing.TB, dir string, opt Options) *Log {
	t.Helper()
	l, err := Open(dir, keyOf(t, 1), opt)
	must(t, err)
	return l
}

// event is the i-th of a row of different ones.
func event(t testing.TB, i int) audit.Event {
	return audit.Event{
		Kind: audit.KindRead, Peer: idOf(t, byte(2+i%3)), Addr: "/ip4/10.0.0.2/tcp/7000", Name: "bert", Share: "docs", ShareID: "00112233",
		Path: fmt.Sprintf("a/b/%d.txt", i), Right: "read", Epoch: 1_700_000_000, Serial: "a1b2c3d4e5f60718", Bytes: int64(i), Result: audit.OK,
	}
}

// write writes events in a run of its own, flushing after each, so that records come as they do in life.
func write(t testing.TB, dir string, opt Options, from, to int) {
	t.Helper()
	l := opened(t, dir, opt)
	for i := from; i < to; i++ {
		l.Add(event(t, i))
		if i%7 == 0 {
			must(t, l.Flush(t.Context()))
		}
	}
	must(t, l.Close())
}

func verified(t testing.TB, dir string) audit.Report {
	t.Helper()
	rep, err := Verify(dir, keyOf(t, 1).GetPublic())
	must(t, err)
	return rep
}

// brokenBy is the break that Verify finds.
func brokenBy(t testing.TB, dir string) *audit.Break {
	t.Helper()
	_, err := Verify(dir, keyOf(t, 1).GetPublic())
	var b *audit.Break
	if err == nil || !errors.As(err, &b) {
		t.Fatalf("got %v, want a break", err)
	}
	if peer.KindOf(err) != peer.Integrity {
		t.Fatalf("%v is of kind %v", err, peer.KindOf(err))
	}
	return b
}

func read(t testing.TB, dir string, f Filter) (records []audit.Record) {
	t.Helper()
	for r, err := range Read(t.Context(), dir, f) {
		must(t, err)
		records = append(records, r)
	}
	return records
}

func kinds(records []audit.Record) (kinds []audit.Kind) {
	for _, r := range records {
		kinds = append(kinds, r.Kind)
	}
	return kinds
}

func only(records []audit.Record, k audit.Kind) []audit.Record {
	return slices.DeleteFunc(slices.Clone(records), func(r audit.Record) bool { return r.Kind != k })
}

// logFiles are the paths of the files, oldest first.
func logFiles(t testing.TB, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "0*"+suffix))
	must(t, err)
	return files
}

// linesOf are a file's lines with their ends.
func linesOf(t testing.TB, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return slices.Collect(strings.SplitAfterSeq(strings.TrimSuffix(string(b), "\n")+"\n", "\n"))[:strings.Count(string(b), "\n")]
}

func putLines(t testing.TB, path string, lines []string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600))
}

// copied is a copy of a log that may be spoiled.
func copied(t testing.TB, dir string) string {
	t.Helper()
	to := filepath.Join(scratch(t), "log")
	must(t, os.CopyFS(to, os.DirFS(dir)))
	must(t, filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			err = os.Chmod(path, 0o600)
		}
		return err
	}))
	return to
}

// clock is one that only moves when it is told to.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

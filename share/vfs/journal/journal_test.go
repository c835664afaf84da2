package journal

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/peerd/peerd/share/vfs/extent"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func item(id uint64, path string) Item {
	return Item{
		ID: id, Peer: "anna", Share: "docs", ShareID: [16]byte{1, 2}, Path: path, Base: [16]byte{3}, Size: 100, ModTime: time.Unix(5, 6), Exec: true,
		Since: time.Unix(7, 8), BaseSize: 90, BaseEnd: 80, Written: extent.Set{{From: 0, To: 10}, {From: 20, To: 100}},
	}
}

func opened(t *testing.T, dir string) (*Journal, []Item) {
	t.Helper()
	j, items, err := Open(dir, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j, items
}

// staged makes a staging file that is as large as item says.
func staged(t *testing.T, j *Journal, text string) *Staged {
	t.Helper()
	s, err := j.Create()
	if err == nil {
		_, err = s.WriteAt([]byte(text), 0)
	}
	if err == nil {
		err = s.Truncate(100)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestReplay(t *testing.T) {
	dir := t.TempDir()
	j, items := opened(t, dir)
	if len(items) > 0 {
		t.Fatalf("%v in a new journal", items)
	}
	want := map[string]Item{}
	for i := range 10 {
		s := staged(t, j, fmt.Sprint(i))
		it := item(s.ID, fmt.Sprint("f", i))
		if err := j.Set(it); err != nil {
			t.Fatal(err)
		}
		switch i % 3 {
		case 1:
			if err := j.Done(s.ID); err != nil {
				t.Fatal(err)
			}
		case 2:
			it.Path += ".renamed"
			if err := j.Set(it); err != nil {
				t.Fatal(err)
			}
			fallthrough
		default:
			want[it.Path] = it
		}
		s.Rest()
	}
	staged(t, j, "neither closed nor synced").Rest()
	_ = j.Close()
	j, items = opened(t, dir)
	if len(items) != len(want) {
		t.Fatalf("%d wait, want %d", len(items), len(want))
	}
	for _, it := range items {
		if !reflect.DeepEqual(it, want[it.Path]) {
			t.Errorf("%+v, want %+v", it, want[it.Path])
		}
		b := make([]byte, 1)
		if _, err := j.Staged(it.ID).ReadAt(b, 0); err != nil || b[0] != it.Path[1] {
			t.Errorf("%s holds %q, %v", it.Path, b, err)
		}
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "staged-*")); len(names) != len(want) {
		t.Errorf("%d staging files are left", len(names))
	}
	if s := staged(t, j, "x"); want[fmt.Sprint("f", 0)].ID == s.ID {
		t.Error("an ID was given twice")
	}
}

// TestTorn cuts the log at every byte: what was whole before is there, and what is written after is too.
func TestTorn(t *testing.T) {
	dir := t.TempDir()
	j, _ := opened(t, dir)
	var ends []int64
	for i := range 4 {
		s := staged(t, j, "x")
		if err := j.Set(item(s.ID, fmt.Sprint("f", i))); err != nil {
			t.Fatal(err)
		}
		s.Rest()
		ends = append(ends, j.size)
	}
	log, err := os.ReadFile(filepath.Join(dir, logName))
	if err != nil {
		t.Fatal(err)
	}
	for cut := 0; cut <= len(log); cut++ {
		for _, garbage := range []string{"", "\x00\x00\x00\x00\x00\x00\x00\x00", "\xff\xff\xff\xff garbage"} {
			torn := t.TempDir()
			if err := os.CopyFS(torn, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(torn, logName), append(bytes.Clone(log[:cut]), garbage...), 0o600); err != nil {
				t.Fatal(err)
			}
			want := 0
			for _, end := range ends {
				if int64(cut) >= end {
					want++
				}
			}
			j, items, err := Open(torn, quiet())
			if cut < len(magic) && garbage != "" && err != nil {
				continue // it does not say that it is a journal
			}
			if err != nil || len(items) != want {
				t.Fatalf("cut at %d of %d with %q behind: %d wait, %v; want %d", cut, len(log), garbage, len(items), err, want)
			}
			s := staged(t, j, "y")
			if err := j.Set(item(s.ID, "new")); err != nil {
				t.Fatal(err)
			}
			_ = j.Close()
			j, items, err = Open(torn, quiet())
			if err != nil || len(items) != want+1 {
				t.Fatalf("after that %d wait, %v; want %d", len(items), err, want+1)
			}
			_ = j.Close()
		}
		if cut > len(magic)+20 && cut < len(log)-60 {
			cut += 16
		}
	}
}

// TestDamaged flips a byte of the log, at every place: what the other records say is believed, and the bytes of what they don't tell of are
// kept, and told of again and again.
func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	j, _ := opened(t, dir)
	const files = 4
	for i := range files {
		s := staged(t, j, fmt.Sprint(i))
		if err := j.Set(item(s.ID, fmt.Sprint("f", i))); err != nil {
			t.Fatal(err)
		}
		s.Rest()
	}
	log, err := os.ReadFile(filepath.Join(dir, logName))
	if err != nil {
		t.Fatal(err)
	}
	for at := len(magic); at < len(log); at += 7 {
		bad := t.TempDir()
		if err := os.CopyFS(bad, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		flipped := bytes.Clone(log)
		flipped[at] ^= 0x10
		if err := os.WriteFile(filepath.Join(bad, logName), flipped, 0o600); err != nil {
			t.Fatal(err)
		}
		hit := (at - len(magic)) * files / (len(log) - len(magic)) // the records are of one length
		for range 3 {
			j, items, err := Open(bad, quiet())
			if err != nil || len(items) != files-1 || slices.ContainsFunc(items, func(it Item) bool { return it.Path == fmt.Sprint("f", hit) }) {
				t.Fatalf("flipped at %d: %d wait, %v; want all but f%d", at, len(items), err, hit)
			}
			cut := j.Cut()
			if len(cut) != 1 || cut[0].Path != "" || cut[0].Size != 100 {
				t.Fatalf("flipped at %d: cut are %+v", at, cut)
			}
			if b, err := os.ReadFile(cut[0].File); err != nil || string(b[:1]) != fmt.Sprint(hit) {
				t.Fatalf("flipped at %d: %q, %v is left", at, b, err)
			}
			if s := staged(t, j, "y"); s.ID <= files {
				t.Fatalf("flipped at %d: an ID was given twice", at)
			}
			_ = j.Close()
		}
	}
}

// TestKilledWhileMended: what a damaged log does not tell of is kept also by who opens it after one who was killed in the midst of that.
func TestKilledWhileMended(t *testing.T) {
	dir := t.TempDir()
	j, _ := opened(t, dir)
	for i := range 2 {
		s := staged(t, j, fmt.Sprint(i))
		if err := j.Set(item(s.ID, "f")); err != nil {
			t.Fatal(err)
		}
		s.Rest()
	}
	_ = j.Close()
	name := filepath.Join(dir, logName)
	log, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	log[len(magic)+headLen+3] ^= 1
	if err := os.WriteFile(name, log, 0o600); err != nil {
		t.Fatal(err)
	}
	killed := &Journal{dir: dir, log: quiet(), items: make(map[uint64]Item), loose: make(map[uint64]bool)}
	if damaged, err := killed.replay(); err != nil || !damaged {
		t.Fatal(damaged, err)
	}
	if j, items := opened(t, dir); len(items) != 1 || len(j.Cut()) != 1 {
		t.Errorf("%d wait and %d are kept, want one each", len(items), len(j.Cut()))
	}
}

// TestInstead: what takes the place of another is there as soon as that is not, however much of the log is written, and nothing changes
// if nothing is.
func TestInstead(t *testing.T) {
	dir := t.TempDir()
	j, _ := opened(t, dir)
	old, s := staged(t, j, "x"), staged(t, j, "y")
	if err := j.Set(item(old.ID, "f")); err != nil {
		t.Fatal(err)
	}
	before := j.size
	whole := t.TempDir()
	if err := os.CopyFS(whole, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := j.Set(item(s.ID, "f"), old.ID); err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(filepath.Join(dir, logName))
	if err != nil {
		t.Fatal(err)
	}
	for cut := before; cut <= j.size; cut++ {
		torn := t.TempDir()
		if err := os.CopyFS(torn, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(torn, logName), log[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, items := opened(t, torn); len(items) == 0 || cut == j.size && (len(items) > 1 || items[0].ID != s.ID) {
			t.Errorf("cut at %d of %d: %+v", cut, j.size, items)
		}
	}
	_ = j.file.Close()
	if j.Set(item(old.ID, "f"), s.ID) == nil || len(j.items) != 1 || j.items[s.ID].Path != "f" {
		t.Errorf("nothing could be written, and there wait %+v", j.items)
	}
}

// TestCut: what is shorter than it was written is told of, again and again, and nothing else is.
func TestCut(t *testing.T) {
	dir := t.TempDir()
	j, _ := opened(t, dir)
	var ids []uint64
	for _, size := range []int64{0, 99, 100, 200} {
		s := staged(t, j, "x")
		if err := errors.Join(j.Set(item(s.ID, fmt.Sprint(size))), s.Truncate(size)); err != nil {
			t.Fatal(err)
		}
		s.Rest()
		ids = append(ids, s.ID)
	}
	s := staged(t, j, "x")
	empty := item(s.ID, "empty") // and so it was left
	empty.Written = nil
	if err := errors.Join(j.Set(empty), s.Truncate(0)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_ = j.Close()
		var items []Item
		if j, items = opened(t, dir); len(items) != 3 || items[0].Path != "100" || items[1].Path != "200" || items[2].Path != "empty" {
			t.Errorf("there wait %+v", items)
		}
		if cut := j.Cut(); len(cut) != 2 || cut[0].ID+cut[1].ID != ids[0]+ids[1] || cut[0].File == cut[1].File {
			t.Errorf("cut are %+v", cut)
		}
	}
	_ = j.Close()
	for _, c := range j.Cut() {
		if err := os.Remove(c.File); err != nil {
			t.Fatal(err)
		}
	}
	if j, items := opened(t, dir); len(items) != 3 || len(j.Cut()) > 0 {
		t.Errorf("there wait %+v, and cut are %+v", items, j.Cut())
	}
}

// TestLoose: who syncs one file has the others synced of which the log tells since, but no more than can be waited for.
func TestLoose(t *testing.T) {
	j, _ := opened(t, t.TempDir())
	set := func(size int64) uint64 {
		t.Helper()
		s := staged(t, j, "x")
		it := item(s.ID, "f")
		it.Written = extent.Set{{From: 0, To: size}}
		if err := j.Set(it); err != nil {
			t.Fatal(err)
		}
		return s.ID
	}
	one, two, delivered, own := set(1), set(syncBytes-2), set(1), set(syncBytes)
	large := set(syncBytes + 1)
	if err := j.Done(delivered); err != nil {
		t.Fatal(err)
	}
	if ids := j.takeLoose(own); !slices.Equal(ids, []uint64{two, one}) {
		t.Errorf("%d are synced with %d, want %d and %d, not %d", ids, own, two, one, large)
	}
	if ids := j.takeLoose(own); len(ids) > 0 {
		t.Errorf("%d are synced again", ids)
	}
	last := uint64(0)
	for range 2 * syncFiles {
		last = set(1)
	}
	if ids := j.takeLoose(0); len(ids) != syncFiles || ids[0] != last {
		t.Errorf("%d files are synced, the first is %d, want %d, and %d", len(ids), ids[0], syncFiles, last)
	}
	gone := set(1)
	j.Staged(gone).Remove()
	if err := j.Sync(set(1)); err != nil {
		t.Error(err)
	}
}

func TestCompact(t *testing.T) {
	dir := t.TempDir()
	j, _ := opened(t, dir)
	j.limit = 2000
	s := staged(t, j, "x")
	for i := range 1000 {
		if err := j.Set(item(s.ID, fmt.Sprint("f", i))); err != nil {
			t.Fatal(err)
		}
		if i == 500 {
			j.limit = 2000 // as if it were short
		}
	}
	if st, err := os.Stat(filepath.Join(dir, logName)); err != nil || st.Size() > 200_000 {
		t.Errorf("the log has %d bytes, %v", st.Size(), err)
	}
	_ = j.Close()
	if _, items := opened(t, dir); len(items) != 1 || items[0].Path != "f999" {
		t.Errorf("%+v", items)
	}
}

func TestRandomItems(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		it := item(r.Uint64(), fmt.Sprint(r.Uint32()))
		it.Written, it.Size = nil, r.Int64()
		for range r.IntN(20) {
			from := r.Int64N(1 << 40)
			it.Written = it.Written.Add(extent.Range{From: from, To: from + 1 + r.Int64N(1<<20)})
		}
		b := appendRecord(nil, it, false)
		got, done, rest, err := parse(append(b, "rest"...))
		if err != nil || done || string(rest) != "rest" || !reflect.DeepEqual(got, it) {
			t.Fatalf("%+v became %+v, %v", it, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(appendRecord(nil, item(7, "a/b"), false))
	f.Add(appendRecord(nil, Item{ID: 7}, true))
	f.Add(appendRecord(nil, Item{}, false))
	f.Add([]byte{0, 0, 0, 1, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		it, done, rest, err := parse(b)
		if err != nil {
			return
		}
		if again := appendRecord(nil, it, done); !bytes.Equal(again, b[:len(b)-len(rest)]) {
			t.Fatalf("%x parsed and written again is %x", b[:len(b)-len(rest)], again)
		}
	})
}

// FuzzItem is FuzzParse behind the checksum.
func FuzzItem(f *testing.F) {
	f.Add(appendItem(nil, item(7, "a/b")))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := &reader{b: b}
		it := r.item()
		if r.bad || len(r.b) > 0 {
			return
		}
		if again := appendItem(nil, it); !bytes.Equal(again, b) {
			t.Fatalf("%x read and written again is %x", b, again)
		}
	})
}

package fetch_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer/fetch"
)

// versionsOf makes versions of a file whose every piece differs from that of every other, in size too if grow is set.
func versionsOf(size int, grow bool) [][]byte {
	var out [][]byte
	for i := range 4 {
		n := size
		if grow {
			n += i * (size/4 + 1)
		}
		out = append(out, content(n, uint64(100+i)))
	}
	return out
}

// changers are the ways in which a file goes from one whole version to the next. Where it takes several steps, those that
// lie between are versions as well: anybody who reads the file sees them.
var changers = map[string]func(name string, to []byte) error{
	"renamed over": func(name string, to []byte) error {
		if err := os.WriteFile(name+".new", to, 0o644); err != nil {
			return err
		}
		return os.Rename(name+".new", name)
	},
	"rewritten in place": func(name string, to []byte) error {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteAt(to, 0)
		return err
	},
	"cut and written": func(name string, to []byte) error { return os.WriteFile(name, to, 0o644) },
}

// While a file goes from version to version, whoever reads it gets one of them, or is told that it changed.
func TestChangesMeanwhile(t *testing.T) {
	for how, change := range changers {
		for what, versions := range map[string][][]byte{
			"small": versionsOf(100_000, false), "small, other size": versionsOf(70_000, true),
			"large": versionsOf(4*mib+99, false), "large, other size": versionsOf(2*mib+1, true),
		} {
			if how == "rewritten in place" && len(versions[0]) != len(versions[1]) {
				continue // would leave the tail of the longer one
			}
			t.Run(how+" "+what, func(t *testing.T) {
				t.Parallel()
				changing(t, versions, change, between[how])
			})
		}
	}
}

func changing(t *testing.T, versions [][]byte, change func(string, []byte) error, step func(was, to, b []byte) bool) {
	r := newRig(t)
	name := filepath.Join(r.folder.Dir, "f")
	write(t, name, versions[0])
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(i%5) * 17 * time.Millisecond):
			}
			if err := change(name, versions[i%len(versions)]); err != nil {
				t.Error(err)
				return
			}
		}
	})
	defer wg.Wait()
	defer close(stop)
	whole := 0
	for round := range 12 {
		item := fetch.Item{Path: []string{"f"}, Dest: []string{"f"}, Size: int64(len(versions[0]))}
		dst := t.TempDir()
		if round%2 == 0 {
			rep, err := fetchTree(t, r.Net, []fetch.Item{item}, dst, true, fetch.Options{Patience: 5 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			if err := rep.failed["f"]; err != nil {
				kindIs(t, err, peer.Conflict)
				if _, err := os.Lstat(filepath.Join(dst, "f")); err == nil {
					t.Error("failed, and has its name")
				}
				continue
			}
			oneOfOrStep(t, mustRead(t, filepath.Join(dst, "f")), versions, step)
			whole++
			continue
		}
		var out bytes.Buffer
		if err := cat(t.Context(), t, r, item.Size, 0, -1, &out); err != nil {
			kindIs(t, err, peer.Conflict)
			prefixOf(t, out.Bytes(), versions)
			continue
		}
		oneOfOrStep(t, out.Bytes(), versions, step)
		whole++
	}
	t.Logf("%d of 12 rounds gave a whole version", whole)
}

func mustRead(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// between says which states of a file lie between two versions, for those changers that take several steps: a writer may
// be held up for long enough that somebody sees them.
var between = map[string]func(was, to, b []byte) bool{
	"cut and written": func(_, to, b []byte) bool { return bytes.HasPrefix(to, b) },
	"rewritten in place": func(was, to, b []byte) bool {
		if len(b) != len(was) || len(b) != len(to) {
			return false
		}
		n := 0
		for n < len(b) && b[n] == to[n] {
			n++
		}
		return bytes.Equal(b[n:], was[n:])
	},
}

// oneOfOrStep fails the test unless b is one version, or a state on the way from one to the next.
func oneOfOrStep(t testing.TB, b []byte, versions [][]byte, step func(was, to, b []byte) bool) {
	t.Helper()
	for i, to := range versions {
		was := versions[(i+len(versions)-1)%len(versions)]
		if bytes.Equal(b, to) || step != nil && step(was, to, b) {
			return
		}
	}
	t.Errorf("%d bytes that are no version", len(b))
}

func prefixOf(t testing.TB, b []byte, versions [][]byte) {
	t.Helper()
	for _, v := range versions {
		if bytes.HasPrefix(v, b) {
			return
		}
	}
	t.Errorf("%d bytes that begin no version", len(b))
}

// A file that only grows gives a first part of what it is in the end.
func TestGrowsMeanwhile(t *testing.T) {
	for _, from := range []int{1000, 3 * mib} {
		r := newRig(t)
		name := filepath.Join(r.folder.Dir, "log")
		all := content(from+mib, 5)
		write(t, name, all[:from])
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			for at := from; at < len(all) && ctx.Err() == nil; {
				n, err := f.Write(all[at:min(at+4099, len(all))])
				if err != nil {
					t.Error(err)
					return
				}
				at += n
				pause := 7 * time.Millisecond
				if at%10 == 0 {
					pause = 60 * time.Millisecond // long enough to settle, so that somebody may read it
				}
				<-time.After(pause)
			}
		})
		for range 4 {
			dst := t.TempDir()
			rep, err := fetchTree(t, r.Net, r.items(t), dst, false, fetch.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := rep.failed["log"]; err != nil {
				kindIs(t, err, peer.Conflict)
				continue
			}
			prefixOf(t, mustRead(t, filepath.Join(dst, "log")), [][]byte{all})
		}
		cancel()
		wg.Wait()
	}
}

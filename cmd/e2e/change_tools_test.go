//go:build linux

package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/peerd/peerd/cmd/internal/lantest"
	"github.com/peerd/peerd/peer/control"
)

// number reads a number from the environment, for tests that have a short form and a full one.
func number(t testing.TB, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// workshop starts the first node as the owner of dir, which others may change as //h1/data without a password, and the others,
// which see it.
func workshop(t testing.TB, dir string, all ...*node) {
	t.Helper()
	for _, n := range all {
		n.begin()
	}
	for _, n := range all {
		n.waitReady()
	}
	all[0].ok(quick, "share", "add", dir, "--name", "data", "--read", "open", "--full", "open")
	fullView(t, quick, all...)
	for _, n := range all[1:] {
		n.sees("data")
	}
}

// sees waits until the peer may list a share of h1.
func (n *node) sees(name string) {
	n.t.Helper()
	lantest.WaitFor(n.t, quick, n.Name+" to see "+name, func() bool { return n.run(quick, "ls", "//h1/"+name).Status == 0 })
}

// lines reads what a command wrote with --json.
func lines[T any](t testing.TB, output string) []T {
	t.Helper()
	var all []T
	for line := range strings.Lines(output) {
		var v T
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, v)
	}
	return all
}

// audit gives the records of the audit, those of the events alone if any are named.
func (n *node) audit(events ...string) []control.AuditRecord {
	n.t.Helper()
	args := []string{"audit", "--json"}
	for _, e := range events {
		args = append(args, "--event", e)
	}
	return lines[control.AuditRecord](n.t, n.ok(slow, args...))
}

func sumOf(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// kept is what lies in a share's folder on the disk: the sum of each file by path, and the sums of all versions. What was seen of
// a version once is remembered, since none may ever change.
type kept struct {
	dir  string
	seen map[string]string
}

func (k *kept) look(t testing.TB) (files map[string]string, versions map[string]bool) {
	t.Helper()
	if k.seen == nil {
		k.seen = map[string]string{}
	}
	files, versions = map[string]string{}, map[string]bool{}
	err := filepath.WalkDir(k.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && name == filepath.Join(k.dir, ".peerd", "tmp") {
			if err == nil {
				err = fs.SkipDir
			}
			return err
		}
		rel, _ := filepath.Rel(k.dir, name) // below it
		old, inside := strings.CutPrefix(rel, ".peerd/versions/data/")
		switch {
		case d.IsDir(), !inside && strings.HasPrefix(rel, ".peerd/"):
		case !inside:
			files[rel] = sum(t, name)
		default:
			if k.seen[old] == "" {
				k.seen[old] = sum(t, name)
			}
			versions[k.seen[old]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files, versions
}

// ref names a place in //h1/data.
func ref(path string) control.Ref { return control.Ref{Peer: "h1", Share: "data", Path: path} }

// put copies a local file to //h1/data over what is there, and gives where it is now.
func (n *node) put(ctx context.Context, from, to string) (at string, conflict bool, err error) {
	at = to
	err = n.api.Copy(ctx, control.CopyRequest{Local: control.List[string]{from}, To: ref(to), Force: true, Recursive: true, Each: true}, func(e control.CopyEvent) {
		if e.Conflict {
			at, conflict = e.To.Path, true
		}
	})
	return at, conflict, err
}

// listed gives the files that a peer sees in //h1/data, by path, with their sizes.
func (n *node) listed(ctx context.Context) (map[string]int64, error) {
	all := map[string]int64{}
	for e, err := range n.api.List(ctx, ref(""), true) {
		if err != nil {
			return nil, err
		}
		if e.Kind == control.KindFile {
			all[e.Ref.Path] = e.Size
		}
	}
	return all, nil
}

// oldSums reads every version that a peer is told of, and gives their sums.
func (n *node) oldSums(ctx context.Context) map[string]bool {
	n.t.Helper()
	all := map[string]bool{}
	for v, err := range n.api.Versions(ctx, ref(""), true) {
		if err != nil {
			n.t.Fatalf("versions: %v\n%s", err, n.log())
		}
		if v.Kind != control.KindFile {
			continue
		}
		var b bytes.Buffer
		at := v.Ref
		at.Path += "@" + v.ID
		if err := n.api.Cat(ctx, at, 0, -1, &b); err != nil {
			n.t.Fatalf("read %s: %v", at, err)
		}
		all[sumOf(b.Bytes())] = true
	}
	return all
}

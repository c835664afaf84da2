//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/cmd/internal/lantest"
)

// TestBrake has a script on a peer encrypt a share of 600 files, each in place, or as a new file with the old one removed, or all
// in one command. It is stopped soon, and one command makes it as if it had not been.
func TestBrake(t *testing.T) {
	t.Parallel()
	const files = 600
	name := func(i int) string { return fmt.Sprintf("d%d/f%03d.txt", i%7, i) }
	for _, c := range []struct {
		name    string
		encrypt func(client *node, from, path string) lantest.Result
	}{
		{"in place", func(client *node, from, path string) lantest.Result {
			return client.run(quick, "cp", "-f", from, "//h1/data/"+path)
		}},
		{"beside, and removed", func(client *node, from, path string) lantest.Result {
			if r := client.run(quick, "cp", "-f", from, "//h1/data/"+path+".locked"); r.Status != 0 {
				return r
			}
			return client.run(quick, "rm", "//h1/data/"+path)
		}},
		{"all at once", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			all, _ := nodes(t, lantest.Options{Hosts: 3})
			owner, client, reader, dir, good := all[0], all[1], all[2], ram(t), ram(t)
			for i := range files {
				for _, d := range []string{dir, good} {
					write(t, filepath.Join(d, name(i)), strings.Repeat(fmt.Sprintln("file", i), i+1))
				}
			}
			workshop(t, dir, all...)
			time.Sleep(1100 * time.Millisecond) // TIME is told in seconds
			since := time.Now().UTC().Format(time.RFC3339)
			client.ok(slow, "cp", "-r", "//h1/data", ".")
			changed, stopped := 0, lantest.Result{}
			if c.encrypt != nil {
				for i := range files {
					from := filepath.Join(client.Home, "data", name(i))
					write(t, from, fmt.Sprintf("encrypted %d: give me money", i))
					if stopped = c.encrypt(client, from, name(i)); stopped.Status != 0 {
						break
					}
					changed++
				}
			} else {
				for i := range files {
					write(t, filepath.Join(client.Home, "data", name(i)), fmt.Sprintf("encrypted %d: give me money", i))
				}
				args := []string{"cp", "-r", "-f"}
				for i := range 7 {
					args = append(args, fmt.Sprintf("data/d%d", i))
				}
				stopped = client.run(slow, append(args, "//h1/data/")...)
				for path, s := range tree(t, good) {
					if b, err := os.ReadFile(filepath.Join(dir, path)); s != "dir" && (err != nil || sumOf(b) != s) {
						changed++
					}
				}
			}
			t.Logf("stopped after %d of %d files, exit status %d: %s", changed, files, stopped.Status, strings.TrimSpace(tail(stopped.Stderr, 400)))
			if stopped.Status != 4 || changed < 100 || changed > 200 {
				t.Errorf("exit status %d after %d files", stopped.Status, changed)
			}
			if !strings.Contains(owner.log(), "share undo data") {
				t.Errorf("the owner was not told:\n%s", owner.log())
			}
			if n := len(owner.audit("brake")); n != 1 {
				t.Errorf("%d records of the brake", n)
			}
			client.fails(quick, 4, "rm", "//h1/data/"+name(files-1))
			client.ok(quick, "cat", "//h1/data/"+name(files-1))
			reader.ok(quick, "cat", "//h1/data/"+name(files-1))
			write(t, filepath.Join(reader.Home, "mine"), "of somebody else")
			reader.ok(quick, "cp", "mine", "//h1/data/mine")
			write(t, filepath.Join(good, "mine"), "of somebody else")

			began := time.Now()
			undone := owner.ok(slow, "share", "undo", "data", "--peer", "h2", "--since", since)
			t.Logf("undone in %v: %s", time.Since(began).Round(time.Millisecond), strings.TrimSpace(tail(undone, 200)))
			got := tree(t, dir)
			for path, s := range tree(t, good) {
				if got[path] != s {
					t.Errorf("%s is not as it was", path)
				}
				delete(got, path)
			}
			for path := range got {
				if !strings.HasPrefix(path, ".peerd") {
					t.Errorf("%s is left", path)
				}
			}
			client.fails(quick, 4, "rm", "//h1/data/"+name(0))
			owner.ok(quick, "share", "resume", "data", "h2")
			lantest.WaitFor(t, quick, "it to write again", func() bool { return client.run(quick, "rm", "//h1/data/"+name(0)).Status == 0 })
		})
	}
}

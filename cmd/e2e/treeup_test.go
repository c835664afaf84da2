//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/cmd/internal/lantest"
)

// TestTreeUp copies Go's source tree to a share, and from it, and to it again while one side or the other dies. Then the owner
// works on what arrived with git, and two peers that watch know the true listing.
func TestTreeUp(t *testing.T) {
	lantest.Need(t, "git")
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	src, dir := filepath.Join(strings.TrimSpace(string(root)), "src"), ram(t)
	all, _ := nodes(t, lantest.Options{Hosts: 3})
	owner, client, other := all[0], all[1], all[2]
	workshop(t, dir, all...)
	write(t, filepath.Join(dir, "first"), "")
	client.ok(quick, "mkdir", "//h1/data/up") // what opens the share for changes is not measured

	began := time.Now()
	client.ok(slow, "cp", "-r", src, "//h1/data/up/")
	up := time.Since(began)
	files := sameTree(t, src, filepath.Join(dir, "up", "src"))
	to := ram(t)
	began = time.Now()
	other.ok(slow, "cp", "-r", "//h1/data/up/src", to)
	down := time.Since(began)
	sameTree(t, src, filepath.Join(to, "src"))
	t.Logf("%d files and folders: %v up, %v down: %.2f times; peak RSS %d MiB owner, %d MiB client", files, up.Round(time.Millisecond),
		down.Round(time.Millisecond), up.Seconds()/down.Seconds(), owner.usage().hwm>>20, client.usage().hwm>>20)
	if up > 4*down { // 2 is the aim; other work on this machine falls on one of them
		t.Errorf("to copy up took %v, to fetch %v", up, down)
	}
	before := client.Traffic(0).SentBytes
	client.ok(slow, "cp", "-r", src, "//h1/data/up/")
	if again := client.Traffic(0).SentBytes - before; again > 16<<20 {
		t.Errorf("to copy up what is there took %d bytes", again)
	}

	const least = 15 << 20 // of what is sent, before one is killed
	part := filepath.Join(src, "cmd")
	for _, c := range []struct {
		name    string
		disturb func()
		status  int
	}{
		{"client killed", func() { client.daemon.Kill(); client.start() }, 7},
		{"owner killed", func() { owner.daemon.Kill(); owner.start() }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			place := strings.ReplaceAll(c.name, " ", "-")
			client.ok(quick, "mkdir", "//h1/data/"+place)
			sent := func() uint64 { return client.Traffic(0).SentBytes }
			start := sent()
			cp := client.Host.Start(client.command("cp", "-r", part, "//h1/data/"+place+"/"))
			lantest.WaitFor(t, slow, "a part to be sent", func() bool {
				if err, ended := cp.Wait(0); ended {
					t.Fatalf("cp ended before: %v\n%s", err, cp.Output())
				}
				return sent()-start > least
			})
			half := sent() - start
			c.disturb()
			_, ended := cp.Wait(slow)
			if !ended {
				t.Fatalf("cp hangs\n%s\n%s", cp.Output(), client.log())
			}
			status := cp.Cmd.ProcessState.ExitCode()
			if status != c.status {
				t.Errorf("exit status %d, want %d\n%s", status, c.status, cp.Output())
			}
			if status != 0 {
				fullView(t, quick, all...)
				client.sees("data")
				client.ok(slow, "cp", "-r", part, "//h1/data/"+place+"/")
			}
			sameTree(t, part, filepath.Join(dir, place, "cmd"))
			t.Logf("exit status %d; %d MiB sent before, %d in all", status, half>>20, (sent()-start)>>20)
			if err := os.RemoveAll(filepath.Join(dir, place)); err != nil {
				t.Error(err)
			}
		})
	}
	owner.ok(slow, "audit", "verify")
	a, b := client.looking(), other.looking()
	gitWork(t, filepath.Join(dir, "up", "src"))
	agrees(t, a, b)
}

// gitWork does to a folder what one who programs does.
func gitWork(t *testing.T, dir string) {
	t.Helper()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "gc.auto=0"}, args...)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	began := time.Now()
	git("init", "-q", "-b", "main", ".")
	git("add", "net", "os", "io")
	git("commit", "-q", "-m", "first")
	git("checkout", "-q", "-b", "side")
	git("mv", "net/http", "net/web")
	git("rm", "-r", "-q", "os/exec")
	write(t, filepath.Join(dir, "io", "new.go"), "package io\n")
	git("add", "io")
	git("commit", "-q", "-m", "second")
	for i := range 3 {
		git("checkout", "-q", "main")
		write(t, filepath.Join(dir, "io", "note"), fmt.Sprint("round ", i))
		git("checkout", "-q", "side")
	}
	git("gc", "-q")
	git("checkout", "-q", "main")
	t.Logf("git worked for %v", time.Since(began).Round(time.Millisecond))
}

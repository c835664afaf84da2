//go:build linux

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/peerd/peerd/cmd/internal/lantest"
)

// TestFullDisk has a share on a disk of 64 MiB that gets full, read-only, and holds what peerd may not touch. Each time the error
// is clear, nothing is lost, and the other share works on.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	const disk, reserve = 64 << 20, (64 << 20) / 20
	lantest.Need(t, "setpriv")
	dir, safe := ram(t), ram(t)
	if err := unix.Mount("peerd-e2e-small", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=755", disk)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	all, _ := nodes(t, lantest.Options{Hosts: 2}) // they have mounts of their own, made now
	owner, client := all[0], all[1]
	owner.began = time.Now()
	owner.daemon = owner.Host.Start(owner.Command("setpriv", "--bounding-set", "-dac_override,-dac_read_search,-fowner", // else root may all
		owner.peerd, "--home", owner.home, "run"))
	owner.waitReady()
	client.start()
	for name, d := range map[string]string{"data": dir, "safe": safe} {
		owner.ok(quick, "share", "add", d, "--name", name, "--read", "open", "--full", "open")
	}
	fullView(t, quick, all...)
	client.sees("data")
	client.sees("safe")

	local := func(name string, size int) string {
		path := filepath.Join(client.Home, name)
		write(t, path, string(bytes.Repeat([]byte(name), size/len(name)+1)[:size]))
		return path
	}
	free := func() int64 {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		return int64(st.Bavail) * st.Bsize
	}
	works := 0 // all but the share that is in trouble
	fails := func(status int, says string, args ...string) {
		t.Helper()
		r := client.fails(slow, status, args...)
		if !strings.Contains(r.Stderr, says) {
			t.Errorf("%v: %s: it does not say %q", args, r.Stderr, says)
		}
		t.Logf("%s: exit status %d: %s", args[0], status, strings.TrimSpace(r.Stderr))
		works++
		text := fmt.Sprint("works ", works)
		write(t, filepath.Join(client.Home, "note"), text)
		client.ok(quick, "cp", "-f", "note", "//h1/safe/note")
		if got := client.ok(quick, "cat", "//h1/safe/note"); got != text {
			t.Errorf("the other share has %q, want %q", got, text)
		}
	}
	same := func(path, local string) {
		t.Helper()
		want, err := os.ReadFile(local)
		if err != nil {
			t.Fatal(err)
		}
		if client.ok(quick, "cat", "//h1/data/"+path) != string(want) || sum(t, filepath.Join(dir, path)) != sum(t, local) {
			t.Errorf("%s is not as it was", path)
		}
	}

	a, b, large := local("a", 20<<20), local("b", 20<<20), local("large", 80<<20)
	fails(1, "reserve", "cp", large, "//h1/data/")
	if used := disk - free(); used > 1<<20 {
		t.Errorf("%d bytes were used for a file for which there is no room", used)
	}
	client.ok(slow, "cp", a, "//h1/data/a")
	fails(1, "reserve", "cp", large, "//h1/data/")
	small, put := local("small", 512<<10), 0
	var last lantest.Result
	for ; put < 200; put++ {
		if last = client.run(slow, "cp", small, fmt.Sprintf("//h1/data/small%d", put)); last.Status != 0 {
			break
		}
	}
	t.Logf("%d small ones fit, then %s; %d bytes are free", put, strings.TrimSpace(last.Stderr), free())
	if last.Status != 1 || !strings.Contains(last.Stderr, "reserve") || free() < reserve {
		t.Errorf("exit status %d, %d bytes free, %d are to be kept", last.Status, free(), reserve)
	}
	fails(1, "", "cp", "-f", b, "//h1/data/a")
	same("a", a)
	fails(1, "", "rm", "//h1/data/a") // as a version it would take more than versions may
	same("a", a)
	for i := range put {
		same(fmt.Sprintf("small%d", i), small)
	}

	filler, err := os.Create(filepath.Join(dir, "filler")) // the owner's own, to the last byte
	for err == nil {
		_, err = filler.Write(make([]byte, 64<<10))
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	fails(1, "", "cp", local("tiny", 10), "//h1/data/tiny")
	fails(1, "", "cp", "-f", local("tiny", 10), "//h1/data/small0")
	same("small0", small)
	client.ok(quick, "ls", "-R", "//h1/data")
	if err := errors.Join(filler.Close(), os.Remove(filler.Name())); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if err := os.Remove(filepath.Join(dir, fmt.Sprintf("small%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	client.ok(slow, "cp", local("tiny", 10), "//h1/data/tiny")
	client.ok(slow, "rm", "//h1/data/tiny")

	remount := func(flags uintptr) {
		t.Helper()
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|flags, fmt.Sprintf("size=%d", disk)); err != nil {
			t.Fatal(err)
		}
	}
	remount(unix.MS_RDONLY)
	last20 := fmt.Sprintf("small%d", put-1)
	for _, args := range [][]string{
		{"cp", local("tiny", 10), "//h1/data/tiny"}, {"cp", "-f", local("tiny", 10), "//h1/data/" + last20}, {"rm", "//h1/data/" + last20},
		{"mv", "//h1/data/" + last20, "//h1/data/other"}, {"mkdir", "//h1/data/folder"},
	} {
		fails(1, "read", args...)
	}
	same(last20, small)
	remount(0)
	client.ok(slow, "mv", "//h1/data/"+last20, "//h1/data/other")
	same("other", small)

	for name, mode := range map[string]os.FileMode{"foreign": 0o755, "closed": 0o700} {
		sub := filepath.Join(dir, name)
		write(t, filepath.Join(sub, "f"), "foreign")
		if err := errors.Join(os.Chmod(sub, mode), os.Chown(sub, 1000, 1000)); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{
			{"cp", local("tiny", 10), "//h1/data/" + name + "/tiny"}, {"cp", "-f", local("tiny", 10), "//h1/data/" + name + "/f"},
			{"rm", "//h1/data/" + name + "/f"}, {"mkdir", "//h1/data/" + name + "/folder"}, {"mv", "//h1/data/other", "//h1/data/" + name + "/other"},
		} {
			fails(1, "", args...)
		}
		if b, err := os.ReadFile(filepath.Join(sub, "f")); string(b) != "foreign" {
			t.Errorf("%s/f: %q, %v", name, b, err)
		}
	}
	same("other", small)

	long := strings.Repeat("x", 256)
	fails(2, "", "cp", local("tiny", 10), "//h1/data/"+long)
	fails(2, "", "mkdir", "//h1/data/"+long)
	fails(2, "", "mv", "//h1/data/other", "//h1/data/"+long)
	fails(6, "other", "cp", local("tiny", 10), "//h1/data/OTHER")
	fails(6, "other", "mkdir", "//h1/data/Other")
	same("other", small)
	owner.ok(quick, "audit", "verify")
	if _, ended := owner.daemon.Wait(0); ended {
		t.Error("the daemon ended")
	}
}

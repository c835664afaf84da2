//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/peerd/peerd/cmd/internal/lantest"
)

// stick is a folder on a disk as memory sticks have it: exFAT, which has no regard to the case of names, knows no links, no
// permissions and no file numbers that last, and can't rename without replacing.
func stick(t *testing.T) string {
	t.Helper()
	lantest.Need(t, "mkfs.exfat", "mount.exfat-fuse", "losetup")
	image, dir := filepath.Join(ram(t), "image"), ram(t)
	write(t, image, "")
	tool := func(name string, args ...string) string {
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if err := os.Truncate(image, 256<<20); err != nil {
		t.Fatal(err)
	}
	tool("mkfs.exfat", image)
	out, err := exec.Command("losetup", "--find", "--show", image).CombinedOutput()
	if err != nil {
		t.Skipf("this system has no block device made of a file: %v\n%s", err, out)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() { tool("losetup", "--detach", device) })
	tool("mount.exfat-fuse", device, dir)
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestStick offers a folder of a disk that has no regard to case: to change files there, to be killed while at it, to mount it.
func TestStick(t *testing.T) {
	t.Parallel()
	dir := stick(t) // before the hosts, which have mounts of their own
	all, _ := nodes(t, lantest.Options{Hosts: 2})
	owner, client := all[0], all[1]
	for _, n := range all {
		n.start()
	}
	fullView(t, quick, all...)
	owner.open(dir, "data")
	client.knows("//h1/data")
	local := func(name, text string) string {
		path := filepath.Join(client.Home, name)
		write(t, path, text)
		return path
	}
	has := func(want map[string]string) {
		t.Helper()
		got := make(map[string]string)
		listed, err := client.listed(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for path := range listed {
			got[path] = client.ok(quick, "cat", "//h1/data/"+path)
			if b, err := os.ReadFile(filepath.Join(dir, path)); err != nil || string(b) != got[path] {
				t.Errorf("%s: %q is on the disk, %v", path, b, err)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("there is %v, want %v", got, want)
		}
	}

	client.ok(quick, "cp", local("one", "1"), "//h1/data/Plan.txt")
	has(map[string]string{"Plan.txt": "1"})
	for _, name := range []string{"plan.txt", "PLAN.TXT", "pLaN.tXt"} {
		client.fails(quick, 6, "cp", local("two", "2"), "//h1/data/"+name)
		for _, args := range [][]string{{"cp", "-f", local("two", "2"), "//h1/data/" + name}, {"mkdir", "//h1/data/" + name}} {
			if r := client.fails(quick, 6, args...); !strings.Contains(r.Stderr, "Plan.txt") {
				t.Errorf("%v: it does not name Plan.txt: %s", args, r.Stderr)
			}
		}
	}
	has(map[string]string{"Plan.txt": "1"})
	client.ok(quick, "mv", "//h1/data/Plan.txt", "//h1/data/PLAN.txt") // it is its own name
	has(map[string]string{"PLAN.txt": "1"})
	client.ok(quick, "cp", "-f", local("two", "2"), "//h1/data/PLAN.txt")
	has(map[string]string{"PLAN.txt": "2"})
	if v := client.ok(quick, "versions", "//h1/data/PLAN.txt"); !strings.Contains(v, "h2") {
		t.Errorf("versions: %s", v)
	}
	client.ok(quick, "rm", "//h1/data/PLAN.txt")
	has(map[string]string{})
	client.ok(quick, "cp", local("three", "3"), "//h1/data/plan.txt")
	client.ok(quick, "mkdir", "//h1/data/Folder")
	client.fails(quick, 6, "mkdir", "//h1/data/FOLDER")
	client.ok(quick, "mv", "//h1/data/plan.txt", "//h1/data/Folder/plan.txt")
	has(map[string]string{"Folder/plan.txt": "3"})

	large := string(pattern(20 << 20))
	client.ok(slow, "cp", local("large", large), "//h1/data/")
	if sum(t, filepath.Join(dir, "large")) != sum(t, filepath.Join(client.Home, "large")) {
		t.Error("a large file came otherwise")
	}
	client.ok(slow, "cp", "//h1/data/large", "back")
	owner.daemon.Kill()
	owner.start()
	client.knows("//h1/data")
	client.ok(slow, "cp", "-f", local("large", large[:5<<20]), "//h1/data/large")
	if b, err := os.ReadFile(filepath.Join(dir, "large")); err != nil || string(b) != large[:5<<20] {
		t.Errorf("large: %d bytes, %v", len(b), err)
	}
	client.ok(quick, "rm", "//h1/data/large")

	m := client.mount("m", "//h1/data")
	if err := os.WriteFile(m.path("Folder/New"), []byte("new"), 0o644); err != nil {
		t.Error(err)
	}
	waitDelivered(t, client)
	if err := os.WriteFile(m.path("Folder/nEW"), []byte("other"), 0o644); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a save under a name that differs in case alone: %v", err)
	}
	if p := client.mountList().Pending; len(p) > 0 {
		t.Errorf("%v waits", p)
	}
	if err := os.Rename(m.path("Folder/New"), m.path("Folder/NEW")); err != nil {
		t.Error(err)
	}
	waitDelivered(t, client)
	has(map[string]string{"Folder/plan.txt": "3", "Folder/NEW": "new"})
	write(t, filepath.Join(dir, "Own"), "of the owner")
	lantest.WaitFor(t, slow, "the mount to show it", func() bool {
		s, err := m.text("Own")
		return err == nil && s == "of the owner"
	})
	owner.ok(quick, "audit", "verify")
}

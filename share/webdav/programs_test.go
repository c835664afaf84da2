//go:build unix

package webdav_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/peerd/peerd/share"
)

// need skips the test if a program is missing; with CI=true in the environment it fails instead, so that nothing is left out unseen.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		_, err := exec.LookPath(p)
		if filepath.IsAbs(p) {
			_, err = os.Stat(p)
		}
		if err != nil {
			lacking(t, "needs "+p)
		}
	}
}

func lacking(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s, and CI=true forbids skipping", why)
	}
	t.Skip(why)
}

// program runs one in a folder of its own, which is its home too, and gives what it prints.
func program(t *testing.T, dir, stdin, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_RUNTIME_DIR="+dir, "XDG_CACHE_HOME="+dir, "XDG_CONFIG_HOME="+dir, "GVFS_DISABLE_FUSE=1", "LC_ALL=C.UTF-8")
	cmd.Stdin = strings.NewReader(stdin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestLitmus runs the suite of WebDAV's own working group: 104 tests in 5 parts.
func TestLitmus(t *testing.T) {
	need(t, "litmus")
	_, c := folder(t, share.Full)
	out := strings.ReplaceAll(program(t, t.TempDir(), "", "litmus", "-k", c.base), "\r", "\n")
	total := 0
	for _, m := range regexp.MustCompile(`<- summary for .*: of (\d+) tests run: (\d+) passed, (\d+) failed`).FindAllStringSubmatch(out, -1) {
		if m[1] != m[2] || m[3] != "0" {
			t.Error(m[0])
		}
		total++
	}
	if total != 5 || strings.Contains(out, "skipped") || strings.Contains(out, "WARNING") || t.Failed() {
		t.Errorf("%d parts ran\n%s", total, out)
	}
}

func TestCadaver(t *testing.T) {
	need(t, "cadaver")
	s, c := folder(t, share.Full)
	dir := t.TempDir()
	data := noise(200_000)
	write(t, filepath.Join(dir, "up"), data)
	out := program(t, dir, "mkcol d\ncd d\nput up\nls\nlock up\ncopy up copied\nunlock up\nmove copied moved\nget moved down\ndelete up\ncd ..\nmkcol gone\nrmcol gone\nquit\n", "cadaver", c.base)
	if down, err := os.ReadFile(filepath.Join(dir, "down")); err != nil || !bytes.Equal(down, data) {
		t.Errorf("what came back is not what was sent: %v", err)
	}
	if got := s.Paths(); !slices.Equal(got, []string{"d/", "d/moved"}) || strings.Contains(out, "failed") {
		t.Errorf("then there is %q\n%s", got, out)
	}
}

func TestRclone(t *testing.T) {
	need(t, "rclone")
	for _, vendor := range []string{"other", "owncloud"} {
		t.Run(vendor, func(t *testing.T) {
			s, c := folder(t, share.Full)
			dir := t.TempDir()
			when := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
			for i, name := range []string{"a", "b/ü name #%&+.txt", "b/c/d", "empty", "~$x"} {
				write(t, filepath.Join(dir, "src", name), noise(i*50_000%200_000))
				if err := os.Chtimes(filepath.Join(dir, "src", name), when, when); err != nil {
					t.Fatal(err)
				}
			}
			rclone := func(args ...string) string {
				t.Helper()
				return program(t, dir, "", "rclone", append([]string{"--config", "", "--webdav-url", c.base, "--webdav-vendor", vendor, "--retries", "1"}, args...)...)
			}
			rclone("sync", "src", ":webdav:to")
			rclone("check", "--download", "src", ":webdav:to")
			if at, _, _ := s.Stat("to/b/c/d"); vendor == "owncloud" && !at.Equal(when) {
				t.Errorf("its time is %v", at)
			}
			rclone("moveto", ":webdav:to/a", ":webdav:to/b/moved")
			rclone("copyto", ":webdav:to/b/moved", ":webdav:to/copied")
			rclone("deletefile", ":webdav:to/b/moved")
			rclone("purge", ":webdav:to/b")
			if got := s.Paths(); !slices.Equal(got, []string{"to/", "to/copied", "to/empty", "to/~$x"}) {
				t.Errorf("then there is %q", got)
			}
			if about := rclone("about", ":webdav:"); !strings.Contains(about, "Free") {
				t.Errorf("about: %s", about)
			}
		})
	}
}

func TestDavfs2(t *testing.T) {
	need(t, "mount.davfs", "/dev/fuse")
	if os.Geteuid() != 0 {
		lacking(t, "needs root, to mount")
	}
	s, c := folder(t, share.Full)
	dir := t.TempDir()
	for d := dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) { // davfs2 goes there as a user of its own
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	at := filepath.Join(dir, "mnt")
	write(t, filepath.Join(dir, "secrets"), []byte(c.base+` "" ""`+"\n"))
	if err := os.Chmod(filepath.Join(dir, "secrets"), 0o600); err != nil {
		t.Fatal(err)
	}
	// A buffer of another size makes reading folders fail on Linux 6.16 and later.
	write(t, filepath.Join(dir, "conf"), []byte("buf_size 1040\ndelay_upload 0\nuse_locks 1\nask_auth 0\nsecrets "+filepath.Join(dir, "secrets")+"\n"))
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	program(t, dir, "", "mount.davfs", "-o", "conf="+filepath.Join(dir, "conf"), c.base, at)
	unmounted := false
	t.Cleanup(func() {
		if !unmounted {
			_ = exec.Command("umount", "-l", at).Run() // a failed test has more to say
		}
	})
	data := noise(300_000)
	steps := []error{
		os.WriteFile(filepath.Join(at, "f"), data, 0o644),
		os.Mkdir(filepath.Join(at, "d"), 0o755),
		os.WriteFile(filepath.Join(at, "temp"), []byte("new"), 0o644),
		os.Rename(filepath.Join(at, "temp"), filepath.Join(at, "d", "doc")),
		os.WriteFile(filepath.Join(at, "gone"), nil, 0o644),
		os.Remove(filepath.Join(at, "gone")),
	}
	for i, err := range steps {
		if err != nil {
			t.Errorf("step %d: %v", i, err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(at, "f")); err != nil || !bytes.Equal(b, data) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	program(t, dir, "", "umount", at) // waits until all is sent
	unmounted = true
	if got := s.Paths(); !slices.Equal(got, []string{"d/", "d/doc", "f"}) {
		t.Errorf("then there is %q", got)
	}
	if b, _ := s.Read("f"); !bytes.Equal(b, data) {
		t.Error("other bytes came to the owner")
	}
}

// TestGNOME goes as the file manager does.
func TestGNOME(t *testing.T) {
	need(t, "gio", "dbus-run-session", "bash")
	if _, err := os.Stat("/usr/lib/gvfs/gvfsd-dav"); err != nil {
		need(t, "/usr/libexec/gvfsd-dav")
	}
	s, c := folder(t, share.Full)
	dir := t.TempDir()
	data := noise(200_000)
	write(t, filepath.Join(dir, "up"), data)
	program(t, dir, "", "dbus-run-session", "--", "bash", "-euc", `
		gio mount "$1"
		gio copy up "$1/up"
		gio copy "$1/up" down
		gio mkdir "$1/d"
		gio move "$1/up" "$1/d/moved"
		gio rename "$1/d/moved" renamed
		gio list "$1/d"
		gio copy "$1/d/renamed" "$1/gone"
		gio remove "$1/gone"
		gio mount -u "$1"`, "bash", strings.Replace(c.base, "http:", "dav:", 1))
	if down, err := os.ReadFile(filepath.Join(dir, "down")); err != nil || !bytes.Equal(down, data) {
		t.Errorf("what came back is not what was sent: %v", err)
	}
	if got := s.Paths(); !slices.Equal(got, []string{"d/", "d/renamed"}) {
		t.Errorf("then there is %q", got)
	}
}

//go:build unix

package webdav_test

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/peerd/peerd/share"
)

// need skips the test if a program is missing; with CI=true in the environment it fails instead, so that nothing is left out unseen.
func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("needs %s, and CI=true forbids skipping", program)
	}
	t.Skip("needs " + program)
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

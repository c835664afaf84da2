package server_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/peerd/peerd/peer/control/controltest"
	"github.com/peerd/peerd/peer/control/server"
)

func TestOnlyThisUserIsAnswered(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("becoming another user takes root")
	}
	dir, err := os.MkdirTemp("/tmp", "peerd-test-") // t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "ctl.sock")
	l, err := server.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, controltest.New())

	as := func(uid uint32) string {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{knockEnv + "=" + socket}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("knocking as user %d: %v: %s", uid, err, out)
		}
		return string(out)
	}
	if got := as(0); got != "HTTP/1.1 200 OK" {
		t.Errorf("as root: %q", got)
	}
	if got := as(65534); !strings.Contains(got, "permission denied") {
		t.Errorf("as another user, the folder closed: %q", got)
	}
	// With every door open, the question for the user remains.
	if err := errors.Join(os.Chmod(dir, 0o777), os.Chmod(socket, 0o777)); err != nil {
		t.Fatal(err)
	}
	if got := as(65534); strings.Contains(got, "HTTP") || strings.Contains(got, "dial") {
		t.Errorf("as another user, the folder open: %q", got)
	}
	if got := as(0); got != "HTTP/1.1 200 OK" {
		t.Errorf("as root again: %q", got)
	}
}

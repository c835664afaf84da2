package registry

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/peerd/peerd/peer"
)

// TestUnreadable: a folder that peerd can't list or enter is refused when it is to be shared.
func TestUnreadable(t *testing.T) {
	top := folder(t)
	for dir := top; dir != filepath.Clean(os.TempDir()) && dir != "/"; dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755))
	}
	r := reopen(t, state(t))
	for name, mode := range map[string]os.FileMode{"closed": 0, "no-listing": 0o311, "no-entering": 0o644, "good": 0o755} {
		dir := filepath.Join(top, name)
		must(t, os.Mkdir(dir, 0o755))
		must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o644))
		must(t, os.Chmod(dir, mode))
		var err error
		unprivileged(t, func() { _, err = resolve(dir) })
		if name == "good" {
			must(t, err)
			continue
		}
		wantKind(t, name, err, peer.Denied)
		if os.Geteuid() != 0 {
			_, err = r.Add(Share{Name: "s", Dir: dir}, Secrets{}, start)
			wantKind(t, name, err, peer.Denied)
		}
		must(t, os.Chmod(dir, 0o755)) // so that it can be removed
	}
}

// unprivileged runs f as somebody whom permissions bind: for root, whom they don't, as nobody as far as files go.
func unprivileged(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	const nobody = 65534
	runtime.LockOSThread() // of this thread alone
	defer runtime.UnlockOSThread()
	must(t, unix.Setfsuid(nobody))
	f()
	must(t, unix.Setfsuid(0))
}

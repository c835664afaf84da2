package registry

import (
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/peerd/peerd/peer"
)

// TestMounts shares a disk, and peerd's own folder and /proc under other names: the paths differ, device and inode don't.
func TestMounts(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may mount")
	}
	top, dir := folder(t), state(t)
	r := reopen(t, dir)
	must(t, os.Mkdir(filepath.Join(dir, "inner"), 0o755))
	for _, name := range []string{"own", "proc", "disk", "plain"} {
		must(t, os.Mkdir(filepath.Join(top, name), 0o755))
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		runtime.LockOSThread() // and never unlocked, so the namespace ends with the thread
		for _, err := range []error{
			unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS),
			unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount(dir, filepath.Join(top, "own"), "", unix.MS_BIND, ""),
			unix.Mount("/proc", filepath.Join(top, "proc"), "", unix.MS_BIND, ""),
			unix.Mount("tmpfs", filepath.Join(top, "disk"), "tmpfs", 0, ""),
		} {
			if err != nil {
				t.Errorf("no namespace: %v", err)
				return
			}
		}
		for _, name := range []string{"own", "own/inner", "own/keys", "proc", "proc/sys"} {
			_, err := r.Add(Share{Name: "s", Dir: filepath.Join(top, name)}, Secrets{}, start)
			wantKind(t, name, err, peer.Usage)
		}
		for name, mount := range map[string]bool{"disk": true, "plain": false} {
			if s, err := r.Add(Share{Name: "s", Dir: filepath.Join(top, name)}, Secrets{}, start); err != nil || s.Mount != mount {
				t.Errorf("%s: %+v, %v", name, s, err)
			} else if err := r.Remove(s.ID); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
}

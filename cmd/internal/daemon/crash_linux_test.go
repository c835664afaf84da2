package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/peerd/peerd/cmd/internal/config"
)

// TestShareAroundDeadMount: what a daemon that died left mounted keeps the next one from no share.
func TestShareAroundDeadMount(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount by itself")
	}
	anna := start(t, "anna")
	anna.stop()
	dir := t.TempDir()
	on := filepath.Join(dir, "peers")
	if err := os.Mkdir(on, 0o755); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip(err)
	}
	err = unix.Mount("peerd", on, "fuse.peerd", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd))
	_ = unix.Close(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(on, unix.MNT_DETACH) // if it is there still
	anna.cfg.Shares = []config.Share{{Dir: dir, Name: "docs"}}
	anna.run()
	all, err := anna.ShareList(t.Context())
	if works(t, "share ls", err); len(all) != 1 || all[0].Name != "docs" {
		t.Errorf("shared are %+v", all)
	}
}

package faces

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

// TestUnmountSilent: a peerd mount that does not answer keeps no unmount waiting, be it of that or of another, nor the end.
func TestUnmountSilent(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount by itself")
	}
	top := t.TempDir()
	stuck, link, other := filepath.Join(top, "stuck"), filepath.Join(top, "link"), filepath.Join(top, "other")
	for _, err := range []error{os.Mkdir(stuck, 0o755), os.Symlink(stuck, link)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip(err)
	}
	daemon := os.NewFile(uintptr(fd), "fuse")
	defer daemon.Close()
	if err := unix.Mount("peerd", stuck, "fuse.peerd", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(stuck, unix.MNT_DETACH)
	tb := table(t, t.TempDir(), newSystem())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, dir := range []string{stuck, link, filepath.Join(stuck, "anna")} {
			if err := tb.Unmount(t.Context(), dir); peer.KindOf(err) != peer.NotFound {
				t.Errorf("%s: %v", dir, err)
			}
		}
		for _, dir := range []string{stuck, other} { // that one is another's on it does not matter here
			if _, err := tb.Mount(t.Context(), control.MountRequest{Dir: dir}); err != nil {
				t.Error(err)
			}
		}
		if err := tb.Unmount(t.Context(), link); err != nil {
			t.Errorf("by a link: %v", err)
		}
		if err := tb.Unmount(t.Context(), other); err != nil {
			t.Error(err)
		}
		tb.Close()
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Error("it waits for a mount that does not answer")
		_ = daemon.Close() // which frees it
		<-done
	}
}

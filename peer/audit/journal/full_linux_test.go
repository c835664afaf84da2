package journal

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/peerd/peerd/peer/audit"
)

// TestFullDisk fills a real file system, has it read-only, and makes room again.
func TestFullDisk(t *testing.T) {
	mount := t.TempDir()
	if err := unix.Mount("tmpfs", mount, "tmpfs", 0, "size=128k,mode=0700"); err != nil {
		t.Skipf("no file system of its own for this test: %v", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(mount, 0)) })
	dir := filepath.Join(mount, "audit")
	l := opened(t, dir, Options{Queue: 100})
	l.Add(event(t, 0))
	must(t, l.Flush(t.Context()))
	ballast := filepath.Join(mount, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
	for i := range 300 {
		l.Add(event(t, i))
		_ = l.Flush(t.Context())
	}
	if err := l.Err(); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("on a full disk: %v", err)
	}
	must(t, os.Remove(ballast))
	must(t, l.Flush(t.Context()))
	must(t, l.Err())
	must(t, l.Close())
	rep := verified(t, dir)
	if got := uint64(len(read(t, dir, Filter{Kinds: []audit.Kind{audit.KindRead}}))); got+rep.Dropped != 301 || rep.Dropped == 0 {
		t.Errorf("%d are recorded and %d dropped, of 301", got, rep.Dropped)
	}

	must(t, unix.Mount("", mount, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	l = opened(t, dir, Options{})
	l.Add(event(t, 1))
	if err := l.Flush(t.Context()); !errors.Is(err, unix.EROFS) {
		t.Errorf("on a read-only disk: %v", err)
	}
	must(t, unix.Mount("", mount, "", unix.MS_REMOUNT, ""))
	must(t, l.Flush(t.Context()))
	must(t, l.Close())
	verified(t, dir)
}

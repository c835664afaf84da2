package store_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/peerd/peerd/transfer/store"
)

// smallDisk mounts a file system of its own, of some size in KiB.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting takes root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size+"k"); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func free(t *testing.T, dir string) (free, total int64) {
	t.Helper()
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Bavail) * st.Bsize, int64(st.Blocks) * st.Bsize
}

// With a limit beyond the disk, a reserve stays free; what others write is given way to; and all goes on when they are gone.
func TestCacheFullDisk(t *testing.T) {
	const size = 100_000
	disk := smallDisk(t, "24576")
	dir := filepath.Join(disk, "cache")
	c := openCache(t, dir, 1<<30)
	fill := func(from int) (kept int) {
		t.Helper()
		for n := from; n < from+600; n++ {
			if c.Has(put(c, n, size), size) {
				kept++
			}
			if free, total := free(t, disk); free < total/20-16<<10 { // what the last pages and names take is not counted
				t.Fatalf("%d bytes are free after %d pieces", free, n-from)
			}
		}
		return kept
	}
	if kept := fill(0); kept < 550 {
		t.Errorf("%d pieces were kept", kept)
	}
	within(t, c, dir)

	// Others fill what is left.
	big := filepath.Join(disk, "big")
	f, err := os.Create(big)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 64<<10))
	}
	f.Close()
	used, _, _ := c.Usage()
	for n := range 100 {
		put(c, 10_000+n, size)
	}
	if now, _, _ := c.Usage(); now > used {
		t.Errorf("%d bytes are used, %d before", now, used)
	}
	if free, total := free(t, disk); free < total/20 {
		t.Errorf("%d bytes are free: the cache did not give way", free)
	}
	if err := os.Remove(big); err != nil {
		t.Fatal(err)
	}
	if kept := fill(20_000); kept < 550 {
		t.Errorf("%d pieces were kept when there was room again", kept)
	}
	within(t, c, dir)
}

// A disk that fills up within a write, unseen by the look at its free space, makes a miss and harms no other piece.
func TestCacheWriteFails(t *testing.T) {
	const size = 50_000
	disk := smallDisk(t, "16384")
	dir := filepath.Join(disk, "cache")
	c := openCache(t, dir, 1<<30)
	put(c, 1, size)
	f, err := os.Create(filepath.Join(disk, "big"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if free, _ := free(t, disk); f.Truncate(free) != nil || syscall.Fallocate(int(f.Fd()), 0, 0, free-size/2) != nil {
		t.Skip("the disk can't be filled")
	}
	for n := range 20 {
		put(c, 2+n, size)
		for old := range 2 + n {
			holds(t, c, old+1, size)
		}
		within(t, c, dir)
	}
	if limit := store.DefaultCacheLimit(dir); limit > 16<<20/10 {
		t.Errorf("the default limit is %d", limit)
	}
	if err := os.Remove(f.Name()); err != nil {
		t.Fatal(err)
	}
	f.Close()
	for n := range 3 { // the first may find the disk as full as it was
		put(c, 100+n, size)
	}
	if !holds(t, c, 102, size) {
		t.Error("nothing is kept when there is room again")
	}
}

package fetch_test

import (
	"testing"

	"golang.org/x/sys/unix"
)

// tmpfs mounts a file system of its own, so that it can be full or read-only.
func tmpfs(t testing.TB, options string) string {
	t.Helper()
	dir := t.TempDir()
	var flags uintptr
	if len(options) > 3 && options[len(options)-3:] == ",ro" {
		options, flags = options[:len(options)-3], unix.MS_RDONLY
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", flags, options); err != nil {
		t.Skip("can't mount: ", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

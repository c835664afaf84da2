//go:build linux || darwin

package mount_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/mount"
	"github.com/peerd/peerd/share/vfs"
	"github.com/peerd/peerd/share/vfs/vfstest"
)

// needs skips a test where nothing can be mounted, unless it must not be skipped.
func needs(t *testing.T) {
	t.Helper()
	err := mount.Available()
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatal(err)
	default:
		t.Skip(err)
	}
}

// show mounts a tree for the length of a test, and gives the folder.
func show(t *testing.T, fs *vfs.FS, o mount.Options) string {
	t.Helper()
	needs(t)
	dir := filepath.Join(t.TempDir(), "mnt")
	o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	m, err := mount.New(t.Context(), fs, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, end := context.WithTimeout(context.Background(), 20*time.Second)
		defer end()
		if err := m.Unmount(ctx); err != nil {
			t.Error(err)
		}
		m.Wait()
	})
	return dir
}

// docs mounts one share, with a right, and gives both.
func docs(t *testing.T, right share.Right) (*vfstest.Share, string) {
	t.Helper()
	w := vfstest.NewWorld()
	s := w.Add("anna").Share("docs", right)
	return s, show(t, vfstest.Running(t, w), mount.Options{Root: []string{"anna", "docs"}})
}

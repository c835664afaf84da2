package vfs_test

import (
	"context"
	"testing"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs"
	"github.com/peerd/peerd/share/vfs/vfstest"
)

// tree gives a running tree of a world.
func tree(t *testing.T, w vfs.World) *vfs.FS {
	t.Helper()
	f, err := vfs.New(w, vfs.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = f.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func TestConformance(t *testing.T) {
	vfstest.Run(t, func(t *testing.T) vfstest.Files {
		w := vfstest.NewWorld()
		w.Add("anna").Share("docs", share.Full)
		return vfstest.Tree{FS: tree(t, w), Root: []string{"anna", "docs"}, Ctx: t.Context()}
	})
}

package vfs_test

import (
	"testing"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs/vfstest"
)

func TestConformance(t *testing.T) {
	vfstest.Run(t, func(t *testing.T) vfstest.Files {
		w := vfstest.NewWorld()
		w.Add("anna").Share("docs", share.Full)
		return vfstest.Tree{FS: vfstest.Running(t, w), Root: []string{"anna", "docs"}, Ctx: t.Context()}
	})
}

package vfs_test

import (
	"fmt"
	"testing"
	"time"
)

// TestLongUpload: an upload finds its folder at the end, though so much is known that what nobody has used for a minute is forgotten.
func TestLongUpload(t *testing.T) {
	in(t, func(x *fixture) {
		for i := range 20001 {
			x.share.Write(fmt.Sprint("many/", i), nil)
		}
		x.share.Mkdir("d")
		_, err := x.List("many")
		x.ok(err)
		d := mustWalk(x, "d").Ino
		u, err := x.FS.Upload(x.Ctx, d, "film")
		x.ok(err)
		defer u.Abort()
		_, err = u.Write([]byte("long"))
		x.ok(err)
		time.Sleep(5 * time.Minute)
		_, err = u.Commit(x.Ctx, time.Time{})
		x.ok(err)
		x.drain()
		x.there("d/film", "long")
		given, err := x.FS.Upload(x.Ctx, d, "up")
		x.ok(err)
		given.Abort()
		_, err = x.List("many")
		x.ok(err)
		time.Sleep(5 * time.Minute)
		if x.FS.Path(d) != "" {
			x.Error("the folder is held though nothing is uploaded any more")
		}
	})
}

package change_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/change/disk"
	"github.com/peerd/peerd/share/local"
	"github.com/peerd/peerd/share/sharetest"
)

// TestSpeed tells what single changes cost on the disk of the folder for temporary files; it judges nothing. SPEED=1 runs it.
func TestSpeed(t *testing.T) {
	if os.Getenv("SPEED") == "" {
		t.Skip("SPEED is not set")
	}
	d, err := local.NewDisk(t.TempDir(), local.Options{})
	must(t, err)
	e, err := change.Open(t.Context(), d, change.Options{})
	must(t, err)
	const n = 200
	p := func(what string, i int) string { return fmt.Sprintf("d/%s%d", what, i) }
	must(t, e.Mkdir(t.Context(), sharetest.P(t, "d"), false, anna).Err)
	measure := func(what string, do func(i int) change.Result) {
		began := time.Now()
		for i := range n {
			must(t, do(i).Err)
		}
		t.Logf("%-8s %.2f ms each", what, time.Since(began).Seconds()*1e3/n)
	}
	put := func(i int) change.Result {
		name := fmt.Sprint("up", i)
		f, err := d.Own(true, "tmp")
		must(t, err)
		must(t, f.Create(name, make([]byte, 4096)))
		f.Close()
		return e.Commit(t.Context(), []change.Put{{Staged: name, Path: sharetest.P(t, p("f", i)), Base: anyBase, By: anna}})[0]
	}
	measure("put", put)
	measure("replace", put)
	measure("touch", func(i int) change.Result {
		when := time.Unix(1e9, 0)
		return e.Touch(t.Context(), sharetest.P(t, p("f", i)), anyBase, disk.Set{ModTime: &when}, anna)
	})
	measure("mkdir", func(i int) change.Result { return e.Mkdir(t.Context(), sharetest.P(t, p("k", i)), false, anna) })
	measure("move", func(i int) change.Result {
		return e.Move(t.Context(), sharetest.P(t, p("f", i)), sharetest.P(t, p("m", i)), anyBase, change.Base{}, anna)
	})
	measure("remove", func(i int) (last change.Result) {
		for r := range e.Remove(t.Context(), sharetest.P(t, p("m", i)), anyBase, false, anna) {
			last = r
		}
		return last
	})
}

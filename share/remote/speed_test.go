package remote_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/remote"
	"github.com/peerd/peerd/share/serve/servetest"
	"github.com/peerd/peerd/share/watch"
)

// TestSpeed tells what each way to look and to change costs, over loopback; it judges nothing. SPEED=1 runs it.
func TestSpeed(t *testing.T) {
	if os.Getenv("SPEED") == "" {
		t.Skip("SPEED is not set")
	}
	const folders, each = 1000, 10
	w := servetest.New(t)
	wr := newWriter(t, w, w.Anna)
	docs, _ := w.Offers.Named("docs")
	for i := range folders {
		dir := filepath.Join(w.Dir(docs.ID), "tree", fmt.Sprintf("d%04d", i))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for j := range each {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("f", j)), []byte("x"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	measure := func(what string, n int, do func()) {
		began := time.Now()
		do()
		took := time.Since(began)
		t.Logf("%-28s %8.1f ms, %7.3f ms each", what, took.Seconds()*1e3, took.Seconds()*1e3/float64(n))
	}
	none := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	tree, ctx := servetest.Path(t, "tree"), t.Context()
	for _, p := range []string{"cold", "warm"} {
		measure("walk 11,000, "+p, folders*(each+1), func() {
			for _, err := range wr.fs.Walk(ctx, tree) {
				none(err)
			}
		})
		measure("list 1,000 folders, "+p, folders, func() {
			for i := range folders {
				for _, err := range wr.fs.List(ctx, servetest.Path(t, fmt.Sprintf("tree/d%04d", i))) {
					none(err)
				}
			}
		})
		measure("stat 1,000, "+p, folders, func() {
			for i := range folders {
				_, err := wr.fs.Stat(ctx, servetest.Path(t, fmt.Sprintf("tree/d%04d/f1", i)))
				none(err)
			}
		})
	}
	none(wr.fs.Mkdir(ctx, servetest.Path(t, "up"), true)) // what opens the share for changes is not measured
	data := bytes.Repeat([]byte("4096"), 1024)
	const files = 2000
	items := make([]remote.PutItem, files)
	for i := range files {
		name := fmt.Sprintf("up/d%02d/f%d", i/100, i)
		wr.local(name, data)
		items[i] = wr.item(uint64(i+1), name, change.Base{})
	}
	measure("put 2,000 in one", files, func() {
		r, err := wr.put(ctx, "all", items...)
		none(err)
		for _, c := range r.done {
			none(c.Err)
		}
	})
	const some = 300
	measure("put one by one, new", some, func() {
		for i := range some {
			it := items[i]
			it.Path = servetest.Path(t, fmt.Sprintf("one/f%d", i))
			r, err := wr.put(ctx, fmt.Sprint("one ", i), it)
			none(err)
			none(r.done[it.Number].Err)
		}
	})
	measure("put one by one, replaced", some, func() {
		for i := range some {
			it := items[i]
			it.Path, it.Base = servetest.Path(t, fmt.Sprintf("one/f%d", i)), change.Base{Any: true}
			it.ModTime = it.ModTime.Add(time.Second)
			wr.local(fmt.Sprintf("up/d%02d/f%d", i/100, i), append(data, byte(i)))
			it = wr.item(it.Number, fmt.Sprintf("up/d%02d/f%d", i/100, i), it.Base)
			it.Path = servetest.Path(t, fmt.Sprintf("one/f%d", i))
			r, err := wr.put(ctx, fmt.Sprint("again ", i), it)
			none(err)
			none(r.done[it.Number].Err)
		}
	})
	path := func(i int) share.Path { return servetest.Path(t, fmt.Sprintf("up/d%02d/f%d", i/100, i)) }
	any := change.Base{Any: true}
	measure("touch", some, func() {
		when := time.Unix(1e9, 0)
		for i := range some {
			_, err := wr.fs.Touch(ctx, path(i), any, &when, new(true))
			none(err)
		}
	})
	measure("move", some, func() {
		for i := range some {
			_, err := wr.fs.Move(ctx, path(i), servetest.Path(t, fmt.Sprintf("up/m%d", i)), any, change.Base{})
			none(err)
		}
	})
	measure("mkdir", some, func() {
		for i := range some {
			none(wr.fs.Mkdir(ctx, servetest.Path(t, fmt.Sprintf("up/k%d", i)), false))
		}
	})
	remove := func(p share.Path, deep bool) {
		for c, err := range wr.fs.Remove(ctx, p, any, deep) {
			none(err)
			none(c.Err)
		}
	}
	measure("remove", some, func() {
		for i := range some {
			remove(path(1000+i), false)
		}
	})
	measure("remove deep, 1,700", 1700, func() { remove(servetest.Path(t, "up"), true) })
	events(t, w, wr, w.Berta)
}

// events tells how long it takes from a change to the event of it at another peer.
func events(t *testing.T, w *servetest.World, wr *writer, other *host.Host) {
	c := client(t, w, other, t.TempDir())
	a, err := c.Access(t.Context(), w.Owner.ID(), "docs")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan remote.Event, 1000)
	go func() {
		for e, err := range c.FS(a, "//owner/docs").Watch(t.Context(), share.Path{}, watch.Cursor{}) {
			if err == nil {
				seen <- e
			}
		}
	}()
	<-seen
	docs, _ := w.Offers.Named("docs")
	for what, change := range map[string]func(i int){
		"a peer's mkdir": func(i int) {
			if err := wr.fs.Mkdir(t.Context(), servetest.Path(t, fmt.Sprint("ev", i)), false); err != nil {
				t.Fatal(err)
			}
		},
		"a peer's put": func(i int) {
			wr.local("ev", []byte(fmt.Sprint(i)))
			it := wr.item(1, "ev", change.Base{Any: true})
			it.Path = servetest.Path(t, fmt.Sprint("put", i))
			if _, err := wr.put(t.Context(), fmt.Sprint("ev", i), it); err != nil {
				t.Fatal(err)
			}
		},
		"the owner's own": func(i int) {
			if err := os.WriteFile(filepath.Join(w.Dir(docs.ID), fmt.Sprint("own", i)), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		var sum, most time.Duration
		for i := range 20 {
			for len(seen) > 0 {
				<-seen
			}
			began := time.Now()
			change(i)
			done := time.Since(began)
			<-seen
			took := time.Since(began)
			sum, most = sum+took, max(most, took)
			_ = done
		}
		t.Logf("from %-18s to the event at another: %v, at most %v", what, (sum / 20).Round(10*time.Microsecond), most.Round(10*time.Microsecond))
	}
}

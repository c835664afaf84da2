package remote_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/remote"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/serve/servetest"
	"github.com/peerd/peerd/share/sharepb"
)

// TestBrokenAnswer: an owner that dies in the midst of an answer did not do what it was asked for.
func TestBrokenAnswer(t *testing.T) {
	p, err := share.ParsePath([]string{"a"})
	if err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func(*remote.FS) error{
		"mkdir": func(f *remote.FS) error { return f.Mkdir(t.Context(), p, false) },
		"move": func(f *remote.FS) error {
			_, err := f.Move(t.Context(), p, p, change.Base{Any: true}, change.Base{})
			return err
		},
		"remove": func(f *remote.FS) (last error) {
			for _, err := range f.Remove(t.Context(), p, change.Base{Any: true}, false) {
				last = errors.Join(last, err)
			}
			return last
		},
		"versions": func(f *remote.FS) (last error) {
			for _, err := range f.Versions(t.Context(), p, true) {
				last = errors.Join(last, err)
			}
			return last
		},
		"put": func(f *remote.FS) error {
			up := serve.NewUploads("self").Begin("owner", "a")
			defer up.Close()
			return f.Put(t.Context(), up, func(func(remote.PutItem, error) bool) {}, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			for what, answer := range map[string][]byte{
				"nothing": nil,
				"a part":  servetest.Frames(t, &sharepb.Changed{End: true})[:1],
			} {
				f := newFake(t)
				f.meta = func(int) io.Reader { return bytes.NewReader(answer) }
				_, fsys := f.client(t)
				if err := call(fsys); peer.KindOf(err) != peer.Unreachable {
					t.Errorf("%s: %v, want unreachable", what, err)
				}
			}
			f := newFake(t)
			f.meta = func(int) io.Reader { return bytes.NewReader(servetest.Frames(t, &sharepb.Changed{End: true})) }
			_, fsys := f.client(t)
			if err := call(fsys); (name == "remove" || name == "versions") && err != nil { // the others tell what is there now
				t.Errorf("an end: %v", err)
			}
		})
	}
}

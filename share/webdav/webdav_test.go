package webdav_test

import (
	"context"
	"log/slog"
	"net"
	"testing"

	"github.com/peerd/peerd/share/vfs"
	"github.com/peerd/peerd/share/webdav"
)

// serve serves a tree as the daemon does, with a token, and gives its URL, which ends in a slash.
func serve(t testing.TB, fs *vfs.FS, listen string, o webdav.ServeOptions) string {
	t.Helper()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Token == "" && o.Password == "" {
		o.Token = webdav.NewSecret()
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- webdav.Serve(ctx, l, fs, o) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return o.URL(l.Addr())
}

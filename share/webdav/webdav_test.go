package webdav_test

import (
	"context"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"testing"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs"
	"github.com/peerd/peerd/share/vfs/vfstest"
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

// TestByHand serves a world until Ctrl-C, for programs that are tried by hand:
// PEERD_WEBDAV=127.0.0.1:8000 go test -run TestByHand -timeout 0 -v ./share/webdav
func TestByHand(t *testing.T) {
	listen := os.Getenv("PEERD_WEBDAV")
	if listen == "" {
		t.Skip("PEERD_WEBDAV says no address")
	}
	w := vfstest.NewWorld()
	w.Add("anna").Share("docs", share.Full)
	w.Add("bob").Share("music", share.Read).Write("Übung/a song.txt", []byte("la la la\n"))
	o := webdav.ServeOptions{Token: "hand", Options: webdav.Options{Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))}}
	t.Log(serve(t, vfstest.Running(t, w), listen, o))
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt)
	defer stop()
	<-ctx.Done()
}

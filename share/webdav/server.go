package webdav

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share/vfs"
	"github.com/peerd/peerd/share/webdav/guard"
)

// Limits of a listener. Bodies and answers have none but that they must go on: a film takes as long as it takes.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 5 * time.Minute
	maxHeader     = 64 << 10 // bytes; a client may hold many locks
	maxConns      = 512
	maxConnsFrom  = 64 // of them from one other computer, so that it can't take all
	stopTimeout   = 5 * time.Second
)

// ServeOptions say what is served, and who is let in: who knows the Token, or if there is a Password, who knows that.
type ServeOptions struct {
	Options // but Prefix, which follows from the Token

	Token          string // of [NewSecret]; it stands in the URL, for programs that can't ask for a password
	User, Password string
	TLS            *tls.Config // with a certificate; may be nil on loopback
}

// NewSecret makes a token or password that can't be guessed.
func NewSecret() string { return guard.NewSecret() }

func (o ServeOptions) guard() guard.Options {
	return guard.Options{Token: o.Token, User: o.User, Password: o.Password, Log: o.Log}
}

// URL is where what listens at an address can be reached. It ends in a slash.
func (o ServeOptions) URL(at net.Addr) string {
	scheme := "http"
	if o.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + at.String() + o.guard().Prefix() + "/"
}

// check says why nobody should listen at an address with these options.
func (o ServeOptions) check(at net.Addr) error {
	tcp, ok := at.(*net.TCPAddr)
	local := ok && tcp.IP.IsLoopback()
	refuse := func(why, hint string) error {
		return &peer.Error{Op: "serve WebDAV", Path: at.String(), Kind: peer.Usage, Err: errors.New(why), Hint: hint}
	}
	switch {
	case o.Token == "" && o.Password == "":
		return refuse("nothing keeps others out", "a password or a token is needed")
	case !local && o.Password == "":
		return refuse("what is reached from other computers needs a password", "a token in a URL is for this computer alone")
	case !local && o.TLS == nil:
		return refuse("what is reached from other computers needs TLS", "a password would be seen on the way")
	}
	return nil
}

// Serve answers on l until ctx ends, and closes it. Beyond loopback it insists on TLS and a password.
func Serve(ctx context.Context, l net.Listener, fs *vfs.FS, o ServeOptions) error {
	if err := o.check(l.Addr()); err != nil {
		l.Close()
		return err
	}
	g := o.guard()
	tcp, ok := l.Addr().(*net.TCPAddr)
	g.Local = ok && tcp.IP.IsLoopback()
	o.Options.Prefix = g.Prefix()
	h := newHandler(fs, o.Options)
	defer h.showing.close()
	srv := &http.Server{
		Handler:           guard.Patient(guard.New(h, g)),
		TLSConfig:         o.TLS,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if err := srv.Shutdown(patience); err != nil {
			srv.Close()
		}
	})
	var err error
	if l = guard.Limit(l, maxConns, maxConnsFrom); o.TLS != nil {
		err = srv.ServeTLS(l, "", "")
	} else {
		err = srv.Serve(l)
	}
	if stop() {
		srv.Close()
		return fmt.Errorf("WebDAV: %w", err)
	}
	<-stopped
	return nil
}

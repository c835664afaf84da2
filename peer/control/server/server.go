// Package server puts a [control.Backend] on a Unix socket that this user and root alone can use.
package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

// Limits of a request. Answers have none: they may stream for as long as a transfer takes.
const (
	headerTimeout = 5 * time.Second
	bodyTimeout   = 10 * time.Second
	maxHeader     = 16 << 10 // bytes
	// flushEvery is how long listed entries are gathered before they are sent.
	flushEvery = 50 * time.Millisecond
	// stopTimeout is how long calls get to notice that they are cancelled.
	stopTimeout = 5 * time.Second
)

// Serve answers requests on l, which [Listen] made, until ctx ends. Then running calls are cancelled, and Serve returns
// once they are over.
func Serve(ctx context.Context, l net.Listener, backend control.Backend, log *slog.Logger) error {
	srv := &http.Server{
		Handler:           Handler(backend),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
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
	err := srv.Serve(l)
	if stop() {
		srv.Close()
		return fmt.Errorf("control socket: %w", err)
	}
	<-stopped
	return nil
}

// Handler answers the API's requests, and refuses those that a web page may have made.
func Handler(b control.Backend) http.Handler {
	mux := http.NewServeMux()
	type none struct{}
	answer(mux, control.VerbStatus, func(ctx context.Context, _ none) (control.Status, error) { return b.Status(ctx) })
	answer(mux, control.VerbPeers, func(ctx context.Context, r control.PeersRequest) ([]control.Peer, error) { return b.Peers(ctx, r.Ask) })
	stream(mux, control.VerbWatchPeers, 0, func(ctx context.Context, _ none) iter.Seq2[control.PeerEvent, error] {
		return b.WatchPeers(ctx)
	})
	stream(mux, control.VerbDoctor, 0, func(ctx context.Context, _ none) iter.Seq2[control.Finding, error] {
		return b.Doctor(ctx)
	})

	stream(mux, control.VerbList, flushEvery, func(ctx context.Context, r control.ListRequest) iter.Seq2[control.Entry, error] {
		return b.List(ctx, r.Ref, r.Recursive)
	})
	answer(mux, control.VerbStat, func(ctx context.Context, r control.RefRequest) (control.Entry, error) {
		return b.Stat(ctx, r.Ref)
	})
	stream(mux, control.VerbFind, flushEvery, func(ctx context.Context, r control.FindRequest) iter.Seq2[control.Entry, error] {
		return b.Find(ctx, r.Ref, r.Pattern)
	})
	stream(mux, control.VerbCopy, 0, func(ctx context.Context, r control.CopyRequest) iter.Seq2[control.CopyEvent, error] {
		return events(ctx, b, r)
	})
	handle(mux, control.VerbCat, func(w http.ResponseWriter, r *http.Request, req control.CatRequest) {
		cat(w, r, b, req)
	})

	changes(mux, b)
	answer(mux, control.VerbLogin, func(ctx context.Context, r control.LoginRequest) (control.Login, error) {
		return b.Login(ctx, r.Ref, r.Password)
	})
	answer(mux, control.VerbLogout, func(ctx context.Context, r control.RefRequest) (none, error) {
		return none{}, b.Logout(ctx, r.Ref)
	})
	answer(mux, control.VerbWhoami, func(ctx context.Context, r control.RefRequest) (control.Login, error) {
		return b.Whoami(ctx, r.Ref)
	})

	answer(mux, control.VerbShareList, func(ctx context.Context, _ none) ([]control.Share, error) { return b.ShareList(ctx) })
	answer(mux, control.VerbShareAdd, b.ShareAdd)
	answer(mux, control.VerbShareSet, func(ctx context.Context, r control.SetRequest) (control.Share, error) {
		return b.ShareSet(ctx, r.Name, r.Set)
	})
	answer(mux, control.VerbShareRemove, func(ctx context.Context, r control.NameRequest) (none, error) {
		return none{}, b.ShareRemove(ctx, r.Name)
	})
	answer(mux, control.VerbSharePasswd, func(ctx context.Context, r control.PasswdRequest) (none, error) {
		return none{}, b.SharePasswd(ctx, r.Name, r.Right, r.Password)
	})
	answer(mux, control.VerbGeneratePassword, func(ctx context.Context, _ none) (control.PasswordAnswer, error) {
		password, err := b.GeneratePassword(ctx)
		return control.PasswordAnswer{Password: password}, err
	})
	devices(mux, b)
	mounts(mux, b)
	return guard(mux)
}

func devices(mux *http.ServeMux, b control.Devices) {
	answer(mux, control.VerbShareAllow, func(ctx context.Context, r control.DeviceRequest) (control.Share, error) {
		return b.ShareAllow(ctx, r.Name, r.Peer, r.Right)
	})
	answer(mux, control.VerbShareDeny, func(ctx context.Context, r control.DeviceRequest) (control.Share, error) {
		return b.ShareDeny(ctx, r.Name, r.Peer, !r.Undo)
	})
	answer(mux, control.VerbShareResume, func(ctx context.Context, r control.DeviceRequest) (control.Share, error) {
		return b.ShareResume(ctx, r.Name, r.Peer)
	})
	answer(mux, control.VerbBlock, func(ctx context.Context, r control.DeviceRequest) (control.Device, error) {
		return b.Block(ctx, r.Peer, !r.Undo)
	})
	answer(mux, control.VerbBlocked, func(ctx context.Context, _ struct{}) ([]control.Device, error) { return b.Blocked(ctx) })
}

func mounts(mux *http.ServeMux, b control.Mounts) {
	answer(mux, control.VerbMount, b.Mount)
	answer(mux, control.VerbUnmount, func(ctx context.Context, r control.UnmountRequest) (struct{}, error) {
		return struct{}{}, b.Unmount(ctx, r.Dir)
	})
	answer(mux, control.VerbMountList, func(ctx context.Context, _ struct{}) (control.MountList, error) { return b.MountList(ctx) })
	stream(mux, control.VerbWebdav, 0, func(ctx context.Context, r control.WebdavRequest) iter.Seq2[control.Webdav, error] {
		return b.Webdav(ctx, r)
	})
}

// guard refuses what a web page could send through some relay to the socket: browsers say where they come from, and which
// host they mean (CVE-2018-5702, CVE-2022-41924).
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case len(r.Header["Origin"]) > 0 || len(r.Header["Referer"]) > 0:
			http.Error(w, "the control socket is not for web pages", http.StatusForbidden)
		case r.Host != control.Host:
			http.Error(w, "the host is not "+control.Host, http.StatusMisdirectedRequest)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// handle registers a verb whose body is a Req.
func handle[Req any](mux *http.ServeMux, verb control.Verb, serve func(http.ResponseWriter, *http.Request, Req)) {
	mux.HandleFunc("POST "+verb.Path(), func(w http.ResponseWriter, r *http.Request) {
		var req Req
		if err := readBody(w, r, &req); err != nil {
			fail(w, err)
			return
		}
		serve(w, r, req)
	})
}

// readBody reads the one JSON object that a request's body is. Unknown fields are refused: a daemon that is older than
// the command must not do half of what was asked.
func readBody(w http.ResponseWriter, r *http.Request, req any) error {
	usage := func(err error) error { return &peer.Error{Op: "read request", Kind: peer.Usage, Err: err} }
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return usage(errors.New("its Content-Type is not application/json"))
	}
	conn := http.NewResponseController(w)
	if err := conn.SetReadDeadline(time.Now().Add(bodyTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, control.MaxBody))
	body.DisallowUnknownFields()
	if err := body.Decode(req); err != nil {
		return usage(err)
	}
	if _, err := body.Token(); err != io.EOF {
		return usage(errors.New("more than one JSON object in the body"))
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

func fail(w http.ResponseWriter, err error) {
	body := control.FromError(err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(body.HTTPStatus())
	writeJSON(w, body)
}

// writeJSON drops the error of writing: the other side is gone, and so is whoever could be told.
func writeJSON(w io.Writer, v any) { _ = json.NewEncoder(w).Encode(v) }

// answer registers a verb with one answer.
func answer[Req, Res any](mux *http.ServeMux, verb control.Verb, call func(context.Context, Req) (Res, error)) {
	handle(mux, verb, func(w http.ResponseWriter, r *http.Request, req Req) {
		res, err := call(r.Context(), req)
		if err != nil {
			fail(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		writeJSON(w, res)
	})
}

// stream registers a verb with many answers, flushed after each, or no more often than every.
func stream[Req, Item any](mux *http.ServeMux, verb control.Verb, every time.Duration, call func(context.Context, Req) iter.Seq2[Item, error]) {
	handle(mux, verb, func(w http.ResponseWriter, r *http.Request, req Req) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		out, conn := json.NewEncoder(w), http.NewResponseController(w)
		var flushed time.Time
		for item, err := range call(r.Context(), req) {
			if err != nil {
				_ = out.Encode(control.Line[Item]{Error: control.FromError(err)})
				return
			}
			if out.Encode(control.Line[Item]{Item: &item}) != nil {
				return
			}
			if now := time.Now(); now.Sub(flushed) >= every {
				flushed = now
				if conn.Flush() != nil {
					return
				}
			}
		}
		_ = out.Encode(control.Line[Item]{Done: true})
	})
}

// events turns the events of a copy into a sequence. A reader that went away ends the copy, as it is a command that the
// user stopped.
func events(ctx context.Context, b control.Backend, req control.CopyRequest) iter.Seq2[control.CopyEvent, error] {
	return func(yield func(control.CopyEvent, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		var mu sync.Mutex
		gone := false
		err := b.Copy(ctx, req, func(e control.CopyEvent) {
			mu.Lock()
			defer mu.Unlock()
			if !gone && !yield(e, nil) {
				gone = true
				cancel()
			}
		})
		if err != nil && !gone {
			yield(control.CopyEvent{}, err)
		}
	}
}

func cat(w http.ResponseWriter, r *http.Request, b control.Backend, req control.CatRequest) {
	out := &counter{w: w}
	w.Header().Set("Trailer", control.ErrorTrailer)
	w.Header().Set("Content-Type", "application/octet-stream")
	err := b.Cat(r.Context(), req.Ref, req.Offset, req.Length, out)
	switch {
	case err == nil:
	case out.n == 0:
		w.Header().Del("Trailer")
		fail(w, err)
	default:
		text, _ := json.Marshal(control.FromError(err))
		w.Header().Set(control.ErrorTrailer, url.PathEscape(string(text)))
	}
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

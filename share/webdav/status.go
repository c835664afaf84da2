package webdav

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share/vfs"
	"github.com/peerd/peerd/share/webdav/body"
	"github.com/peerd/peerd/share/webdav/browse"
	"github.com/peerd/peerd/share/webdav/lock"
)

// status is an error that knows its status code.
type status struct {
	code      int
	condition string // the element of RFC 4918, section 16, that names the condition that was not met; may be ""
	href      string // what the condition is about; may be ""
	err       error  // may be nil
}

func (s status) Error() string {
	if s.err != nil {
		return s.err.Error()
	}
	return http.StatusText(s.code)
}

func (s status) Unwrap() error { return s.err }

// statusOf is the one table from errors to status codes.
func statusOf(err error) int {
	for _, row := range []struct {
		err  error
		code int
	}{
		{browse.ErrMoved, http.StatusServiceUnavailable},
		{vfs.ErrReadOnly, http.StatusForbidden},
		{vfs.ErrLocal, http.StatusForbidden},
		{vfs.ErrName, http.StatusForbidden},
		{vfs.ErrAlike, http.StatusForbidden},
		{vfs.ErrTooLong, http.StatusForbidden}, // 414 is about the request's URI, and a MOVE's is its source
		{vfs.ErrNotEmpty, http.StatusConflict},
		{vfs.ErrIsDir, http.StatusMethodNotAllowed},
		{vfs.ErrNotDir, http.StatusConflict},
		{vfs.ErrExists, http.StatusMethodNotAllowed},
		{vfs.ErrQuota, http.StatusInsufficientStorage},
		{vfs.ErrFull, http.StatusInsufficientStorage},
	} {
		if errors.Is(err, row.err) {
			return row.code
		}
	}
	switch peer.KindOf(err) {
	case peer.Usage:
		return http.StatusBadRequest
	case peer.NotFound:
		return http.StatusNotFound
	case peer.Denied:
		return http.StatusForbidden
	case peer.Unreachable, peer.NotRunning, peer.Busy:
		return http.StatusServiceUnavailable
	case peer.Conflict:
		return http.StatusConflict
	case peer.Integrity:
		return http.StatusBadGateway
	case peer.Full:
		return http.StatusInsufficientStorage
	}
	return http.StatusInternalServerError
}

// refuse answers with an error.
func (h *handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	s := h.statusFor(err)
	level := h.o.Log.Debug
	if s.code == http.StatusInternalServerError {
		level = h.o.Log.Warn
	}
	level("webdav: refused", "method", r.Method, "path", strings.TrimPrefix(r.URL.Path, h.o.Prefix), "status", s.code, "err", err)
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	if s.code == http.StatusServiceUnavailable {
		header.Set("Retry-After", "10")
	}
	if s.condition != "" {
		header.Set("Content-Type", "application/xml; charset=utf-8")
		w.WriteHeader(s.code)
		_ = body.WriteError(w, s.condition, s.href) // who asked may be gone
		return
	}
	header.Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(s.code)
	if r.Method != http.MethodHead {
		fmt.Fprintln(w, err)
	}
}

// statusFor finds the status of an error, and what it has to say of it.
func (h *handler) statusFor(err error) status {
	var s status
	var held *lock.Held
	switch {
	case errors.As(err, &s) && s.code != 0:
		return s
	case errors.As(err, &held):
		return status{code: http.StatusLocked, condition: "lock-token-submitted", href: h.href(held.By.Root, false), err: err}
	case errors.Is(err, context.Canceled):
		return status{code: http.StatusBadRequest, err: err} // who asked is gone
	}
	return status{code: statusOf(err), err: err}
}

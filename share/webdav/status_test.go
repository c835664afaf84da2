package webdav

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share/vfs"
	"github.com/peerd/peerd/share/webdav/browse"
	"github.com/peerd/peerd/share/webdav/lock"
)

func TestStatus(t *testing.T) {
	in := func(kind peer.Kind, err error) error {
		return fmt.Errorf("outside: %w", &peer.Error{Op: "x", Kind: kind, Err: err})
	}
	h := &handler{}
	for _, c := range []struct {
		err  error
		want int
	}{
		{in(peer.NotFound, nil), http.StatusNotFound},
		{in(peer.Denied, nil), http.StatusForbidden},
		{in(peer.Denied, vfs.ErrReadOnly), http.StatusForbidden},
		{in(peer.Denied, vfs.ErrLocal), http.StatusForbidden},
		{in(peer.Usage, vfs.ErrName), http.StatusForbidden},
		{in(peer.Usage, vfs.ErrTooLong), http.StatusForbidden},
		{in(peer.Usage, nil), http.StatusBadRequest},
		{in(peer.Unreachable, nil), http.StatusServiceUnavailable},
		{in(peer.Busy, nil), http.StatusServiceUnavailable},
		{in(peer.Conflict, nil), http.StatusConflict},
		{in(peer.Conflict, vfs.ErrExists), http.StatusMethodNotAllowed},
		{in(peer.Conflict, vfs.ErrNotEmpty), http.StatusConflict},
		{in(peer.Usage, vfs.ErrIsDir), http.StatusMethodNotAllowed},
		{in(peer.Usage, vfs.ErrNotDir), http.StatusConflict},
		{in(peer.Integrity, nil), http.StatusBadGateway},
		{in(peer.Full, nil), http.StatusInsufficientStorage},
		{in(peer.Full, vfs.ErrQuota), http.StatusInsufficientStorage},
		{in(peer.Full, vfs.ErrFull), http.StatusInsufficientStorage},
		{errors.New("other"), http.StatusInternalServerError},
		{browse.ErrMoved, http.StatusServiceUnavailable},
		{status{code: http.StatusTeapot}, http.StatusTeapot},
		{&lock.Held{}, http.StatusLocked},
		{context.Canceled, http.StatusBadRequest},
	} {
		if got := h.statusFor(c.err).code; got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
}

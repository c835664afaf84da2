package webdav

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/peerd/peerd/share/vfs"
	"github.com/peerd/peerd/share/webdav/body"
	"github.com/peerd/peerd/share/webdav/lock"
)

// unlocked says which lock, whose token the request does not show, forbids to change what is at path: with deep all below it too,
// with member that its folder comes to hold something, or no more.
func (h *handler) unlocked(r *request, path []string, deep, member bool) error {
	now, tokens := time.Now(), r.ifs.Tokens()
	if member && len(path) > 0 {
		if err := h.locks.Check(now, path[:len(path)-1], false, tokens); err != nil {
			return err
		}
	}
	return h.locks.Check(now, path, deep, tokens)
}

// lock answers LOCK: a new lock, also of a file that is not there yet, which is made; or the refreshing of one.
func (h *handler) lock(w http.ResponseWriter, r *request) error {
	info, err := body.ReadLock(r.Body)
	if err != nil {
		return badXML(err)
	}
	timeout := lock.ParseTimeout(r.Header.Get("Timeout"))
	if info == nil {
		for _, token := range r.ifs.Tokens() {
			if l, err := h.locks.Refresh(time.Now(), r.path, token, timeout); err == nil {
				return h.locked(w, l, http.StatusOK)
			}
		}
		return status{code: http.StatusPreconditionFailed, condition: "lock-token-matches-request-uri", err: lock.ErrGone}
	}
	depth := r.Header.Get("Depth")
	if depth != "" && depth != "0" && depth != "infinity" {
		return status{code: http.StatusBadRequest, err: errors.New("a lock has a Depth of 0 or infinity")}
	}
	p, err := h.place(r.Context(), r.path)
	if err != nil {
		return err
	}
	if err := conditions(r.Header, p); err != nil {
		return err
	}
	target := p.parent
	if p.exists {
		target = p.attr
	} else if err := h.locks.Check(time.Now(), r.path[:len(r.path)-1], false, r.ifs.Tokens()); err != nil {
		return err
	}
	if err := h.writable(r.Context(), target); err != nil {
		return err
	}
	l, err := h.locks.Add(time.Now(), lock.Lock{
		Token: newToken(), Root: r.path, Deep: depth != "0", Shared: info.Shared, Owner: info.Owner, Timeout: timeout,
	})
	if held := (*lock.Held)(nil); errors.As(err, &held) {
		return status{code: http.StatusLocked, condition: "no-conflicting-lock", href: h.href(held.By.Root, false), err: err}
	} else if errors.Is(err, lock.ErrFull) {
		return status{code: http.StatusServiceUnavailable, err: err}
	} else if err != nil {
		return err
	}
	code := http.StatusOK
	if !p.exists {
		code = http.StatusCreated
		if p.attr, err = h.makeEmpty(r, p); err != nil {
			_ = h.locks.Remove(time.Now(), r.path, l.Token) // it was just added
			return err
		}
	}
	if !p.attr.Dir {
		h.show(l, p.attr.Ino)
	}
	return h.locked(w, l, code)
}

// makeEmpty makes an empty file.
func (h *handler) makeEmpty(r *request, p place) (vfs.Attr, error) {
	f, err := h.fs.Create(r.Context(), p.parent.Ino, p.name, vfs.Mode{Write: true, Exclusive: true})
	if err != nil {
		return vfs.Attr{}, err
	}
	err = f.Flush(r.Context())
	a := f.Attr()
	if e := f.Close(); err == nil {
		err = e
	}
	return a, err
}

// locked answers with a lock.
func (h *handler) locked(w http.ResponseWriter, l lock.Lock, code int) error {
	w.Header().Set("Content-Type", "application/xml; charset=utf-8")
	w.Header().Set("Lock-Token", "<"+l.Token+">")
	w.WriteHeader(code)
	_ = body.WriteLock(w, h.active(l, time.Now())) // who asked may be gone
	return nil
}

// active is a lock as it is told of.
func (h *handler) active(l lock.Lock, now time.Time) body.ActiveLock {
	return body.ActiveLock{
		Root: h.href(l.Root, false), Token: l.Token, Deep: l.Deep, Shared: l.Shared, Owner: l.Owner,
		Seconds: int64((l.Expires.Sub(now) + time.Second - 1) / time.Second),
	}
}

// unlock answers UNLOCK.
func (h *handler) unlock(w http.ResponseWriter, r *request) error {
	token, ok := strings.CutPrefix(strings.TrimSpace(r.Header.Get("Lock-Token")), "<")
	token, closed := strings.CutSuffix(token, ">")
	if !ok || !closed {
		return status{code: http.StatusBadRequest, err: errors.New("no Lock-Token")}
	}
	if err := h.locks.Remove(time.Now(), r.path, token); err != nil {
		return status{code: http.StatusConflict, condition: "lock-token-matches-request-uri", err: err}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// newToken makes the URI of a random UUID (RFC 4122, version 4).
func newToken() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// badXML is the error of a body that could not be read.
func badXML(err error) error {
	if errors.Is(err, body.ErrTooLarge) {
		return status{code: http.StatusRequestEntityTooLarge, err: err}
	}
	return status{code: http.StatusBadRequest, err: err}
}

package webdav

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/peerd/peerd/share/vfs"
	"github.com/peerd/peerd/share/webdav/body"
	"github.com/peerd/peerd/share/webdav/browse"
)

// put answers PUT. The content takes its name when all of it came, and not before.
func (h *handler) put(w http.ResponseWriter, r *request) error {
	for _, k := range []string{"Content-Range", "Content-Encoding"} {
		if v := r.Header.Get(k); v != "" && !strings.EqualFold(v, "identity") {
			return status{code: http.StatusBadRequest, err: errors.New(k + " is not understood: the whole content is wanted, as it is")}
		}
	}
	expected, modTime, err := putHeaders(r.Header)
	if err != nil {
		return err
	}
	p, err := h.place(r.Context(), r.path)
	if err != nil {
		return err
	}
	if p.exists && p.attr.Dir || strings.HasSuffix(r.URL.Path, "/") {
		return status{code: http.StatusMethodNotAllowed, err: vfs.ErrIsDir}
	}
	if err := h.mayPut(r, p); err != nil {
		return err
	}
	u, err := h.fs.Upload(r.Context(), p.parent.Ino, p.name)
	if err != nil {
		return err
	}
	defer u.Abort()
	b := copyBuffers.Get().(*[]byte)
	n, err := io.CopyBuffer(struct{ io.Writer }{u}, struct{ io.Reader }{r.Body}, *b)
	copyBuffers.Put(b)
	if err != nil {
		return cut(err)
	}
	if expected >= 0 && n != expected {
		return status{code: http.StatusBadRequest, err: io.ErrUnexpectedEOF}
	}
	defer h.guarding(r.path)()
	if p, err = h.place(r.Context(), r.path); err != nil {
		return err
	}
	if err := h.mayPut(r, p); err != nil { // what held at the beginning may hold no more
		return err
	}
	a, err := u.Commit(r.Context(), modTime)
	if err != nil {
		return err
	}
	if tag := browse.ETag(a); tag != "" {
		w.Header().Set("ETag", tag)
	}
	if r.Header.Get("X-Oc-Mtime") != "" {
		w.Header().Set("X-OC-MTime", "accepted")
	}
	if p.exists {
		w.WriteHeader(http.StatusNoContent)
	} else {
		w.WriteHeader(http.StatusCreated)
	}
	return nil
}

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// mayPut says why a file may not be written.
func (h *handler) mayPut(r *request, p place) error {
	target := p.parent
	if p.exists {
		target = p.attr
	}
	if err := h.writable(r.Context(), target); err != nil {
		return err
	}
	if err := conditions(r.Header, p); err != nil {
		return err
	}
	return h.unlocked(r, r.path, false, !p.exists)
}

// cut is the error of an upload that did not end: an error of the tree, or of the connection.
func cut(err error) error {
	if s := statusOf(err); s != http.StatusInternalServerError {
		return err
	}
	return status{code: http.StatusBadRequest, err: err}
}

// putHeaders reads what clients say of an upload beside its content. Finder announces the length of one without Content-Length; -1
// is unknown. Clients of ownCloud, rclone and phones give the time of the file, in seconds; else it is now.
func putHeaders(header http.Header) (length int64, modTime time.Time, err error) {
	length, modTime = -1, time.Now()
	if v := header.Get("X-Expected-Entity-Length"); v != "" {
		if length, err = strconv.ParseInt(v, 10, 64); err != nil || length < 0 {
			return 0, time.Time{}, status{code: http.StatusBadRequest, err: errors.New("X-Expected-Entity-Length is no length")}
		}
	}
	if v := header.Get("X-Oc-Mtime"); v != "" {
		if modTime, err = parseSeconds(v); err != nil {
			return 0, time.Time{}, status{code: http.StatusBadRequest, err: errors.New("X-OC-Mtime is no time")}
		}
	}
	return length, modTime, nil
}

var errNoTime = errors.New("it is no time, or none that a file can have")

// parseSeconds reads seconds since 1970, within the years that a file can have.
func parseSeconds(s string) (time.Time, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f > -62e9 && f < 253e9) {
		return time.Time{}, errNoTime
	}
	whole := int64(f)
	t := time.Unix(whole, int64((f-float64(whole))*1e9))
	if !vfs.Keeps(t) {
		return time.Time{}, errNoTime
	}
	return t, nil
}

// conditions evaluates If-Match, If-None-Match and If-Unmodified-Since of a change (RFC 9110, section 13).
func conditions(header http.Header, p place) error {
	failed := status{code: http.StatusPreconditionFailed}
	etag := ""
	if p.exists {
		etag = browse.ETag(p.attr)
	}
	// matches compares strongly: a weak tag matches nothing.
	matches := func(values []string) bool {
		for _, v := range values {
			for tag := range strings.SplitSeq(v, ",") {
				tag = strings.TrimSpace(tag)
				if tag == "*" && p.exists || tag == etag && etag != "" {
					return true
				}
			}
		}
		return false
	}
	if match := header.Values("If-Match"); len(match) > 0 {
		if !matches(match) {
			return failed
		}
	} else if t, err := http.ParseTime(header.Get("If-Unmodified-Since")); err == nil && p.exists {
		if p.attr.ModTime.Truncate(time.Second).After(t) {
			return failed
		}
	}
	none := slices.Clone(header.Values("If-None-Match"))
	for i := range none {
		none[i] = strings.ReplaceAll(none[i], "W/", "")
	}
	if matches(none) {
		return failed
	}
	return nil
}

// mkcol answers MKCOL.
func (h *handler) mkcol(w http.ResponseWriter, r *request) error {
	if err := body.ReadNothing(r.Body); err != nil {
		return status{code: http.StatusUnsupportedMediaType, err: err}
	}
	p, err := h.place(r.Context(), r.path)
	if err != nil {
		return err
	}
	if p.exists {
		w.Header().Set("Allow", h.allow())
		return status{code: http.StatusMethodNotAllowed, err: vfs.ErrExists}
	}
	if err := h.writable(r.Context(), p.parent); err != nil {
		return err
	}
	if err := conditions(r.Header, p); err != nil {
		return err
	}
	if err := h.unlocked(r, r.path, false, true); err != nil {
		return err
	}
	if _, err := h.fs.Mkdir(r.Context(), p.parent.Ino, p.name); err != nil {
		return err
	}
	w.WriteHeader(http.StatusCreated)
	return nil
}

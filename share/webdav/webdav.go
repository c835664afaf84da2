// Package webdav is the WebDAV face of the tree (RFC 4918, classes 1 and 2), and its face for browsers and players: plain GET, with
// ranges, on the same paths. A content that is uploaded takes its name only when it is whole.
package webdav

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs"
	"github.com/peerd/peerd/share/webdav/body"
	"github.com/peerd/peerd/share/webdav/browse"
	"github.com/peerd/peerd/share/webdav/dead"
	"github.com/peerd/peerd/share/webdav/lock"
)

const maxLocks = 4096

// Options of a handler.
type Options struct {
	Prefix   string   // the path that all paths begin with, escaped, without a slash at its end; may be ""
	Root     []string // what is shown: nothing, a peer, or a peer and one of its shares
	ReadOnly bool     // whatever the rights are, nothing can be changed
	// Dead are the properties that clients set and that mean nothing here, of all of the tree; nil keeps them for this one.
	Dead *dead.Properties
	Log  *slog.Logger
}

// newHandler makes a handler, which lets in whoever reaches it: see [Serve]. It has to be closed.
func newHandler(fs *vfs.FS, o Options) *handler {
	if o.Dead == nil {
		o.Dead = dead.New()
	}
	h := &handler{fs: fs, o: o, locks: lock.NewTable(maxLocks), dead: o.Dead.At(o.Root...)}
	h.showing.ctx, h.showing.end = context.WithCancel(context.Background())
	h.browse = &browse.Handler{FS: fs, Root: o.Root, Href: h.href}
	return h
}

type handler struct {
	fs      *vfs.FS
	o       Options
	browse  *browse.Handler
	locks   *lock.Table
	dead    dead.Tree
	showing showing
	// committing is held, by path, from the last look at the conditions of a change until it is made.
	committing [64]sync.Mutex
}

// request is a request whose target was understood.
type request struct {
	*http.Request
	path  []string // below Options.Root, as the tree spells it
	asked []string // the same as the client spelled it
	ifs   lock.If
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h.serve(w, r); err != nil {
		h.refuse(w, r, err)
	}
}

func (h *handler) serve(w http.ResponseWriter, hr *http.Request) error {
	path, err := h.pathOf(hr.URL)
	if err != nil || strings.Contains(hr.RequestURI, "#") {
		return status{code: http.StatusBadRequest, err: err}
	}
	r := &request{Request: hr, path: path, asked: path}
	if r.Method != http.MethodOptions {
		r.path = h.spelled(r.Context(), path)
	}
	if r.ifs, err = lock.ParseIf(strings.Join(hr.Header.Values("If"), " ")); err != nil {
		return status{code: http.StatusBadRequest, err: err}
	}
	verb, changes := h.verb(r.Method)
	if verb == nil {
		w.Header().Set("Allow", h.allow())
		return status{code: http.StatusMethodNotAllowed}
	}
	if changes && h.o.ReadOnly {
		return status{code: http.StatusForbidden, err: vfs.ErrReadOnly}
	}
	if r.Method != http.MethodOptions && !r.ifs.Holds(func(resource string) ([]string, string) { return h.state(r, resource) }) {
		return status{code: http.StatusPreconditionFailed}
	}
	return verb(w, r)
}

// verb gives what answers a method, and whether that changes anything.
func (h *handler) verb(method string) (answer func(w http.ResponseWriter, r *request) error, changes bool) {
	switch method {
	case http.MethodOptions:
		return h.options, false
	case http.MethodGet, http.MethodHead:
		return func(w http.ResponseWriter, r *request) error { return h.browse.Get(w, r.Request, r.path) }, false
	case "PROPFIND":
		return h.propfind, false
	case "PROPPATCH":
		return h.proppatch, true
	case http.MethodPut:
		return h.put, true
	case "MKCOL":
		return h.mkcol, true
	case http.MethodDelete:
		return h.delete, true
	case "COPY":
		return h.copy, true
	case "MOVE":
		return h.move, true
	case "LOCK":
		return h.lock, true
	case "UNLOCK":
		return h.unlock, true
	}
	return nil, false
}

func (h *handler) allow() string {
	if h.o.ReadOnly {
		return "OPTIONS, GET, HEAD, PROPFIND"
	}
	return "OPTIONS, GET, HEAD, PROPFIND, PROPPATCH, PUT, MKCOL, DELETE, COPY, MOVE, LOCK, UNLOCK"
}

func (h *handler) options(w http.ResponseWriter, _ *request) error {
	class := "1, 2"
	if h.o.ReadOnly {
		class = "1"
	}
	w.Header().Set("DAV", class)
	w.Header().Set("MS-Author-Via", "DAV") // or Windows and Office don't try
	w.Header().Set("Accept-Ranges", "bytes")
	w.Header().Set("Allow", h.allow())
	w.Header().Set("Content-Length", "0")
	return nil
}

// pathOf gives the components that a URL names below the prefix.
func (h *handler) pathOf(u *url.URL) ([]string, error) {
	escaped := u.EscapedPath()
	rest, ok := strings.CutPrefix(escaped, h.o.Prefix)
	if !ok || rest != "" && rest[0] != '/' {
		return nil, &peer.Error{Op: "parse URL", Kind: peer.NotFound}
	}
	return body.ParsePath(rest)
}

// destination is the path that the header Destination names, which must be of this server.
func (h *handler) destination(r *request) ([]string, error) {
	u, err := url.Parse(r.Header.Get("Destination"))
	if err != nil || u.Path == "" {
		return nil, status{code: http.StatusBadRequest, err: errors.New("no Destination")}
	}
	path, err := h.ours(r, u)
	if err != nil && peer.KindOf(err) == peer.NotFound {
		return nil, status{code: http.StatusBadGateway, err: err}
	}
	return path, err
}

// ours gives the path of a URL in a header; an error of kind peer.NotFound if it is another server's.
func (h *handler) ours(r *request, u *url.URL) ([]string, error) {
	if u.Host != "" && !strings.EqualFold(withoutPort(u.Host), withoutPort(r.Host)) {
		return nil, &peer.Error{Op: "parse URL", Kind: peer.NotFound, Err: errors.New("it is another server's")}
	}
	path, err := h.pathOf(u)
	if err != nil {
		return nil, err
	}
	return h.spelled(r.Context(), path), nil
}

// spelled is a path as the tree spells it: locks and properties hold whatever spelling a client has.
func (h *handler) spelled(ctx context.Context, path []string) []string {
	return h.fs.Spelled(ctx, slices.Concat(h.o.Root, path)...)[len(h.o.Root):]
}

// withoutPort drops the port that a scheme stands for.
func withoutPort(host string) string {
	return strings.TrimSuffix(strings.TrimSuffix(host, ":80"), ":443")
}

// state tells an If header about a resource.
func (h *handler) state(r *request, resource string) (tokens []string, etag string) {
	path := r.path
	if resource != "" {
		u, err := url.Parse(resource)
		if err != nil {
			return nil, ""
		}
		if path, err = h.ours(r, u); err != nil {
			return nil, ""
		}
	}
	for _, l := range h.locks.Covering(time.Now(), path) {
		tokens = append(tokens, l.Token)
	}
	if a, err := h.walk(r.Context(), path); err == nil {
		etag = browse.ETag(a)
	}
	return tokens, etag
}

// walk finds what is at a path.
func (h *handler) walk(ctx context.Context, path []string) (vfs.Attr, error) {
	return h.fs.Walk(ctx, slices.Concat(h.o.Root, path)...)
}

// place is where a resource is, or would be.
type place struct {
	path   []string
	parent vfs.Attr
	name   string
	attr   vfs.Attr
	exists bool
}

// place finds where a path is that is to be changed: an error of status 403 at the root, of 409 if the folder is not there.
func (h *handler) place(ctx context.Context, path []string) (place, error) {
	if len(path) == 0 {
		return place{}, status{code: http.StatusForbidden, err: vfs.ErrLocal}
	}
	p := place{path: path, name: path[len(path)-1]}
	var err error
	if p.parent, err = h.walk(ctx, path[:len(path)-1]); err != nil && peer.KindOf(err) == peer.NotFound {
		return place{}, status{code: http.StatusConflict, err: err}
	} else if err != nil {
		return place{}, err
	}
	if !p.parent.Dir {
		return place{}, status{code: http.StatusConflict, err: vfs.ErrNotDir}
	}
	p.attr, err = h.fs.Lookup(ctx, p.parent.Ino, p.name)
	if err != nil && peer.KindOf(err) != peer.NotFound {
		return place{}, err
	}
	p.exists = err == nil
	return p, nil
}

// writable says why what has these attributes can't be changed. Of a share that nobody has entered yet the right is asked for.
func (h *handler) writable(ctx context.Context, a vfs.Attr) error {
	if a.Right < share.Full {
		var err error
		if a, err = h.fs.Attr(ctx, a.Ino); err != nil {
			return err
		}
	}
	if a.Right < share.Full {
		h.fs.AskRight(a.Ino)
		return status{code: http.StatusForbidden, err: vfs.ErrReadOnly}
	}
	return nil
}

// href is how a path is written in answers.
func (h *handler) href(path []string, dir bool) string {
	return body.Href(h.o.Prefix, path, dir)
}

// hrefFor is href as the client spells it, which looks for what it asked for.
func (h *handler) hrefFor(r *request, path []string, dir bool) string {
	for i := range min(len(path), len(r.path)) {
		switch {
		case path[i] != r.path[i]:
			return h.href(path, dir)
		case path[i] != r.asked[i]:
			path = slices.Clone(path)
			path[i] = r.asked[i]
		}
	}
	return h.href(path, dir)
}

// guarding holds off other changes of a path until its result is called.
func (h *handler) guarding(path []string) (release func()) {
	n := uint32(2166136261) // FNV-1a
	for _, c := range path {
		for i := range len(c) {
			n = (n ^ uint32(c[i])) * 16777619
		}
	}
	m := &h.committing[n%uint32(len(h.committing))]
	m.Lock()
	return m.Unlock
}

// Package browse answers GET and HEAD, for browsers, players and whoever reads by WebDAV: a file with its bytes, in ranges if that is
// asked for, a folder with a page that lists it.
package browse

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share/vfs"
)

// Handler answers for a tree.
type Handler struct {
	FS   *vfs.FS
	Root []string // what is shown of it
	Href func(path []string, dir bool) string
}

// ErrMoved is the error of who looks for a version that is no more.
var ErrMoved = errors.New("it changes all the time")

// Get answers a request for what is at, below the root. If there is an error nothing was answered yet.
func (h *Handler) Get(w http.ResponseWriter, r *http.Request, at []string) error {
	for wait := 10 * time.Millisecond; ; wait *= 4 {
		a, err := h.FS.Walk(r.Context(), slices.Concat(h.Root, at)...)
		if err != nil {
			return err
		}
		if a.Dir {
			return h.index(w, r, at, a)
		}
		err = h.file(w, r, h.Name(at), a)
		if !errors.Is(err, ErrMoved) || wait > time.Second {
			return err
		}
		select { // until the tree has heard of the change
		case <-time.After(wait):
		case <-r.Context().Done():
			return err
		}
	}
}

// Name is what is called that is at a path.
func (h *Handler) Name(at []string) string {
	if all := slices.Concat(h.Root, at); len(all) > 0 {
		return all[len(all)-1]
	}
	return "Workgroup"
}

// ETag is the strong entity tag of a file; "" for what has none.
func ETag(a vfs.Attr) string {
	if a.Dir || a.Tag == "" || strings.ContainsFunc(a.Tag, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' }) {
		return ""
	}
	return `"` + a.Tag + `"`
}

// maxRanges is how many parts of a file one request may ask for; who asks for more is sent all of it. A part of one byte may cost
// its owner a whole piece.
const maxRanges = 32

// file sends the version of a file that a tells of. The error is ErrMoved if it is another one already.
func (h *Handler) file(w http.ResponseWriter, r *http.Request, name string, a vfs.Attr) (err error) {
	header := w.Header()
	header.Set("Content-Type", ContentType(name))
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Cache-Control", "private, no-cache") // kept, and asked about before it is used
	if !inert(ContentType(name)) {
		// What somebody put into a share shall not act as a page of this server, which can read and change all of them.
		header.Set("Content-Security-Policy", "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:")
	}
	if tag := ETag(a); tag != "" {
		header.Set("ETag", tag)
	}
	content := &content{ctx: r.Context(), fs: h.FS, attr: a}
	late := &lateHeader{ResponseWriter: w}
	if strings.Count(r.Header.Get("Range"), ",") >= maxRanges {
		r.Header.Del("Range")
	}
	http.ServeContent(late, r, name, a.ModTime, content)
	if err = content.close(); err == nil {
		late.send()
		return nil
	}
	if late.sent {
		panic(http.ErrAbortHandler) // the length is promised: the connection is cut, so that nobody takes a part for the whole
	}
	for _, k := range []string{"Content-Length", "Content-Range", "Content-Type", "ETag", "Last-Modified", "Accept-Ranges", "Content-Security-Policy"} {
		header.Del(k)
	}
	return err
}

// content reads one version of a file. It is opened only when its first byte is wanted.
type content struct {
	ctx  context.Context
	fs   *vfs.FS
	attr vfs.Attr

	mu   sync.Mutex // of several ranges the last may be read on for a moment when nobody wants it any more
	file *vfs.File
	off  int64
	err  error // the first, other than io.EOF
}

func (c *content) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	if c.off >= c.attr.Size {
		return 0, io.EOF
	}
	if c.file == nil {
		f, err := c.fs.Open(c.ctx, c.attr.Ino, vfs.Mode{Read: true})
		if peer.KindOf(err) == peer.Conflict {
			err = ErrMoved
		}
		if err != nil {
			return 0, c.failLocked(err)
		}
		c.file = f
		if now := f.Attr(); now.Tag != c.attr.Tag || now.Size != c.attr.Size {
			return 0, c.failLocked(ErrMoved)
		}
	}
	n, err := c.file.ReadAt(c.ctx, b[:min(int64(len(b)), c.attr.Size-c.off)], c.off)
	c.off += int64(n)
	switch {
	case n > 0:
		return n, nil // an error comes again
	case err == nil || errors.Is(err, io.EOF):
		return 0, c.failLocked(io.ErrUnexpectedEOF) // shorter than it was
	}
	if peer.KindOf(err) == peer.Conflict {
		err = ErrMoved
	}
	return 0, c.failLocked(err)
}

func (c *content) failLocked(err error) error {
	c.err = err
	return err
}

func (c *content) Seek(offset int64, whence int) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += c.off
	case io.SeekEnd:
		offset += c.attr.Size
	}
	if offset < 0 {
		return 0, errors.New("a seek before the beginning")
	}
	c.off = offset
	return offset, nil
}

// close ends the reading, and gives the error that it had.
func (c *content) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file != nil {
		_ = c.file.Close() // nothing was written
		c.file = nil
	}
	err := c.err
	c.err = http.ErrBodyReadAfterClose
	return err
}

// lateHeader keeps the status back until there is a byte, so that an error in getting it can have one of its own.
type lateHeader struct {
	http.ResponseWriter
	code int
	sent bool
}

func (l *lateHeader) WriteHeader(code int) { l.code = code }

func (l *lateHeader) Write(b []byte) (int, error) {
	l.send()
	return l.ResponseWriter.Write(b)
}

// ReadFrom copies in larger parts than io.Copy would: each is asked of the tree.
func (l *lateHeader) ReadFrom(r io.Reader) (int64, error) {
	b := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(b)
	return io.CopyBuffer(struct{ io.Writer }{l}, struct{ io.Reader }{r}, *b)
}

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

func (l *lateHeader) send() {
	if !l.sent && l.code != 0 {
		l.ResponseWriter.WriteHeader(l.code)
	}
	l.sent = true
}

// ContentType is the type by a file's name. Its bytes are not looked at: that would fetch them, and be a guess.
func ContentType(name string) string {
	ext := strings.ToLower(path.Ext(name))
	if t, ok := types[ext]; ok {
		return t
	}
	if t := mime.TypeByExtension(ext); t != "" {
		return t
	}
	return "application/octet-stream"
}

// types are those that not every system's table has, or has right, and that browsers and players need.
var types = map[string]string{
	".avi": "video/x-msvideo", ".m4v": "video/mp4", ".mkv": "video/x-matroska", ".mov": "video/quicktime", ".mp4": "video/mp4",
	".mpeg": "video/mpeg", ".mpg": "video/mpeg", ".ogv": "video/ogg", ".webm": "video/webm",
	".aac": "audio/aac", ".flac": "audio/flac", ".m4a": "audio/mp4", ".mp3": "audio/mpeg", ".oga": "audio/ogg", ".ogg": "audio/ogg",
	".opus": "audio/ogg", ".wav": "audio/wav",
	".avif": "image/avif", ".gif": "image/gif", ".heic": "image/heic", ".jpeg": "image/jpeg", ".jpg": "image/jpeg", ".png": "image/png",
	".svg": "image/svg+xml", ".webp": "image/webp",
	".css": "text/css; charset=utf-8", ".csv": "text/csv; charset=utf-8", ".htm": "text/html; charset=utf-8", ".html": "text/html; charset=utf-8",
	".md": "text/markdown; charset=utf-8", ".txt": "text/plain; charset=utf-8", ".srt": "text/plain; charset=utf-8", ".vtt": "text/vtt; charset=utf-8",
	".json": "application/json", ".pdf": "application/pdf", ".zip": "application/zip",
	".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
	".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	".odp":  "application/vnd.oasis.opendocument.presentation", ".ods": "application/vnd.oasis.opendocument.spreadsheet",
	".odt": "application/vnd.oasis.opendocument.text",
}

// inert reports whether a browser that shows a content of the type runs nothing that is in it as this server's page.
func inert(contentType string) bool {
	t, _, _ := strings.Cut(contentType, ";")
	switch kind, _, _ := strings.Cut(t, "/"); kind {
	case "audio", "video":
		return true
	case "image":
		return !strings.Contains(t, "xml")
	}
	return t == "application/pdf" || t == "text/plain" || t == "application/octet-stream"
}

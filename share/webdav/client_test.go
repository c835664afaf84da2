package webdav_test

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs"
	"github.com/peerd/peerd/share/vfs/vfstest"
	"github.com/peerd/peerd/share/webdav"
)

// client speaks WebDAV to a folder of a server.
type client struct {
	t    testing.TB
	base string // URL, ends in a slash
}

// head are headers of a request.
type head map[string]string

type answer struct {
	code   int
	header http.Header
	body   string
}

// try sends a request; the path is escaped already.
func (c client) try(method, escaped string, h head, body io.Reader) (answer, error) {
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.base+escaped, body)
	if err != nil {
		return answer{}, err
	}
	for k, v := range h {
		r.Header.Set(k, v)
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(b)}, err
}

// do is try that must be answered. Header values that start with a slash are paths, made to URLs.
func (c client) do(method, escaped string, h head, body string) answer {
	c.t.Helper()
	h = maps.Clone(h)
	if to, ok := strings.CutPrefix(h["Destination"], "/"); ok {
		h["Destination"] = c.base + to
	}
	a, err := c.try(method, escaped, h, strings.NewReader(body))
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, escaped, err)
	}
	return a
}

// want is do that must have one of the statuses.
func (c client) want(method, escaped string, h head, body string, codes ...int) answer {
	c.t.Helper()
	a := c.do(method, escaped, h, body)
	if !slices.Contains(codes, a.code) {
		c.t.Fatalf("%s %s %v: status %d, want %v: %.300s", method, escaped, h, a.code, codes, a.body)
	}
	return a
}

// multistatus is what is read of one.
type multistatus struct {
	Responses []struct {
		Href   string `xml:"DAV: href"`
		Status string `xml:"DAV: status"`
		Props  []struct {
			Status string `xml:"DAV: status"`
			Prop   struct {
				Type struct {
					Folder *struct{} `xml:"DAV: collection"`
				} `xml:"DAV: resourcetype"`
				Name      string `xml:"DAV: displayname"`
				Size      int64  `xml:"DAV: getcontentlength"`
				Modified  string `xml:"DAV: getlastmodified"`
				Seconds   int64  `xml:"DAV: lastmodified"`
				ETag      string `xml:"DAV: getetag"`
				Available *int64 `xml:"DAV: quota-available-bytes"`
				Used      *int64 `xml:"DAV: quota-used-bytes"`
				Locks     []struct {
					Token string `xml:"DAV: locktoken>href"`
				} `xml:"DAV: lockdiscovery>activelock"`
				All []struct {
					XMLName xml.Name
					Inner   string `xml:",innerxml"`
				} `xml:",any"`
			} `xml:"DAV: prop"`
		} `xml:"DAV: propstat"`
	} `xml:"DAV: response"`
}

func (c client) propfind(escaped, depth, body string) (m multistatus) {
	c.t.Helper()
	a := c.want("PROPFIND", escaped, head{"Depth": depth}, body, http.StatusMultiStatus)
	if err := xml.Unmarshal([]byte(a.body), &m); err != nil {
		c.t.Fatalf("PROPFIND %s: %v in %s", escaped, err, a.body)
	}
	return m
}

// escapePath escapes a path with slashes.
func escapePath(p string) string { return (&url.URL{Path: "/" + p}).EscapedPath()[1:] }

// files is a folder as the suite for faces wants it.
type files struct{ client }

// told gives a status the meaning that package os has for it.
func told(a answer, err error, good ...int) error {
	switch {
	case err != nil:
		return err
	case slices.Contains(good, a.code):
		return nil
	case a.code == http.StatusNotFound:
		return fs.ErrNotExist
	case a.code == http.StatusForbidden:
		return fmt.Errorf("%w: %s", fs.ErrPermission, a.body)
	}
	return fmt.Errorf("status %d: %s", a.code, a.body)
}

func (f files) Stat(name string) (vfstest.Info, error) {
	is, err := f.list(name, "0")
	if err != nil {
		return vfstest.Info{}, err
	}
	return is[0], nil
}

func (f files) List(name string) ([]vfstest.Info, error) {
	is, err := f.list(name, "1")
	if err != nil {
		return nil, err
	}
	return is[1:], nil
}

// list asks for the seconds of a file's time, since HTTP's times have no others.
func (f files) list(name, depth string) (is []vfstest.Info, err error) {
	a, err := f.try("PROPFIND", escapePath(name), head{"Depth": depth}, strings.NewReader(
		`<propfind xmlns="DAV:"><prop><resourcetype/><getcontentlength/><lastmodified/></prop></propfind>`))
	if err := told(a, err, http.StatusMultiStatus); err != nil {
		return nil, err
	}
	var m multistatus
	if err := xml.Unmarshal([]byte(a.body), &m); err != nil {
		return nil, err
	}
	for _, r := range m.Responses {
		href, err := url.PathUnescape(r.Href)
		if err != nil {
			return nil, err
		}
		p := r.Props[0].Prop
		is = append(is, vfstest.Info{
			Name: path.Base(href), Dir: p.Type.Folder != nil, Size: p.Size, ModTime: time.Unix(p.Seconds, 0),
		})
	}
	return is, nil
}

func (f files) Mkdir(name string) error {
	a, err := f.try("MKCOL", escapePath(name), nil, nil)
	switch a.code {
	case http.StatusMethodNotAllowed:
		return fs.ErrExist
	case http.StatusConflict:
		return fs.ErrNotExist
	}
	return told(a, err, http.StatusCreated)
}

// Remove looks first whether a folder is empty: DELETE does not care.
func (f files) Remove(name string) error {
	if is, err := f.list(name, "1"); err == nil && len(is) > 1 {
		return fs.ErrExist
	}
	a, err := f.try("DELETE", escapePath(name), nil, nil)
	return told(a, err, http.StatusNoContent)
}

func (f files) Rename(from, to string) error {
	a, err := f.try("MOVE", escapePath(from), head{"Destination": f.base + escapePath(to)}, nil)
	return told(a, err, http.StatusCreated, http.StatusNoContent)
}

func (f files) ReadFile(name string) ([]byte, error) {
	a, err := f.try("GET", escapePath(name), nil, nil)
	return []byte(a.body), told(a, err, http.StatusOK)
}

func (f files) ReadRange(name string, off int64, n int) ([]byte, error) {
	a, err := f.try("GET", escapePath(name), head{"Range": fmt.Sprintf("bytes=%d-%d", off, off+int64(n)-1)}, nil)
	return []byte(a.body), told(a, err, http.StatusPartialContent)
}

func (f files) WriteFile(name string, data []byte) error {
	a, err := f.try("PUT", escapePath(name), nil, bytes.NewReader(data))
	return told(a, err, http.StatusCreated, http.StatusNoContent)
}

func (f files) WriteNew(name string, data []byte) error {
	a, err := f.try("PUT", escapePath(name), head{"If-None-Match": "*"}, bytes.NewReader(data))
	if a.code == http.StatusPreconditionFailed {
		return fs.ErrExist
	}
	return told(a, err, http.StatusCreated)
}

func (f files) SetTime(name string, modTime time.Time) error {
	a, err := f.try("PROPPATCH", escapePath(name), nil, strings.NewReader(
		`<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><D:getlastmodified>`+modTime.UTC().Format(http.TimeFormat)+
			`</D:getlastmodified></D:prop></D:set></D:propertyupdate>`))
	if err == nil && a.code == http.StatusMultiStatus && !strings.Contains(a.body, "200 OK") {
		return fmt.Errorf("refused: %s", a.body)
	}
	return told(a, err, http.StatusMultiStatus)
}

// owner is a share at its owner, looked at when nothing is on its way there.
type owner struct {
	*vfstest.Share
	t  testing.TB
	fs *vfs.FS
}

func (o owner) settle() {
	o.t.Helper()
	if err := o.fs.Drain(o.t.Context()); err != nil {
		o.t.Fatal(err)
	}
}

func (o owner) Read(p string) ([]byte, bool) {
	o.settle()
	return o.Share.Read(p)
}

func (o owner) Stat(p string) (time.Time, bool, bool) {
	o.settle()
	return o.Share.Stat(p)
}

func (o owner) Paths() []string {
	o.settle()
	return o.Share.Paths()
}

// folder serves a share of anna's with a right, and gives it with a client of it.
func folder(t testing.TB, right share.Right) (owner, client) {
	t.Helper()
	w := vfstest.NewWorld()
	s := w.Add("anna").Share("docs", right)
	fs := vfstest.Running(t, w)
	return owner{s, t, fs}, client{t, serve(t, fs, "127.0.0.1:0", webdav.ServeOptions{}) + "anna/docs/"}
}

func TestConformance(t *testing.T) {
	vfstest.Run(t, func(t *testing.T) vfstest.Files {
		_, c := folder(t, share.Full)
		return files{c}
	})
}

package webdav

import (
	"context"
	"encoding/xml"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs"
	"github.com/peerd/peerd/share/webdav/body"
	"github.com/peerd/peerd/share/webdav/browse"
	"github.com/peerd/peerd/share/webdav/dead"
)

// Namespaces beside WebDAV's own.
const (
	windows = "urn:schemas-microsoft-com:"
	apache  = "http://apache.org/dav/props/"
)

// view is a resource whose properties are told.
type view struct {
	h     *handler
	asked *request
	path  []string
	attr  vfs.Attr
	dead  []dead.Property
	space *vfs.Space // nil if it is not known
}

// property is a live one: it is what it is, whatever a client sets.
type property struct {
	name xml.Name
	all  bool // told when all are asked for
	// tell adds it; false if the resource has none.
	tell func(v *view, m *body.Multistatus, name xml.Name) bool
	// set changes what it is; nil if it can't be.
	set func(value string) (vfs.Set, error)
}

// text is a property of a file or folder that is a text.
func text(f func(v *view) string) func(*view, *body.Multistatus, xml.Name) bool {
	return func(v *view, m *body.Multistatus, name xml.Name) bool {
		m.Text(name, f(v))
		return true
	}
}

// ofFile is text of files alone, if it is not "".
func ofFile(f func(v *view) string) func(*view, *body.Multistatus, xml.Name) bool {
	return func(v *view, m *body.Multistatus, name xml.Name) bool {
		s := ""
		if !v.attr.Dir {
			s = f(v)
		}
		if s != "" {
			m.Text(name, s)
		}
		return s != ""
	}
}

func httpTime(v *view) string { return v.attr.ModTime.UTC().Format(http.TimeFormat) }

// room is a property of who has told how much room there is.
func room(f func(s *vfs.Space) int64) func(*view, *body.Multistatus, xml.Name) bool {
	return func(v *view, m *body.Multistatus, name xml.Name) bool {
		if v.space == nil {
			return false
		}
		m.Text(name, strconv.FormatInt(max(0, f(v.space)), 10))
		return true
	}
}

// live are the live properties. Beside the standard's they are those by which Windows, gvfs and rclone, KDE, and davfs2 show or set
// a file's time and whether it can be run.
func live() []property {
	dav := func(local string) xml.Name { return xml.Name{Space: body.NS, Local: local} }
	return []property{
		{name: dav("resourcetype"), all: true, tell: func(v *view, m *body.Multistatus, n xml.Name) bool {
			value := ""
			if v.attr.Dir {
				value = "<D:collection/>"
			}
			m.Value(n, value)
			return true
		}},
		{name: dav("displayname"), all: true, tell: text((*view).name)},
		{name: dav("getcontentlength"), all: true, tell: ofFile(func(v *view) string { return strconv.FormatInt(v.attr.Size, 10) })},
		{name: dav("getcontenttype"), all: true, tell: ofFile(func(v *view) string { return browse.ContentType(v.name()) })},
		{name: dav("getetag"), all: true, tell: ofFile(func(v *view) string { return browse.ETag(v.attr) })},
		{name: dav("getlastmodified"), all: true, tell: text(httpTime), set: setHTTPTime},
		{name: dav("creationdate"), all: true, tell: text(func(v *view) string { return v.attr.ModTime.UTC().Format(time.RFC3339) })},
		{name: dav("supportedlock"), all: true, tell: func(v *view, m *body.Multistatus, n xml.Name) bool {
			value := ""
			if v.attr.Right == share.Full && !v.h.o.ReadOnly {
				value = body.LockEntries
			}
			m.Value(n, value)
			return true
		}},
		{name: dav("lockdiscovery"), all: true, tell: func(v *view, m *body.Multistatus, n xml.Name) bool {
			now := time.Now()
			var active []body.ActiveLock
			for _, l := range v.h.locks.Covering(now, v.path) {
				active = append(active, v.h.active(l, now))
			}
			m.Value(n, body.Discovery(active))
			return true
		}},
		{name: dav("quota-available-bytes"), tell: room(func(s *vfs.Space) int64 { return s.Free })},
		{name: dav("quota-used-bytes"), tell: room(func(s *vfs.Space) int64 { return s.Total - s.Free })},
		{name: dav("lastmodified"), tell: text(func(v *view) string { return strconv.FormatInt(v.attr.ModTime.Unix(), 10) }), set: setSeconds},
		{name: xml.Name{Space: windows, Local: "Win32LastModifiedTime"}, tell: text(httpTime), set: setHTTPTime},
		{name: xml.Name{Space: apache, Local: "executable"}, tell: ofFile(func(v *view) string {
			if v.attr.Exec {
				return "T"
			}
			return "F"
		}), set: setExec},
	}
}

// name is what a resource is called.
func (v *view) name() string { return v.h.browse.Name(v.path) }

func setHTTPTime(value string) (vfs.Set, error) {
	t, err := http.ParseTime(strings.TrimSpace(value))
	if err == nil && !vfs.Keeps(t) {
		err = errNoTime
	}
	return vfs.Set{ModTime: &t}, err
}

func setSeconds(value string) (vfs.Set, error) {
	t, err := parseSeconds(strings.TrimSpace(value))
	return vfs.Set{ModTime: &t}, err
}

func setExec(value string) (vfs.Set, error) {
	exec := strings.TrimSpace(value) == "T"
	if !exec && strings.TrimSpace(value) != "F" {
		return vfs.Set{}, errors.New("it is T or F")
	}
	return vfs.Set{Exec: &exec}, nil
}

// propfind answers PROPFIND, of a resource and, with Depth 1, of what is in it. All that is in all is too much to ask for.
func (h *handler) propfind(w http.ResponseWriter, r *request) error {
	depth := r.Header.Get("Depth")
	switch depth {
	case "0", "1":
	case "", "infinity":
		return status{code: http.StatusForbidden, condition: "propfind-finite-depth"}
	default:
		return status{code: http.StatusBadRequest, err: errors.New("this Depth makes no sense")}
	}
	want, err := body.ReadFind(r.Body)
	if err != nil {
		return badXML(err)
	}
	a, err := h.walk(r.Context(), r.path)
	if err != nil {
		return err
	}
	var entries []vfs.Entry
	if depth == "1" && a.Dir {
		if entries, err = h.fs.List(r.Context(), a.Ino); err != nil {
			return err
		}
	}
	w.Header().Set("Content-Type", "application/xml; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusMultiStatus)
	m, props := body.NewMultistatus(w), live()
	v := view{h: h, asked: r, path: r.path, attr: a, space: h.space(r.Context(), r.path, a, want)}
	v.tell(m, props, want)
	if len(h.o.Root)+len(r.path) < 2 {
		v.space = nil // what is in it are shares, each with room of its own
	}
	v.path = join(r.path, "")
	for i, e := range entries {
		if i%256 == 0 && r.Context().Err() != nil {
			panic(http.ErrAbortHandler)
		}
		v.path[len(r.path)], v.attr = e.Name, e.Attr
		v.tell(m, props, want)
	}
	_ = m.Close() // who asked may be gone
	return nil
}

// space asks for the room there is, if that is wanted.
func (h *handler) space(ctx context.Context, path []string, a vfs.Attr, want body.Find) *vfs.Space {
	quota := func(n xml.Name) bool { return n.Space == body.NS && strings.HasPrefix(n.Local, "quota-") }
	if len(h.o.Root)+len(path) < 2 || !slices.ContainsFunc(want.Props, quota) {
		return nil
	}
	s, err := h.fs.Space(ctx, a.Ino)
	if err != nil || s.Total == 0 {
		return nil
	}
	return &s
}

// tell writes the response of one resource.
func (v *view) tell(m *body.Multistatus, props []property, want body.Find) {
	v.dead = v.h.dead.Get(v.path)
	if want.Names || want.All {
		for _, p := range props {
			switch {
			case want.Names:
				m.Name(p.name)
			case p.all:
				p.tell(v, m, p.name)
			}
		}
		for _, d := range v.dead {
			if want.Names {
				m.Name(d.Name)
			} else {
				m.Whole(d.Value)
			}
		}
	}
	for _, name := range want.Props {
		i := slices.IndexFunc(props, func(p property) bool { return p.name == name })
		switch d, ok := dead.Find(v.dead, name); {
		case i >= 0 && want.All && props[i].all:
		case i >= 0 && props[i].tell(v, m, name):
		case ok && !want.All:
			m.Whole(d.Value)
		case !ok && !want.All:
			m.Missing(name)
		}
	}
	m.Resource(v.h.hrefFor(v.asked, v.path, v.attr.Dir))
}

// proppatch answers PROPPATCH: all of it is done, or nothing.
func (h *handler) proppatch(w http.ResponseWriter, r *request) error {
	patches, err := body.ReadPatch(r.Body)
	if err != nil {
		return badXML(err)
	}
	a, err := h.walk(r.Context(), r.path)
	if err != nil {
		return err
	}
	if err := h.writable(r.Context(), a); err != nil {
		return err
	}
	if err := conditions(r.Header, place{attr: a, exists: true}); err != nil {
		return err
	}
	if err := h.unlocked(r, r.path, false, false); err != nil {
		return err
	}
	codes := h.patch(r.Context(), r.path, a, patches)
	w.Header().Set("Content-Type", "application/xml; charset=utf-8")
	w.WriteHeader(http.StatusMultiStatus)
	names := make([]xml.Name, len(patches))
	for i, p := range patches {
		names[i] = p.Name
	}
	m := body.NewMultistatus(w)
	m.Patched(h.hrefFor(r, r.path, a.Dir), names, codes)
	_ = m.Close() // who asked may be gone
	return nil
}

// patch changes properties, and gives the status of each.
func (h *handler) patch(ctx context.Context, path []string, a vfs.Attr, patches []body.Patch) []int {
	var (
		set    vfs.Set
		sets   = make([]bool, len(patches)) // is of set
		others []dead.Property
		failed = make([]int, len(patches))
		props  = live()
	)
	for i, p := range patches {
		j := slices.IndexFunc(props, func(l property) bool { return l.name == p.Name })
		switch {
		case j < 0:
			others = append(others, dead.Property(p))
			continue
		case props[j].set == nil || p.Remove:
			failed[i] = http.StatusForbidden
			continue
		}
		s, err := props[j].set(textOf(p.Value))
		if err != nil {
			failed[i] = http.StatusConflict
			continue
		}
		sets[i] = true
		if s.ModTime != nil {
			set.ModTime = s.ModTime
		}
		if s.Exec != nil {
			set.Exec = s.Exec
		}
	}
	if !slices.ContainsFunc(failed, func(code int) bool { return code != 0 }) {
		if set != (vfs.Set{}) {
			if _, err := h.fs.SetAttr(ctx, a.Ino, set); err != nil {
				for i := range patches {
					if sets[i] {
						failed[i] = h.statusFor(err).code
					}
				}
			}
		}
	}
	good := !slices.ContainsFunc(failed, func(code int) bool { return code != 0 })
	if good && len(others) > 0 && h.dead.Patch(path, others) != nil {
		for i := range patches {
			if !sets[i] {
				failed[i] = http.StatusInsufficientStorage
			}
		}
		good = false
	}
	for i := range failed {
		if failed[i] == 0 && good {
			failed[i] = http.StatusOK
		} else if failed[i] == 0 {
			failed[i] = http.StatusFailedDependency
		}
	}
	return failed
}

// textOf is the text in an element.
func textOf(element []byte) string {
	var v struct {
		Text string `xml:",chardata"`
	}
	_ = xml.Unmarshal(element, &v) // it was parsed before
	return v.Text
}

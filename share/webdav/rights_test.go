package webdav_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs/vfstest"
	"github.com/peerd/peerd/share/webdav"
)

// verbs are requests by every verb that changes something, on a folder that holds f and d/g.
func verbs() []struct {
	verb, path string
	h          head
	body       string
} {
	patch := func(prop string) string {
		return `<D:propertyupdate xmlns:D="DAV:" xmlns:Z="urn:schemas-microsoft-com:" xmlns:A="http://apache.org/dav/props/"><D:set><D:prop>` + prop +
			`</D:prop></D:set></D:propertyupdate>`
	}
	type r = struct {
		verb, path string
		h          head
		body       string
	}
	return []r{
		{"PUT", "f", nil, "changed"}, {"PUT", "new", nil, "new"}, {"PUT", "d/new", nil, ""}, {"PUT", "f", head{"X-Oc-Mtime": "1"}, "old"},
		{"MKCOL", "n", nil, ""}, {"MKCOL", "d/n", nil, ""},
		{"DELETE", "f", nil, ""}, {"DELETE", "d", nil, ""}, {"DELETE", "d/g", nil, ""},
		{"MOVE", "f", head{"Destination": "/n"}, ""}, {"MOVE", "f", head{"Destination": "/d/g"}, ""}, {"MOVE", "d", head{"Destination": "/n"}, ""},
		{"COPY", "f", head{"Destination": "/n"}, ""}, {"COPY", "f", head{"Destination": "/d/g"}, ""}, {"COPY", "d", head{"Destination": "/n"}, ""},
		{"COPY", "d", head{"Destination": "/n", "Depth": "0"}, ""},
		{"LOCK", "n", nil, fmt.Sprintf(lockBody, "exclusive")}, {"LOCK", "f", nil, fmt.Sprintf(lockBody, "exclusive")}, {"LOCK", "", nil, fmt.Sprintf(lockBody, "shared")},
		{"PROPPATCH", "f", nil, patch("<x>1</x>")}, {"PROPPATCH", "f", nil, patch("<D:getlastmodified>Mon, 03 Feb 2020 04:05:06 GMT</D:getlastmodified>")},
		{"PROPPATCH", "f", nil, patch("<D:lastmodified>1</D:lastmodified>")}, {"PROPPATCH", "f", nil, patch("<A:executable>T</A:executable>")},
		{"PROPPATCH", "f", nil, patch("<Z:Win32LastModifiedTime>Mon, 03 Feb 2020 04:05:06 GMT</Z:Win32LastModifiedTime>")},
		{"PROPPATCH", "d", nil, patch("<D:lastmodified>1</D:lastmodified>")}, {"PROPPATCH", "", nil, patch("<x>1</x>")},
	}
}

// TestRights goes through every verb that changes something: with the full right each is done, without it none is, and nothing is
// sent to the owner.
func TestRights(t *testing.T) {
	when := time.Date(2019, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, x := range []struct {
		name     string
		right    share.Right
		readOnly bool
		done     bool
	}{
		{"full", share.Full, false, true}, {"read", share.Read, false, false}, {"full, but shown for reading", share.Full, true, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			for _, v := range verbs() {
				w := vfstest.NewWorld()
				s := w.Add("anna").Share("docs", x.right)
				s.WriteAt("f", []byte("old"), when)
				s.WriteAt("d/g", []byte("old"), when)
				c := client{t, serve(t, vfstest.Running(t, w), "127.0.0.1:0", webdav.ServeOptions{Options: webdav.Options{ReadOnly: x.readOnly}}) + "anna/docs/"}
				if to := v.h["Destination"]; to != "" {
					v.h["Destination"] = c.base + to[1:]
				}
				props := c.propfind("f", "0", "").Responses[0].Props[0].Prop.All
				a := c.do(v.verb, v.path, v.h, v.body)
				if done := a.code < 300 && !strings.Contains(a.body, " 403 "); done != x.done || !done && a.code != 403 {
					t.Errorf("%s %s %v: status %d %s", v.verb, v.path, v.h, a.code, a.body)
				}
				if x.done {
					continue
				}
				for _, verb := range []string{"put", "mkdir", "touch", "move", "copy", "remove", "lock"} {
					if n := s.Calls(verb); n != 0 {
						t.Errorf("%s %s %v: the owner was asked for %s", v.verb, v.path, v.h, verb)
					}
				}
				if got := s.Paths(); !slices.Equal(got, []string{"d/", "d/g", "f"}) {
					t.Errorf("%s %s %v: then there is %q", v.verb, v.path, v.h, got)
				}
				now := c.propfind("f", "0", "").Responses[0].Props[0].Prop
				if now.Modified != when.Format(http.TimeFormat) || !slices.Equal(now.All, props) || len(now.Locks) != 0 {
					t.Errorf("%s %s %v: then it is %+v", v.verb, v.path, v.h, now)
				}
			}
		})
	}
}

// TestNothingInsideNoShare holds that the root and peers are looked at and not changed.
func TestNothingOutsideShares(t *testing.T) {
	w := vfstest.NewWorld()
	w.Add("anna").Share("docs", share.Full).Write("f", []byte("x"))
	c := client{t, serve(t, vfstest.Running(t, w), "127.0.0.1:0", webdav.ServeOptions{})}
	for _, v := range verbs() {
		for _, at := range []string{"", "anna/", "nobody/"} {
			if v.path == "f" || strings.HasPrefix(v.path, "d") {
				continue
			}
			if a := c.do(v.verb, at+v.path, v.h, v.body); a.code != 403 && a.code != 404 && a.code != 405 && a.code != 409 {
				t.Errorf("%s %s%s: status %d %s", v.verb, at, v.path, a.code, a.body)
			}
		}
	}
	for _, at := range []string{"anna", "anna/docs"} {
		for _, v := range []string{"DELETE", "MOVE"} {
			c.want(v, at, head{"Destination": "/anna/other"}, "", 403)
		}
	}
	m := c.propfind("", "1", "")
	if len(m.Responses) != 2 || m.Responses[1].Props[0].Prop.Name != "anna" || m.Responses[0].Props[0].Prop.Type.Folder == nil {
		t.Errorf("the root: %+v", m)
	}
	if m := c.propfind("anna", "1", ""); len(m.Responses) != 2 || m.Responses[1].Props[0].Prop.Name != "docs" {
		t.Errorf("a peer: %+v", m)
	}
}

func TestNoRight(t *testing.T) {
	s, c := folder(t, share.None)
	s.Write("f", []byte("secret"))
	for _, v := range verbs() {
		if a := c.do(v.verb, v.path, v.h, v.body); a.code != 403 && a.code != 404 {
			t.Errorf("%s %s: status %d %s", v.verb, v.path, a.code, a.body)
		}
	}
	for _, verb := range []string{"GET", "HEAD", "PROPFIND"} {
		if a := c.do(verb, "f", head{"Depth": "0"}, ""); a.code != 403 && a.code != 404 {
			t.Errorf("%s: status %d %s", verb, a.code, a.body)
		}
	}
	if got := s.Paths(); !slices.Equal(got, []string{"f"}) {
		t.Errorf("then there is %q", got)
	}
}

// TestRightGrows: who may not change something has the owner asked whether that may be by now.
func TestRightGrows(t *testing.T) {
	s, c := folder(t, share.Read)
	s.Grow(share.Full)
	c.want("PUT", "f", nil, "new", 403)
	for end := time.Now().Add(20 * time.Second); c.do("PUT", "f", nil, "new").code != 201; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the owner was not asked")
		}
	}
}

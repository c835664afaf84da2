package webdav_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/share"
)

var errTest = errors.New("refused by the test")

const lockBody = `<?xml version="1.0"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:%s/></D:lockscope><D:locktype><D:write/></D:locktype>` +
	`<D:owner><D:href>me</D:href></D:owner></D:lockinfo>`

// lock locks a path and gives the token.
func (c client) lock(path string, h head, scope string) string {
	c.t.Helper()
	a := c.want("LOCK", path, h, fmt.Sprintf(lockBody, scope), 200, 201)
	token := strings.Trim(a.header.Get("Lock-Token"), "<>")
	if !strings.HasPrefix(token, "urn:uuid:") || !strings.Contains(a.body, token) || !strings.Contains(a.body, `<href xmlns="DAV:">me</href>`) {
		c.t.Fatalf("LOCK %s gave %v %s", path, a.header, a.body)
	}
	return token
}

func holding(tokens ...string) head { return head{"If": "(<" + strings.Join(tokens, "> <") + ">)"} }

func TestLocks(t *testing.T) {
	s, c := folder(t, share.Full)
	for _, p := range []string{"f", "d/a", "d/e/b", "other"} {
		s.Write(p, []byte("old"))
	}
	to := func(h head, path string) head {
		h = head{"If": h["If"], "Destination": "/" + path}
		if h["If"] == "" {
			delete(h, "If")
		}
		return h
	}
	tagged := func(path, token string) head { return head{"If": "<" + c.base + path + "> (<" + token + ">)"} }

	file := c.lock("f", head{"Depth": "0"}, "exclusive")
	a := c.want("PUT", "f", nil, "new", 423)
	if !strings.Contains(a.body, "lock-token-submitted") || !strings.Contains(a.body, "/anna/docs/f</D:href>") {
		t.Errorf("it does not say what is locked: %s", a.body)
	}
	for _, x := range []struct {
		verb string
		h    head
		body string
	}{
		{"DELETE", nil, ""}, {"MOVE", to(nil, "g"), ""}, {"LOCK", nil, fmt.Sprintf(lockBody, "exclusive")}, {"LOCK", nil, fmt.Sprintf(lockBody, "shared")},
		{"PROPPATCH", nil, `<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><x/></D:prop></D:set></D:propertyupdate>`},
	} {
		c.want(x.verb, "f", x.h, x.body, 423)
	}
	c.want("COPY", "other", to(nil, "f"), "", 423)
	c.want("MOVE", "other", to(nil, "f"), "", 423)
	c.want("COPY", "f", to(nil, "copied"), "", 201)
	c.want("PUT", "f", head{"If": "(<urn:uuid:1>)"}, "new", 412)
	c.want("PUT", "f", holding(file), "new", 204)
	c.want("PUT", "f", tagged("f", file), "new", 204)
	c.want("UNLOCK", "f", head{"Lock-Token": "<urn:uuid:1>"}, "", 409)
	c.want("UNLOCK", "other", head{"Lock-Token": "<" + file + ">"}, "", 409)
	c.want("UNLOCK", "f", nil, "", 400)
	c.want("LOCK", "f", holding("urn:uuid:1"), "", 412)
	if a := c.want("LOCK", "f", head{"If": "(<" + file + ">)", "Timeout": "Second-77"}, "", 200); !strings.Contains(a.body, "Second-77") {
		t.Errorf("refreshed: %s", a.body)
	}
	c.want("UNLOCK", "f", head{"Lock-Token": "<" + file + ">"}, "", 204)
	c.want("PUT", "f", nil, "new", 204)

	deep := c.lock("d", nil, "exclusive")
	c.want("PUT", "d/a", nil, "new", 423)
	c.want("PUT", "d/e/n", nil, "new", 423)
	c.want("MKCOL", "d/n", nil, "", 423)
	c.want("DELETE", "d/e/b", nil, "", 423)
	c.want("MOVE", "d", to(nil, "n"), "", 423)
	c.want("PUT", "d/e/n", holding(deep), "new", 201)
	c.want("LOCK", "d/a", nil, fmt.Sprintf(lockBody, "shared"), 423)
	c.want("UNLOCK", "d/a", head{"Lock-Token": "<" + deep + ">"}, "", 204)

	inner := c.lock("d/e/b", head{"Depth": "0"}, "exclusive")
	c.want("LOCK", "d", nil, fmt.Sprintf(lockBody, "exclusive"), 423)
	c.want("DELETE", "d", nil, "", 423)
	c.want("MOVE", "d", to(nil, "n"), "", 423)
	c.want("COPY", "other", to(nil, "d"), "", 423)
	c.want("DELETE", "d", tagged("d/e/b", inner), "", 204)
	c.want("PUT", "d", nil, "now a file", 201) // the lock went with what it was on

	one, two := c.lock("f", nil, "shared"), c.lock("f", nil, "shared")
	c.want("PUT", "f", nil, "new", 423)
	c.want("PUT", "f", holding(one), "new", 204)
	c.want("PUT", "f", holding(two), "new", 204)
	c.want("LOCK", "f", nil, fmt.Sprintf(lockBody, "exclusive"), 423)
	if m := c.propfind("f", "0", `<propfind xmlns="DAV:"><prop><lockdiscovery/></prop></propfind>`); len(m.Responses[0].Props[0].Prop.Locks) != 2 {
		t.Errorf("lockdiscovery: %+v", m)
	}

	shallow := c.lock("", head{"Depth": "0"}, "exclusive")
	c.want("PUT", "other", nil, "new", 204)
	c.want("PUT", "member", nil, "new", 423)
	c.want("DELETE", "other", nil, "", 423)
	c.want("LOCK", "member", nil, fmt.Sprintf(lockBody, "exclusive"), 423)
	c.want("DELETE", "other", tagged("", shallow), "", 204)

	c.want("LOCK", "f", head{"Depth": "1"}, fmt.Sprintf(lockBody, "shared"), 400)
	c.want("LOCK", "no/such/f", nil, fmt.Sprintf(lockBody, "shared"), 409)
	c.want("LOCK", "f", nil, "<x/>", 400)
	c.want("LOCK", "f", nil, "", 412)
}

func TestMovedLocks(t *testing.T) {
	s, c := folder(t, share.Full)
	s.Write("temp", []byte("new"))
	s.Write("doc", []byte("old"))
	// A lock of the target stays there; one of what is moved does not move.
	temp, doc := c.lock("temp", nil, "exclusive"), c.lock("doc", nil, "exclusive")
	c.want("MOVE", "temp", head{"Destination": "/doc", "If": "(<" + temp + ">)"}, "", 423)
	c.want("MOVE", "temp", head{"Destination": "/doc", "If": "<" + c.base + "temp> (<" + temp + ">) <" + c.base + "doc> (<" + doc + ">)"}, "", 204)
	c.want("PUT", "doc", nil, "other", 423)
	c.want("PUT", "doc", holding(temp), "other", 412)
	c.want("PUT", "doc", holding(doc), "newer", 204)
	c.want("PUT", "temp", nil, "free", 201)
}

// TestLockEmpty holds that a lock of a name makes an empty file, and that without the right it does neither.
func TestLockEmpty(t *testing.T) {
	s, c := folder(t, share.Full)
	token := c.lock("new.docx", head{"Depth": "0"}, "exclusive")
	c.want("PUT", "new.docx", nil, "x", 423)
	if got := c.want("GET", "new.docx", nil, "", 200); got.body != "" {
		t.Errorf("a locked name holds %q", got.body)
	}
	c.want("PUT", "new.docx", holding(token), "content", 204)
	if b, _ := s.Read("new.docx"); string(b) != "content" {
		t.Errorf("the owner has %q", b)
	}
	a := c.want("LOCK", "CON", nil, fmt.Sprintf(lockBody, "exclusive"), 403)
	if a.header.Get("Lock-Token") != "" {
		t.Error("a lock that failed has a token")
	}
	if m := c.propfind("", "1", ""); strings.Contains(fmt.Sprint(m), "CON") {
		t.Errorf("%+v", m)
	}
}

// TestLocksAreShown holds that who works in the share by another way sees that somebody works on a file, until the lock ends.
func TestLocksAreShown(t *testing.T) {
	t.Parallel()
	s, c := folder(t, share.Full)
	s.Write("old", []byte("x"))
	shown := func(name string, want bool) {
		t.Helper()
		for began := time.Now(); s.Locked(name) != want; time.Sleep(20 * time.Millisecond) {
			if time.Since(began) > 20*time.Second {
				t.Fatalf("%s is shown as locked: %v, want %v", name, !want, want)
			}
		}
	}
	tokens := map[string]string{"old": c.lock("old", head{"Depth": "0"}, "exclusive"), "new": c.lock("new", head{"Depth": "0", "Timeout": "Second-60"}, "shared")}
	c.lock("", head{"Depth": "0"}, "shared") // a folder is nothing that one works on
	shown("old", true)
	shown("new", true)
	c.want("UNLOCK", "old", head{"Lock-Token": "<" + tokens["old"] + ">"}, "", 204)
	shown("old", false)
	c.want("LOCK", "new", head{"Timeout": "Second-1", "If": "(<" + tokens["new"] + ">)"}, "", 200)
	shown("new", false) // its time ends
}

// TestLocksHoldHoweverSpelled: a lock, a property and a file are one, however the peer and the share are spelled; who asks is answered with
// the paths that it asked about.
func TestLocksHoldHoweverSpelled(t *testing.T) {
	s, c := folder(t, share.Full)
	s.Write("f", []byte("old"))
	s.Write("d/a", []byte("in a folder"))
	root := strings.TrimSuffix(c.base, "anna/docs/")
	other := client{t, root + "anna/DOCS/"}
	to := func(path string) head { return head{"Destination": path, "Overwrite": "T"} }

	const patch = `<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><x xmlns="urn:x">said</x></D:prop></D:set></D:propertyupdate>`
	if a := c.want("PROPPATCH", "f", nil, patch, 207); !strings.Contains(a.body, "/anna/docs/f</D:href>") {
		t.Error(a.body)
	}
	if a := other.want("PROPFIND", "", head{"Depth": "1"}, `<D:propfind xmlns:D="DAV:"><D:prop><x xmlns="urn:x"/></D:prop></D:propfind>`, 207); strings.Count(a.body, "/anna/DOCS/") != 3 || !strings.Contains(a.body, ">said<") {
		t.Errorf("other paths than those that were asked for, or no property: %s", a.body)
	}
	if a := other.want("PROPPATCH", "f", nil, patch, 207); !strings.Contains(a.body, "/anna/DOCS/f</D:href>") {
		t.Error(a.body)
	}

	token := other.lock("f", head{"Depth": "0"}, "exclusive")
	for _, x := range []client{c, other} {
		x.want("PUT", "f", nil, "new", 423)
		x.want("DELETE", "f", nil, "", 423)
		x.want("LOCK", "f", nil, fmt.Sprintf(lockBody, "shared"), 423)
		x.want("COPY", "d/a", to(c.base+"f"), "", 423)
		x.want("COPY", "d/a", to(other.base+"f"), "", 423)
		x.want("PUT", "f", holding(token), "new", 204)
		x.want("PUT", "f", head{"If": "<" + other.base + "f> (<" + token + ">)"}, "new", 204)
	}
	c.want("UNLOCK", "f", head{"Lock-Token": "<" + token + ">"}, "", 204)

	c.want("COPY", "f", to(other.base+"f"), "", 403)
	other.want("MOVE", "f", to(c.base+"f"), "", 403)
	c.want("COPY", "d", to(other.base+"d/e"), "", 403)
	c.want("MOVE", "d", to(other.base+"d/e"), "", 403)
	s.settle()
	if got, _ := s.Read("f"); string(got) != "new" || strings.Join(s.Paths(), " ") != "d/ d/a f" {
		t.Errorf("there is %q, and %q", s.Paths(), got)
	}
}

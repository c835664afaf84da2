package webdav_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
)

// noise is n bytes that repeat nowhere.
func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b) // never fails
	return b
}

func TestGet(t *testing.T) {
	s, c := folder(t, share.Full)
	data := noise(3_000_000)
	when := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	s.WriteAt("v.mp4", data, when)
	s.Write("empty", nil)
	h := c.want("HEAD", "v.mp4", nil, "", 200)
	tag, modified := h.header.Get("ETag"), h.header.Get("Last-Modified")
	if h.header.Get("Content-Length") != "3000000" || h.header.Get("Content-Type") != "video/mp4" || h.header.Get("Accept-Ranges") != "bytes" ||
		len(tag) < 3 || tag[0] != '"' || modified != when.Format(http.TimeFormat) || h.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("HEAD: %v", h.header)
	}
	if n := s.Calls("open") + s.Calls("read"); n != 0 {
		t.Errorf("HEAD opened the file")
	}
	if a := c.want("GET", "empty", nil, "", 200); a.body != "" || a.header.Get("Content-Length") != "0" {
		t.Errorf("an empty file: %+v", a)
	}
	size := len(data)
	for _, x := range []struct {
		h        head
		code     int
		from, to int
	}{
		{nil, 200, 0, size},
		{head{"Range": "bytes=0-0"}, 206, 0, 1},
		{head{"Range": "bytes=1048570-1048590"}, 206, 1048570, 1048591},
		{head{"Range": "bytes=2400000-"}, 206, 2400000, size},
		{head{"Range": "bytes=-777"}, 206, size - 777, size},
		{head{"Range": "bytes=2999999-9999999"}, 206, 2999999, size},
		{head{"Range": "bytes=3000000-"}, 416, 0, 0},
		{head{"Range": "lines=1-2"}, 416, 0, 0},
		{head{"Range": "bytes=5-9", "If-Range": tag}, 206, 5, 10},
		{head{"Range": "bytes=5-9", "If-Range": `"other"`}, 200, 0, size},
		{head{"Range": "bytes=5-9", "If-Range": modified}, 206, 5, 10},
		{head{"Range": "bytes=5-9", "If-Match": `"other"`}, 412, 0, 0},
		{head{"If-None-Match": tag}, 304, 0, 0},
		{head{"If-None-Match": `"other"`}, 200, 0, size},
		{head{"If-Modified-Since": modified}, 304, 0, 0},
	} {
		a := c.want("GET", "v.mp4", x.h, "", x.code)
		if x.code < 300 && a.body != string(data[x.from:x.to]) {
			t.Errorf("%v: %d bytes that are not %d to %d", x.h, len(a.body), x.from, x.to)
		}
		if want := fmt.Sprintf("bytes %d-%d/%d", x.from, x.to-1, size); x.code == 206 && a.header.Get("Content-Range") != want {
			t.Errorf("%v: %s", x.h, a.header.Get("Content-Range"))
		}
	}
	a := c.want("GET", "v.mp4", head{"Range": "bytes=0-9,2000000-2000009"}, "", 206)
	_, params, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(strings.NewReader(a.body), params["boundary"])
	for _, from := range []int{0, 2000000} {
		p, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(p); err != nil || !bytes.Equal(b, data[from:from+10]) {
			t.Errorf("the part at %d is %x, %v", from, b, err)
		}
	}
	for i := range 20 {
		off := rand.IntN(size - 65536)
		a := c.want("GET", "v.mp4", head{"Range": fmt.Sprintf("bytes=%d-%d", off, off+65535)}, "", 206)
		if a.body != string(data[off:off+65536]) {
			t.Errorf("seek %d, to %d: other bytes", i, off)
		}
	}
}

// TestNothingActsAsAPage holds that what lies in a share can't run as a page of this server.
func TestNothingActsAsAPage(t *testing.T) {
	s, c := folder(t, share.Full)
	files := map[string]bool{
		"a.html": true, "A.HTM": true, "a.svg": true, "a.xhtml": true, "a.xml": true, "a.mht": true, "a.js": true, "a.xsl": true,
		"a.mp4": false, "a.png": false, "a.pdf": false, "a.txt": false, "a": false, "a.mp3": false,
	}
	for name := range files { // before the folder is listed: of what comes later the watch tells, in a moment
		s.Write(name, []byte("<script>alert(1)</script>"))
	}
	for name, sandboxed := range files {
		a := c.want("GET", name, nil, "", 200)
		if policy := a.header.Get("Content-Security-Policy"); strings.HasPrefix(policy, "sandbox;") != sandboxed && a.header.Get("Content-Type") != "application/octet-stream" {
			t.Errorf("%s of the type %s has the policy %q", name, a.header.Get("Content-Type"), policy)
		}
		if a.header.Get("X-Content-Type-Options") != "nosniff" || a.header.Get("Referrer-Policy") != "no-referrer" || a.header.Get("Content-Disposition") != "" {
			t.Errorf("%s: %v", name, a.header)
		}
	}
	if got := c.want("HEAD", "a", nil, "", 200).header.Get("Content-Type"); got != "application/octet-stream" {
		t.Errorf("a type was guessed: %s", got)
	}
}

// TestReadFails holds that a file is sent whole, or it is seen that it was not.
func TestReadFails(t *testing.T) {
	s, c := folder(t, share.Full)
	s.Write("f", noise(5<<20))
	reads := 0
	s.Refuse(func(verb, path string) error {
		if verb == "read" {
			reads++
		}
		if verb == "open" || reads > 3 {
			return &peer.Error{Op: verb, Path: path, Kind: peer.Unreachable}
		}
		return nil
	})
	if a := c.want("GET", "f", nil, "", 503); a.header.Get("Retry-After") == "" || a.header.Get("ETag") != "" || a.header.Get("Content-Length") == "5242880" {
		t.Errorf("before the first byte: %v", a.header)
	}
	c.want("GET", "f", head{"Range": "bytes=5-9"}, "", 503)
	s.Refuse(func(verb, path string) error {
		if verb == "read" {
			reads++
		}
		if reads > 3 {
			return &peer.Error{Op: verb, Path: path, Kind: peer.Integrity}
		}
		return nil
	})
	if a, err := c.try("GET", "f", nil, nil); err == nil {
		t.Errorf("an answer that was cut passes for whole: status %d, %d bytes", a.code, len(a.body))
	}
	c.want("GET", "f", nil, "", 502)
}

// TestChangesWhileRead holds that no answer mixes two versions, and that the next one is of the new version, whether its owner tells
// that it changed or not.
func TestChangesWhileRead(t *testing.T) {
	for _, unwatched := range []bool{false, true} {
		t.Run(fmt.Sprintf("unwatched=%v", unwatched), func(t *testing.T) { changesWhileRead(t, unwatched) })
	}
}

func changesWhileRead(t *testing.T, unwatched bool) {
	s, c := folder(t, share.Full)
	s.Unwatched(unwatched)
	s.Write("f", bytes.Repeat([]byte("a"), 4<<20))
	s.Forgetful()
	reads, changed := 0, make(chan struct{})
	s.Refuse(func(verb, _ string) error {
		if verb == "read" {
			if reads++; reads == 3 {
				<-changed
			}
		}
		return nil
	})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.base+"f", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	s.Write("f", bytes.Repeat([]byte("b"), 4<<20))
	close(changed)
	b, err := io.ReadAll(resp.Body)
	if bytes.ContainsRune(b, 'b') || err == nil && len(b) != 4<<20 {
		t.Errorf("%d bytes, %v, some of them of the new version: %v", len(b), err, bytes.ContainsRune(b, 'b'))
	}
	if a := c.want("GET", "f", nil, "", 200); strings.Trim(a.body, "b") != "" {
		t.Error("the next answer is not of the new version")
	}
}

func TestIndex(t *testing.T) {
	s, c := folder(t, share.Full)
	s.WriteAt("clip <1>.mp4", noise(1234), time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC))
	s.Write(`"quoted" & 'so'.txt`, noise(5_300_000))
	s.Write("sub/deep/x", nil)
	a := c.want("GET", "", nil, "", 200)
	for _, want := range []string{
		`<a href="/m/`, `anna/docs/clip%20%3C1%3E.mp4"><bdi>clip &lt;1&gt;.mp4</bdi></a></td><td>1.2 kB</td><td><time datetime="2020-01-02T03:04:05Z">`,
		`<bdi>&#34;quoted&#34; &amp; &#39;so&#39;.txt</bdi></a></td><td>5.3 MB`, `class="video"`, `class="folder"><td><a href="/m/`, `<h1>docs</h1>`, `>anna</a><span>/`,
	} {
		if !strings.Contains(a.body, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Contains(a.body, "<script") || strings.Index(a.body, "sub/") > strings.Index(a.body, "clip") {
		t.Errorf("a script, or a file before the folders: %s", a.body)
	}
	if p := a.header.Get("Content-Security-Policy"); !strings.HasPrefix(p, "default-src 'none'") || !strings.Contains(p, "style-src 'sha256-") {
		t.Errorf("policy %s", p)
	}
	if a := c.want("HEAD", "sub", nil, "", 200); a.body != "" || a.header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("HEAD: %+v", a)
	}
	// Every link leads somewhere.
	for _, dir := range []string{"", "sub/", "sub/deep/"} {
		body := c.want("GET", dir, nil, "", 200).body
		links := strings.Split(body, `<a href="`)[1:]
		if len(links) < 3 {
			t.Errorf("%s: %d links", dir, len(links))
		}
		for _, l := range links {
			href, _, _ := strings.Cut(l, `"`)
			root := c
			root.base = c.base[:strings.Index(c.base, "/m/")]
			root.want("GET", href, nil, "", 200)
		}
	}
	if a := c.want("GET", "sub/deep/../deep", nil, "", 200, 400); a.code == 200 && !strings.Contains(a.body, "<h1>deep</h1>") {
		t.Error(a.body)
	}
}

package webdav_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/share"
)

func TestPut(t *testing.T) {
	old := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, x := range []struct {
		name string
		path string
		h    head
		want int
	}{
		{"new", "new", nil, 201},
		{"replaced", "f", nil, 204},
		{"onto a folder", "dir", nil, 405},
		{"as a folder", "x/", nil, 405},
		{"under nothing", "no/such/f", nil, 409},
		{"under a file", "f/g", nil, 409},
		{"a part", "f", head{"Content-Range": "bytes 0-2/10"}, 400},
		{"compressed", "f", head{"Content-Encoding": "gzip"}, 400},
		{"as it is", "f", head{"Content-Encoding": "identity"}, 204},
		{"fewer than announced", "f", head{"X-Expected-Entity-Length": "7"}, 400},
		{"more than announced", "f", head{"X-Expected-Entity-Length": "5"}, 400},
		{"as announced", "f", head{"X-Expected-Entity-Length": "6"}, 204},
		{"of no announced length", "f", head{"X-Expected-Entity-Length": "x"}, 400},
		{"with its time", "f", head{"X-Oc-Mtime": "1577934245.25"}, 204},
		{"with no time", "f", head{"X-Oc-Mtime": "yesterday"}, 400},
		{"with an endless time", "f", head{"X-Oc-Mtime": "1e300"}, 400},
		{"with a time that no file can have", "f", head{"X-Oc-Mtime": "10000000000"}, 400},
		{"with a NaN", "f", head{"X-Oc-Mtime": "NaN"}, 400},
		{"a name no peer may give", "COM1", nil, 403},
		{"a reserved name", ".peerd-x", nil, 403},
		{"too long a name", strings.Repeat("n", 256), nil, 403},
		{"if it is the same", "f", head{"If-Match": "TAG"}, 204},
		{"if it is one of these", "f", head{"If-Match": `"x", TAG`}, 204},
		{"if it is there", "f", head{"If-Match": "*"}, 204},
		{"if it is there, new", "n", head{"If-Match": "*"}, 412},
		{"if it is another", "f", head{"If-Match": `"x"`}, 412},
		{"if it is weakly the same", "f", head{"If-Match": "W/TAG"}, 412},
		{"if it is not there", "f", head{"If-None-Match": "*"}, 412},
		{"if it is not there, new", "n2", head{"If-None-Match": "*"}, 201},
		{"if it is not this", "f", head{"If-None-Match": "TAG"}, 412},
		{"if it is not weakly this", "f", head{"If-None-Match": "W/TAG"}, 412},
		{"if it is not another", "f", head{"If-None-Match": `"x"`}, 204},
		{"if it was not changed", "f", head{"If-Unmodified-Since": old.Format(http.TimeFormat)}, 204},
		{"if it was not changed before", "f", head{"If-Unmodified-Since": old.Add(-time.Hour).Format(http.TimeFormat)}, 412},
		{"If with the tag", "f", head{"If": "([TAG])"}, 204},
		{"If with another", "f", head{"If": `(["x"])`}, 412},
		{"If with a token that is not", "f", head{"If": "(<urn:uuid:none>)"}, 412},
		{"If that is none", "f", head{"If": "x"}, 400},
	} {
		t.Run(x.name, func(t *testing.T) {
			s, c := folder(t, share.Full)
			s.Mkdir("dir")
			s.WriteAt("f", []byte("old"), old)
			tag := c.want("HEAD", "f", nil, "", 200).header.Get("ETag")
			for k, v := range x.h {
				x.h[k] = strings.ReplaceAll(v, "TAG", tag)
			}
			a := c.want("PUT", x.path, x.h, "newest", x.want)
			if x.want < 300 {
				now := c.want("GET", x.path, nil, "", 200)
				if now.body != "newest" || now.header.Get("ETag") != a.header.Get("ETag") || now.header.Get("ETag") == tag {
					t.Errorf("then it is %q with the tag %s, was %s, and the answer had %s", now.body, now.header.Get("ETag"), tag, a.header.Get("ETag"))
				}
			}
			if b, _ := s.Read("f"); x.want >= 300 && string(b) != "old" {
				t.Errorf("refused, but f is %q", b)
			}
			if x.h["X-Oc-Mtime"] != "" && x.want == 204 {
				if at := c.do("HEAD", x.path, nil, "").header.Get("Last-Modified"); at != old.Format(http.TimeFormat) || a.header.Get("X-Oc-Mtime") != "accepted" {
					t.Errorf("its time is %s; %v", at, a.header)
				}
			}
			for _, p := range s.Paths() {
				if p != "dir/" && p != "f" && (p != x.path || x.want >= 300) {
					t.Errorf("there is %s", p)
				}
			}
		})
	}
}

// TestCutUpload holds that of an upload whose connection breaks nothing is seen.
func TestCutUpload(t *testing.T) {
	s, c := folder(t, share.Full)
	s.Write("f", []byte("the old content"))
	for name, x := range map[string]struct{ head, body string }{
		"length":          {"Content-Length: 2000000\r\n", strings.Repeat("X", 700_000)},
		"nothing came":    {"Content-Length: 2000000\r\n", ""},
		"chunked":         {"Transfer-Encoding: chunked\r\n", "80000\r\n" + strings.Repeat("Y", 0x80000) + "\r\n80000\r\nYYY"},
		"between chunks":  {"Transfer-Encoding: chunked\r\n", "3\r\nYYY\r\n"},
		"no last chunk":   {"Transfer-Encoding: chunked\r\n", "3\r\nYYY\r\n3\r\nZZZ"},
		"chunks are junk": {"Transfer-Encoding: chunked\r\n", "3\r\nYYY\r\nxyz\r\n"},
		"Finder":          {"Transfer-Encoding: chunked\r\nX-Expected-Entity-Length: 10\r\n", "3\r\nYYY\r\n0\r\n\r\n"},
	} {
		for _, target := range []string{"f", "new"} {
			t.Run(name+" "+target, func(t *testing.T) {
				u, err := url.Parse(c.base)
				if err != nil {
					t.Fatal(err)
				}
				conn, err := net.Dial("tcp", u.Host)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				fmt.Fprintf(conn, "PUT %s%s HTTP/1.1\r\nHost: %s\r\n%s\r\n%s", u.Path, target, u.Host, x.head, x.body)
				if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
				// The server has done what it does when it answers, or hangs up.
				if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil && resp.StatusCode < 400 {
					t.Errorf("it is answered by %s", resp.Status)
				}
				if got := c.do("GET", "f", nil, "").body; got != "the old content" {
					t.Errorf("the file is now %.50q", got)
				}
				c.want("GET", "new", nil, "", 404)
			})
		}
	}
	if p := s.Paths(); len(p) != 1 {
		t.Errorf("the owner has %q", p)
	}
	if n := s.Calls("item"); n != 0 {
		t.Errorf("%d torsos were sent to the owner", n)
	}
}

func TestMkcol(t *testing.T) {
	s, c := folder(t, share.Full)
	s.Write("f", []byte("x"))
	c.want("MKCOL", "d/", nil, "", 201)
	c.want("MKCOL", "d/", nil, "", 405)
	c.want("MKCOL", "f", nil, "", 405)
	c.want("MKCOL", "no/d", nil, "", 409)
	c.want("MKCOL", "e", nil, "<x/>", 415)
	c.want("MKCOL", "LPT1", nil, "", 403)
	c.want("MKCOL", "", nil, "", 405)
}

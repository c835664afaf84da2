package webdav_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs/vfstest"
	"github.com/peerd/peerd/share/webdav"
)

// raw sends a request line as it stands, and gives the status.
func raw(t *testing.T, c client, method, path string, headers string) int {
	t.Helper()
	u, err := url.Parse(c.base)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Length: 0\r\n%s\r\n", method, strings.Replace(path, "BASE/", u.Path, 1), u.Host, headers)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%s %q: %v", method, path, err)
	}
	return resp.StatusCode
}

func TestHostilePaths(t *testing.T) {
	s, c := folder(t, share.Full)
	s.Write("d/f", []byte("x"))
	for _, path := range []string{
		"BASE/../x", "BASE/d/../../../x", "BASE/%2e%2e/x", "BASE/.%2E/x", "BASE/./x", "BASE/d/%2f..%2fx", "BASE/d%2ff", "BASE/..%5cx", "BASE/a%5cb",
		"BASE/a%00", "BASE/a%0a", "BASE/a%7f", "BASE/a%1b%5b", "BASE/%c0%ae%c0%ae/x", "BASE/%ff", "BASE/%ed%a0%80", "BASE/%zz", "BASE/a%", "BASE/d/#f", "BASE/x#",
		"BASE/" + strings.Repeat("a/", 100), "BASE/" + strings.Repeat("%61", 7000), "*", "http://other.example/m/x/y",
		"BASE/../../../../../../../../etc/x", "BASE/%c2%85", "BASE/a%e2%80%8eb",
	} {
		for _, method := range []string{"PUT", "MKCOL", "DELETE", "PROPPATCH", "LOCK"} {
			if code := raw(t, c, method, path, ""); code < 400 || code > 431 {
				t.Errorf("%s %.60s: status %d", method, path, code)
			}
		}
		for _, method := range []string{"MOVE", "COPY"} {
			if code := raw(t, c, method, "BASE/d/f", "Destination: "+strings.Replace(path, "BASE/", "/m/x/", 1)+"\r\n"); code < 400 || code > 502 {
				t.Errorf("%s to %.60s: status %d", method, path, code)
			}
		}
	}
	if got := s.Paths(); !slices.Equal(got, []string{"d/", "d/f"}) {
		t.Errorf("then there is %q", got)
	}
}

// TestHostileNames holds that whatever a file is called, what tells of it is well-formed, and what is told leads to it.
func TestHostileNames(t *testing.T) {
	s, c := folder(t, share.Full)
	names := []string{
		"<b>", "&amp;", "a&b", `"q"`, "'q'", "]]>", "<!--", "-->", "%2f", "%00", "?query", "#frag", "a;b", "a+b", "a b", " ", "...", "~", "$HOME", "`id`",
		"javascript:alert(1)", "http:", "\u00ad", "日本", "👩‍👩‍👧", "\u0645\u0631\u062d\u0628\u0627", strings.Repeat("ü", 127), "</D:href>", "{{.Name}}", "<script>alert(1)</script>", "xmlns", "a\tb",
	}
	var made []string
	for _, n := range names {
		if share.CheckComponent(n) == nil && !strings.Contains(n, "/") {
			s.Write(n, []byte(n))
			made = append(made, n)
		}
	}
	if len(made) < 24 {
		t.Fatalf("only %d names are left", len(made))
	}
	m := c.propfind("", "1", "")
	var got []string
	root := c
	root.base = c.base[:strings.Index(c.base, "/m/")]
	for _, r := range m.Responses[1:] {
		name := r.Props[0].Prop.Name
		got = append(got, name)
		if a := root.want("GET", r.Href, nil, "", 200); a.body != name {
			t.Errorf("%s leads to %q, not to %q", r.Href, a.body, name)
		}
	}
	slices.Sort(made)
	if slices.Sort(got); !slices.Equal(got, made) {
		t.Errorf("listed are %q, want %q", got, made)
	}
	page := c.want("GET", "", nil, "", 200).body
	for _, forbidden := range []string{"<script", "<b>", "<!--", "{{"} {
		if strings.Contains(page, forbidden) && forbidden != "{{" {
			t.Errorf("the page holds %s", forbidden)
		}
	}
	for _, n := range made {
		if !strings.Contains(page, "/"+strings.ReplaceAll(url.QueryEscape(n), "+", "%20")+`"`) {
			t.Errorf("the page has no link to %q", n)
		}
	}
}

// TestManyEntries holds that a long listing is sent as it is made, and not kept. PEERD_WEBDAV_ENTRIES=100000 has it longer.
func TestManyEntries(t *testing.T) {
	entries := 20_000
	if n, err := strconv.Atoi(os.Getenv("PEERD_WEBDAV_ENTRIES")); err == nil {
		entries = n
	}
	w := vfstest.NewWorld()
	s := w.Add("anna").Share("docs", share.Full)
	for i := range entries {
		s.Write(fmt.Sprintf("f%06d", i), nil)
	}
	fs := vfstest.Running(t, w)
	c := client{t, serve(t, fs, "127.0.0.1:0", webdav.ServeOptions{}) + "anna/docs/"}
	a, err := fs.Walk(t.Context(), "anna", "docs")
	if err != nil {
		t.Fatal(err)
	}
	// What the tree itself holds of it is not the matter here. A loaded machine may need its patience more than once.
	for _, err := fs.List(t.Context(), a.Ino); err != nil; _, err = fs.List(t.Context(), a.Ino) {
		if peer.KindOf(err) != peer.Unreachable {
			t.Fatal(err)
		}
	}
	for _, x := range []struct {
		method, mark string
		want         int
	}{{"PROPFIND", "<D:response>", entries + 1}, {"GET", "<tr class=", entries}} {
		r, err := http.NewRequestWithContext(t.Context(), x.method, c.base, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Depth", "1")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var before, during runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		n, size, lines := 0, 0, bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			n += strings.Count(lines.Text(), x.mark)
			size += len(lines.Bytes())
			if n == entries/2 && during.HeapAlloc == 0 {
				runtime.GC()
				runtime.ReadMemStats(&during)
			}
		}
		resp.Body.Close()
		if lines.Err() != nil || n != x.want {
			t.Errorf("%s: %d of %d entries, %v", x.method, n, x.want, lines.Err())
		}
		if more := int64(during.HeapAlloc) - int64(before.HeapAlloc); more > int64(size)/2 {
			t.Errorf("%s: %d bytes more are held in the midst of an answer of %d", x.method, more, size)
		}
	}
}

// TestGoneListener holds that a listing that nobody reads any more ends.
func TestGoneListener(t *testing.T) {
	s, c := folder(t, share.Full)
	for i := range 5000 {
		s.Write(fmt.Sprint(i), nil)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "PROPFIND", c.base, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Depth", "1")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	resp.Body.Close()
	c.want("HEAD", "1", nil, "", 200) // and the server's end, which the test waits for, is not kept up
}

// TestOneShareOnly holds that who was given one share reaches no other, however it is asked for, nor learns that there is one.
func TestOneShareOnly(t *testing.T) {
	w := vfstest.NewWorld()
	anna := w.Add("anna")
	docs, secret := anna.Share("docs", share.Full), anna.Share("secret", share.Full)
	other := w.Add("berta").Share("docs", share.Full)
	docs.Write("f", []byte("plain"))
	secret.Write("f", []byte("hidden"))
	other.Write("f", []byte("hidden"))
	fs := vfstest.Running(t, w)
	listen := func(root ...string) client {
		return client{t, serve(t, fs, "127.0.0.1:0", webdav.ServeOptions{Options: webdav.Options{Root: root}})}
	}
	c, its := listen("anna", "docs"), listen("anna", "secret")
	its.want("GET", "f", nil, "", 200)
	before := secret.Calls("open")
	token := func(c client) string { return c.base[strings.Index(c.base, "/m/")+3 : len(c.base)-1] }
	for _, path := range []string{
		"BASE/../secret/f", "BASE/..%2fsecret/f", "BASE/%2e%2e/secret/f", "BASE/%2e%2e%2fsecret%2ff", "BASE/..\\secret\\f", "BASE/..;/secret/f", "BASE//anna/secret/f",
		"BASE/anna/secret/f", "BASE/secret/f", "/anna/secret/f", "/m//anna/secret/f", "/m/" + token(its) + "/f", "/m/" + token(its) + "/../" + token(c) + "/f2",
		"BASE/../../m/" + token(its) + "/f", its.base + "f", "BASE/../../berta/docs/f", "BASE/\x2e\x2e/secret/f", "BASE/%252e%252e/secret/f", "BASE/f/../../secret/f",
	} {
		for _, method := range []string{"GET", "HEAD", "PROPFIND", "PUT", "DELETE", "MKCOL", "PROPPATCH", "LOCK", "COPY", "MOVE"} {
			if code := raw(t, c, method, path, "Depth: 0\r\nDestination: "+c.base+"n\r\n"); code < 400 {
				if method == "PUT" || method == "MKCOL" {
					continue // a name of docs' own, looked at below
				}
				t.Errorf("%s %s: status %d", method, path, code)
			}
		}
		to := strings.Replace(path, "BASE/", c.base, 1)
		for _, method := range []string{"COPY", "MOVE"} {
			raw(t, c, method, "BASE/f", "Overwrite: T\r\nDestination: "+to+"\r\n")
		}
		raw(t, c, "PUT", "BASE/f", "If: <"+to+"> ([\"x\"])\r\n")
	}
	for _, s := range []*vfstest.Share{secret, other} {
		if b, _ := s.Read("f"); string(b) != "hidden" || !slices.Equal(s.Paths(), []string{"f"}) {
			t.Errorf("another share has %q, and %q", s.Paths(), b)
		}
	}
	if secret.Calls("open") != before || other.Calls("open") != 0 {
		t.Error("another share was read")
	}
	for _, method := range []string{"GET", "PROPFIND"} {
		a := c.do(method, "", head{"Depth": "1"}, "")
		if a.code > 207 || strings.Contains(a.body, "secret") || strings.Contains(a.body, "berta") || strings.Contains(a.body, token(its)) {
			t.Errorf("%s: status %d %s", method, a.code, a.body)
		}
	}
}

// TestFloods holds that one request costs no more than one should.
func TestFloods(t *testing.T) {
	s, c := folder(t, share.Full)
	s.Write("f", noise(5<<20))
	var ranges strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&ranges, ",%d-%d", i*5000, i*5000)
	}
	if a := c.do("GET", "f", head{"Range": "bytes=" + ranges.String()[1:]}, ""); a.code != 200 || len(a.body) != 5<<20 {
		t.Errorf("a thousand ranges: status %d, %d bytes", a.code, len(a.body))
	}
	if code := raw(t, c, "GET", "BASE/f", "X: "+strings.Repeat("x", 100_000)+"\r\n"); code != 431 {
		t.Errorf("a header of 100 kB: status %d", code)
	}
	if a := c.do("PROPFIND", "", head{"Depth": "0"}, `<propfind xmlns="DAV:"><prop>`+strings.Repeat("<x/>", 1000)+"</prop></propfind>"); a.code != 413 {
		t.Errorf("a thousand properties: status %d", a.code)
	}
	for _, method := range []string{"PROPFIND", "PROPPATCH", "LOCK"} {
		a, err := c.try(method, "f", head{"Depth": "0"}, strings.NewReader(strings.Repeat(" ", 20<<20)))
		if err == nil && a.code != 413 { // or the connection is cut while it is still sent
			t.Errorf("%s of 20 MiB: status %d", method, a.code)
		}
	}
	owner := strings.Replace(fmt.Sprintf(lockBody, "shared"), "</D:lockinfo>", "<D:owner>"+strings.Repeat("x", 10_000)+"</D:owner></D:lockinfo>", 1)
	if a := c.do("LOCK", "f", nil, owner); a.code != 413 {
		t.Errorf("a lock with an owner of 10 kB: status %d", a.code)
	}
	codes := map[int]int{}
	for range 50 {
		codes[c.do("LOCK", "f", nil, fmt.Sprintf(lockBody, "shared")).code]++
	}
	if codes[200] != 16 || codes[503] != 34 {
		t.Errorf("fifty locks: %v", codes)
	}
	c.want("GET", "f", nil, "", 200)
}

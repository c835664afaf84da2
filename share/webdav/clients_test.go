package webdav_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/share"
)

// Each of these is what a client was seen to do, in its order.

func TestFinder(t *testing.T) {
	s, c := folder(t, share.Full)
	o := c.want("OPTIONS", "", nil, "", 200)
	if !strings.Contains(o.header.Get("DAV"), "2") || !strings.Contains(o.header.Get("Allow"), "LOCK") {
		t.Errorf("Finder would mount for reading: %v", o.header)
	}
	m := c.propfind("", "0", `<propfind xmlns="DAV:"><prop><quota-available-bytes/><quota-used-bytes/><quota/><quotaused/></prop></propfind>`)
	if p := m.Responses[0].Props[0].Prop; p.Available == nil || p.Used == nil || *p.Available <= 0 {
		t.Errorf("no room to write: %+v", m)
	}
	const decomposed, composed = "Bild%20u%CC%88.png", "Bild ü.png"
	c.want("PROPFIND", decomposed, head{"Depth": "0"}, "", 404)
	c.want("PUT", decomposed, nil, "", 201)
	token := c.lock(decomposed, head{"Depth": "0", "Timeout": "Second-600"}, "exclusive")
	data := string(noise(300_000))
	a, err := c.try("PUT", decomposed, head{"If": "(<" + token + ">)", "X-Expected-Entity-Length": "300000"},
		struct{ *strings.Reader }{strings.NewReader(data)}) // of unknown length, so it is sent in chunks
	if err != nil || a.code != 204 {
		t.Fatalf("PUT: %+v, %v", a, err)
	}
	c.want("LOCK", decomposed, head{"If": "(<" + token + ">)", "Timeout": "Second-600"}, "", 200)
	c.want("PUT", "._Bild%20u%CC%88.png", nil, "resource fork", 201)
	c.want("PUT", ".DS_Store", nil, "view", 201)
	c.want("UNLOCK", decomposed, head{"Lock-Token": "<" + token + ">"}, "", 204)
	if b, ok := s.Read(composed); !ok || string(b) != data {
		t.Errorf("the owner has %q, and %d bytes of it", s.Paths(), len(b))
	}
	c.want("GET", "._Bild%20u%CC%88.png", nil, "", 200)
}

func win32(modified string) string {
	return `<?xml version="1.0" encoding="utf-8" ?><D:propertyupdate xmlns:D="DAV:" xmlns:Z="urn:schemas-microsoft-com:"><D:set><D:prop>` +
		`<Z:Win32CreationTime>Mon, 03 Feb 2020 04:05:06 GMT</Z:Win32CreationTime><Z:Win32LastAccessTime>Mon, 03 Feb 2020 04:05:06 GMT</Z:Win32LastAccessTime>` +
		`<Z:Win32LastModifiedTime>` + modified + `</Z:Win32LastModifiedTime><Z:Win32FileAttributes>00000020</Z:Win32FileAttributes></D:prop></D:set></D:propertyupdate>`
}

func TestWindows(t *testing.T) {
	s, c := folder(t, share.Full)
	if o := c.want("OPTIONS", "", nil, "", 200); o.header.Get("MS-Author-Via") != "DAV" {
		t.Errorf("Windows would not try: %v", o.header)
	}
	c.want("PROPFIND", "neu.txt", head{"Depth": "0", "Content-Length": "0"}, "", 404)
	c.want("PUT", "neu.txt", nil, "", 201)
	token := c.lock("neu.txt", head{"Depth": "0", "Timeout": "Second-3600"}, "exclusive")
	const when = "Mon, 03 Feb 2020 04:05:06 GMT"
	c.want("PROPPATCH", "neu.txt", holding(token), win32(when), 207)
	c.want("HEAD", "neu.txt", nil, "", 200)
	c.want("PUT", "neu.txt", holding(token), "content", 204)
	if a := c.want("PROPPATCH", "neu.txt", holding(token), win32(when), 207); strings.Count(a.body, "200 OK") != 1 || strings.Contains(a.body, "40") {
		t.Errorf("PROPPATCH: %s", a.body)
	}
	c.want("UNLOCK", "neu.txt", head{"Lock-Token": "<" + token + ">"}, "", 204)
	if got := c.want("HEAD", "neu.txt", nil, "", 200).header.Get("Last-Modified"); got != when {
		t.Errorf("its time is %s", got)
	}
	if at, _, _ := s.Stat("neu.txt"); at.UTC().Format(http.TimeFormat) != when {
		t.Errorf("at the owner its time is %v", at)
	}
	a := c.want("PROPFIND", "neu.txt", head{"Depth": "0"}, `<propfind xmlns="DAV:" xmlns:Z="urn:schemas-microsoft-com:"><prop>`+
		`<Z:Win32FileAttributes/><Z:Win32LastModifiedTime/><Z:Win32LastAccessTime/></prop></propfind>`, 207)
	if !strings.Contains(a.body, ">00000020<") || strings.Count(a.body, when) != 2 || strings.Contains(a.body, "404") {
		t.Errorf("PROPFIND: %s", a.body)
	}
	// A time that can't be is refused, and with it all else.
	for _, no := range []string{"yesterday", "Mon, 03 Feb 2400 04:05:06 GMT", "Mon, 03 Feb 1600 04:05:06 GMT"} {
		a = c.want("PROPPATCH", "neu.txt", nil, strings.Replace(win32(no), "00000020", "00000021", 1), 207)
		if !strings.Contains(a.body, "409") || !strings.Contains(a.body, "424") || strings.Contains(a.body, "200 OK") {
			t.Errorf("PROPPATCH of %s: %s", no, a.body)
		}
	}
}

// TestOffice saves as office programs on Windows do: into a new file that is locked, moved over the document.
func TestOffice(t *testing.T) {
	s, c := folder(t, share.Full)
	s.Write("doc.docx", []byte("old"))
	token := c.lock("~$doc.docx", head{"Depth": "0"}, "exclusive")
	c.want("PUT", "~$doc.docx", holding(token), "owner", 204)
	for i := range 3 {
		data := fmt.Sprint("version ", i)
		temp := fmt.Sprintf("~WRD000%d.tmp", i)
		lock := c.lock(temp, head{"Depth": "0", "Timeout": "Second-3600"}, "exclusive")
		c.want("PUT", temp, holding(lock), data, 204)
		c.want("PROPPATCH", temp, holding(lock), win32("Mon, 03 Feb 2020 04:05:06 GMT"), 207)
		c.want("MOVE", "doc.docx", head{"Destination": "/~WRL0001.tmp", "Overwrite": "T"}, "", 201, 204)
		c.want("MOVE", temp, head{"If": "(<" + lock + ">)", "Destination": "/doc.docx", "Overwrite": "F"}, "", 201)
		c.want("DELETE", "~WRL0001.tmp", nil, "", 204)
		if a := c.want("GET", "doc.docx", nil, "", 200); a.body != data {
			t.Errorf("save %d: %q", i, a.body)
		}
		if b, _ := s.Read("doc.docx"); string(b) != data {
			t.Errorf("save %d: the owner has %q", i, b)
		}
	}
	c.want("DELETE", "~$doc.docx", holding(token), "", 204)
	a := c.want("PROPFIND", "doc.docx", head{"Depth": "0"}, `<propfind xmlns="DAV:" xmlns:Z="urn:schemas-microsoft-com:"><prop><Z:Win32FileAttributes/></prop></propfind>`, 207)
	if !strings.Contains(a.body, "00000020") {
		t.Errorf("what was set did not move along: %s", a.body)
	}
}

// TestSyncClients keep times by headers and properties of their own.
func TestSyncClients(t *testing.T) {
	s, c := folder(t, share.Full)
	c.want("PUT", "photo.jpg", head{"X-Oc-Mtime": "1500000000"}, "x", 201)
	if at, _, _ := s.Stat("photo.jpg"); at.Unix() != 1500000000 {
		t.Errorf("X-OC-Mtime made %v", at)
	}
	for prop, want := range map[string]int64{
		"<lastmodified>1400000000</lastmodified>":                              1400000000,
		"<getlastmodified>Mon, 03 Feb 2020 04:05:06 GMT</getlastmodified>":     1580702706,
		"<getlastmodified>\n Monday, 03-Feb-20 04:05:07 GMT</getlastmodified>": 1580702707,
	} {
		a := c.want("PROPPATCH", "photo.jpg", nil, `<propertyupdate xmlns="DAV:"><set><prop>`+prop+`</prop></set></propertyupdate>`, 207)
		if at, _, _ := s.Stat("photo.jpg"); at.Unix() != want || !strings.Contains(a.body, "200 OK") {
			t.Errorf("%s made %v: %s", prop, at, a.body)
		}
	}
	const executable = `<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><executable xmlns="http://apache.org/dav/props/">T</executable></D:prop></D:set></D:propertyupdate>`
	c.want("PROPPATCH", "photo.jpg", nil, executable, 207)
	if _, exec, _ := s.Stat("photo.jpg"); !exec {
		t.Error("davfs2 can't make a file executable")
	}
}

func TestProperties(t *testing.T) {
	s, c := folder(t, share.Full)
	s.WriteAt("d/f", []byte("12345"), time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC))
	m := c.propfind("d", "1", "")
	if len(m.Responses) != 2 {
		t.Fatalf("%+v", m)
	}
	dir, file := m.Responses[0], m.Responses[1]
	if !strings.HasSuffix(dir.Href, "/d/") || dir.Props[0].Prop.Type.Folder == nil || dir.Props[0].Prop.Name != "d" || dir.Props[0].Prop.ETag != "" || dir.Props[0].Prop.Available != nil {
		t.Errorf("folder: %+v", dir)
	}
	if p := file.Props[0].Prop; !strings.HasSuffix(file.Href, "/d/f") || p.Type.Folder != nil || p.Size != 5 || p.Modified != "Thu, 02 Jan 2020 03:04:05 GMT" || p.ETag == "" {
		t.Errorf("file: %+v", file)
	}
	names := c.want("PROPFIND", "d/f", head{"Depth": "0"}, `<propfind xmlns="DAV:"><propname/></propfind>`, 207)
	for _, want := range []string{"<D:getetag/>", "<D:supportedlock/>", "<D:lockdiscovery/>", "<D:creationdate/>", `<executable xmlns="http://apache.org/dav/props/"/>`} {
		if !strings.Contains(names.body, want) {
			t.Errorf("propname lacks %s: %s", want, names.body)
		}
	}
	a := c.want("PROPFIND", "d/f", nil, "", 403)
	if !strings.Contains(a.body, "<D:propfind-finite-depth/>") {
		t.Errorf("PROPFIND without Depth: %s", a.body)
	}
	c.want("PROPFIND", "d/f", head{"Depth": "infinity"}, "", 403)
	c.want("PROPFIND", "d/f", head{"Depth": "2"}, "", 400)
	c.want("PROPFIND", "none", head{"Depth": "0"}, "", 404)
	c.want("PROPFIND", "", head{"Depth": "0"}, `<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><propfind xmlns="DAV:"><prop><x>&b;</x></prop></propfind>`, 400)
	c.want("PROPFIND", "", head{"Depth": "0"}, strings.Repeat("<a>", 100_000), 413)
	c.want("BREW", "", nil, "", 405)

	// Dead ones come back as they were, go along with what they are of, and are dropped with it.
	const ask = `<D:propfind xmlns:D="DAV:"><D:prop><a xmlns="urn:x"/></D:prop></D:propfind>`
	set := func(v string) string {
		return `<D:propertyupdate xmlns:D="DAV:" xmlns:q="urn:x"><D:set><D:prop><q:a>` + v + `</q:a></D:prop></D:set></D:propertyupdate>`
	}
	has := func(path, want string) {
		t.Helper()
		got := c.want("PROPFIND", path, head{"Depth": "0"}, ask, 207).body
		if (want == "") != strings.Contains(got, "404") || !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	c.want("PROPPATCH", "d/f", nil, set("<q:in>1</q:in>"), 207)
	has("d/f", `<a xmlns="urn:x"><in xmlns="urn:x">1</in></a>`)
	c.want("COPY", "d", head{"Destination": "/e"}, "", 201)
	has("e/f", `<in xmlns="urn:x">1</in>`)
	c.want("MOVE", "d", head{"Destination": "/g"}, "", 201)
	has("g/f", `<in xmlns="urn:x">1</in>`)
	c.want("PUT", "g/f", nil, "new", 204)
	has("g/f", `<in xmlns="urn:x">1</in>`)
	c.want("DELETE", "g", nil, "", 204)
	c.want("MKCOL", "g", nil, "", 201)
	c.want("PUT", "g/f", nil, "new", 201)
	has("g/f", "")
	if a := c.want("PROPPATCH", "g/f", nil, strings.Replace(set("1"), "<q:a>", "<D:getetag>x</D:getetag><q:a>", 1), 207); !strings.Contains(a.body, "403") || !strings.Contains(a.body, "424") {
		t.Errorf("PROPPATCH of what can't be set: %s", a.body)
	}
	has("g/f", "")
}

package body

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
)

func dav(local string) xml.Name { return xml.Name{Space: NS, Local: local} }

func TestReadFind(t *testing.T) {
	many := strings.Repeat("<D:x/>", maxProps+1)
	for _, c := range []struct {
		in   string
		want Find
		ok   bool
	}{
		{"", Find{All: true}, true},
		{`<propfind xmlns="DAV:"><allprop/></propfind>`, Find{All: true}, true},
		{`<propfind xmlns="DAV:"><propname/></propfind>`, Find{Names: true}, true},
		{`<?xml version="1.0"?><D:propfind xmlns:D="DAV:" xmlns:z="urn:z"><D:prop><D:a/><z:b/><c xmlns=""/></D:prop></D:propfind>`,
			Find{Props: []xml.Name{dav("a"), {Space: "urn:z", Local: "b"}, {Local: "c"}}}, true},
		{`<propfind xmlns="DAV:"><allprop/><include><x/></include></propfind>`, Find{All: true, Props: []xml.Name{dav("x")}}, true},
		{`<propfind xmlns="DAV:"><new/><allprop/></propfind>`, Find{All: true}, true},
		{`<propfind xmlns="DAV:"><allprop/><propname/></propfind>`, Find{}, false},
		{`<propfind xmlns="DAV:"/>`, Find{}, false},
		{`<propfind xmlns="urn:other"><allprop/></propfind>`, Find{}, false},
		{`<propfind xmlns="DAV:"><allprop/>`, Find{}, false},
		{`<propfind xmlns="DAV:"><allprop/></propfind><more/>`, Find{}, false},
		{`<propfind xmlns="DAV:"><allprop/></propfind>text`, Find{}, false},
		{"  \n", Find{}, false},
		{"<!-- -->", Find{}, false},
		{`<D:propfind xmlns:D="DAV:"><D:prop><x:y xmlns:x=""/></D:prop></D:propfind>`, Find{}, false},
		{`<!DOCTYPE a [<!ENTITY b "c">]><propfind xmlns="DAV:"><allprop/></propfind>`, Find{}, false},
		{`<propfind xmlns="DAV:"><prop><x>&b;</x></prop></propfind>`, Find{}, false},
		{`<D:propfind xmlns:D="DAV:"><D:prop>` + many + `</D:prop></D:propfind>`, Find{}, false},
		{strings.Repeat("<a>", 10_000), Find{}, false},
		{`<propfind xmlns="DAV:"><allprop/>` + strings.Repeat(" ", MaxBytes) + `</propfind>`, Find{}, false},
	} {
		got, err := ReadFind(strings.NewReader(c.in))
		if (err == nil) != c.ok || c.ok && !reflect.DeepEqual(got, c.want) {
			t.Errorf("%.80q: %+v, %v", c.in, got, err)
		}
	}
	if _, err := ReadFind(strings.NewReader("<a>" + strings.Repeat("x", MaxBytes))); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too much: %v", err)
	}
}

func TestReadPatch(t *testing.T) {
	got, err := ReadPatch(strings.NewReader(`<?xml version="1.0" encoding="utf-8"?>
<D:propertyupdate xmlns:D="DAV:" xmlns:z="urn:z" xml:lang="de">
 <D:set><D:prop><z:one q="&quot;" z:r="1">a &amp; b<z:in/><plain/></z:one></D:prop></D:set>
 <D:remove><D:prop><two xmlns=""/></D:prop></D:remove>
 <D:set><D:prop xml:lang="en"><three xmlns="urn:&lt;">&#x10000;</three></D:prop></D:set>
</D:propertyupdate>`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Patch{
		{xml.Name{Space: "urn:z", Local: "one"}, false,
			[]byte(`<one xmlns="urn:z" q="&#34;" xmlns:a0="urn:z" a0:r="1" xml:lang="de">a &amp; b<in xmlns="urn:z"/><plain xmlns=""/></one>`)},
		{xml.Name{Local: "two"}, true, nil},
		{xml.Name{Space: "urn:<", Local: "three"}, false, []byte(`<three xmlns="urn:&lt;" xml:lang="en">` + "\U00010000" + `</three>`)},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+q\nwant %+q", values(got), values(want))
	}
	for _, in := range []string{
		"", `<D:propertyupdate xmlns:D="DAV:"/>`, `<D:set xmlns:D="DAV:"><D:prop><a/></D:prop></D:set>`,
		`<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><a>` + strings.Repeat("x", maxValue) + `</a></D:prop></D:set></D:propertyupdate>`,
		`<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop>` + strings.Repeat("<a>", maxDepth) + strings.Repeat("</a>", maxDepth) +
			`</D:prop></D:set></D:propertyupdate>`,
	} {
		if got, err := ReadPatch(strings.NewReader(in)); err == nil {
			t.Errorf("%.80q: %+v", in, got)
		}
	}
}

func values(patches []Patch) (out []string) {
	for _, p := range patches {
		out = append(out, fmt.Sprint(p.Name, p.Remove, " ", string(p.Value)))
	}
	return out
}

func TestReadLock(t *testing.T) {
	in := `<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:%s/></D:lockscope><D:locktype><D:%s/></D:locktype>%s</D:lockinfo>`
	for _, c := range []struct {
		in   string
		want *LockInfo
		ok   bool
	}{
		{"", nil, true},
		{fmt.Sprintf(in, "exclusive", "write", ""), &LockInfo{}, true},
		{fmt.Sprintf(in, "shared", "write", "<D:owner><D:href>me</D:href></D:owner>"),
			&LockInfo{Shared: true, Owner: []byte(`<href xmlns="DAV:">me</href>`)}, true},
		{fmt.Sprintf(in, "exclusive", "read", ""), nil, false},
		{fmt.Sprintf(in, "none", "write", ""), nil, false},
		{`<lockinfo xmlns="DAV:"/>`, nil, false},
		{`<other xmlns="DAV:"/>`, nil, false},
	} {
		got, err := ReadLock(strings.NewReader(c.in))
		if (err == nil) != c.ok || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %+v, %v", c.in, got, err)
		}
	}
}

func TestReadNothing(t *testing.T) {
	if err := ReadNothing(strings.NewReader("")); err != nil {
		t.Error(err)
	}
	if err := ReadNothing(strings.NewReader("x")); err == nil {
		t.Error("something passes for nothing")
	}
}

// wellFormed reads a document whole.
func wellFormed(s string) error {
	d := xml.NewDecoder(strings.NewReader(s))
	for {
		if _, err := d.Token(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func TestMultistatus(t *testing.T) {
	var b bytes.Buffer
	m := NewMultistatus(&b)
	other := xml.Name{Space: `urn:"<&`, Local: "x"}
	m.Text(dav("displayname"), "a<b>&\"\x01\xff\u202e]]>")
	m.Value(dav("resourcetype"), "<D:collection/>")
	m.Value(dav("empty"), "")
	m.Name(other)
	m.Missing(other)
	m.Whole([]byte(`<w xmlns="urn:w"/>`))
	m.Resource(Href("/m", []string{"a b", "%<&'\"\x00ü+"}, true))
	m.Resource("/none")
	m.Failed("/f", 423)
	m.Patched("/p", []xml.Name{dav("a"), dav("b"), other}, []int{424, 403, 424})
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	got := b.String()
	if err := wellFormed(got); err != nil {
		t.Errorf("%v in\n%s", err, got)
	}
	for _, want := range []string{
		"<D:href>/m/a%20b/%25%3C%26%27%22%00%C3%BC%2B/</D:href>",
		"<D:displayname>a&lt;b&gt;&amp;&#34;\uFFFD\uFFFD\u202e]]&gt;</D:displayname>",
		`<D:status>HTTP/1.1 404 Not Found</D:status>`,
		`<D:response><D:href>/none</D:href><D:status>HTTP/1.1 200 OK</D:status></D:response>`,
		`<D:response><D:href>/f</D:href><D:status>HTTP/1.1 423 Locked</D:status></D:response>`,
		`<x xmlns="urn:&#34;&lt;&amp;"/>`,
		`<D:prop><D:b/></D:prop><D:status>HTTP/1.1 403 Forbidden</D:status><D:error><D:cannot-modify-protected-property/></D:error></D:propstat>`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\nlacks %s", got, want)
		}
	}
}

func TestOtherAnswers(t *testing.T) {
	var b bytes.Buffer
	l := ActiveLock{Root: "/a/", Token: "urn:uuid:1<", Deep: true, Shared: true, Owner: []byte(`<o xmlns="u"/>`), Seconds: 60}
	for name, write := range map[string]func() error{
		"lock":      func() error { return WriteLock(&b, l) },
		"error":     func() error { return WriteError(&b, "lock-token-submitted", "/a/b") },
		"condition": func() error { return WriteError(&b, "propfind-finite-depth", "") },
	} {
		b.Reset()
		if err := write(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := wellFormed(b.String()); err != nil {
			t.Errorf("%s: %v in\n%s", name, err, b.String())
		}
	}
}

// FuzzRead holds that what is kept of a request can stand in an answer, where it is read as the same.
func FuzzRead(f *testing.F) {
	for _, s := range []string{
		`<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><z:a xmlns:z="u" z:b="c" xml:lang="x">t<d/>&amp;</z:a></D:prop></D:set></D:propertyupdate>`,
		`<lockinfo xmlns="DAV:"><lockscope><shared/></lockscope><locktype><write/></locktype><owner>x<a:b xmlns:a="q"/></owner></lockinfo>`,
		`<propfind xmlns="DAV:"><prop><a:b xmlns:a="c"/></prop></propfind>`,
		`<a xmlns="x" y:z="1" xmlns:y="2"><![CDATA[<]]></a>`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var b bytes.Buffer
		m := NewMultistatus(&b)
		patches, _ := ReadPatch(strings.NewReader(s))
		for _, p := range patches {
			m.Name(p.Name)
			if p.Remove {
				continue
			}
			m.Whole(p.Value)
			again, err := ReadPatch(strings.NewReader(`<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop>` + string(p.Value) + `</D:prop></D:set></D:propertyupdate>`))
			if err != nil || len(again) != 1 || again[0].Name != p.Name || !bytes.Equal(again[0].Value, p.Value) {
				t.Errorf("%q became %q became %q, %v", s, p.Value, values(again), err)
			}
		}
		find, _ := ReadFind(strings.NewReader(s))
		for _, n := range find.Props {
			m.Missing(n)
		}
		if lock, _ := ReadLock(strings.NewReader(s)); lock != nil {
			m.Value(dav("lockdiscovery"), Discovery([]ActiveLock{{Owner: lock.Owner}}))
		}
		m.Resource("/x")
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		if err := wellFormed(b.String()); err != nil {
			t.Errorf("%q makes %v in\n%s", s, err, b.String())
		}
	})
}

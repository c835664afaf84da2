package dead

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
	"testing"
)

func TestBounds(t *testing.T) {
	p := New()
	p.atMost = 20_000
	value := func(n int) []Property { return []Property{{Value: make([]byte, n)}} }
	if err := p.Patch([]string{"a"}, value(maxOfOne+1)); err == nil {
		t.Error("one resource may have too much")
	}
	for i := range 1000 {
		if err := p.Patch([]string{fmt.Sprint(i)}, value(1000)); err != nil {
			t.Fatal(err)
		}
		p.Get([]string{"0"}) // is asked about, and stays
	}
	if p.bytes > p.atMost || len(p.of) > 20 {
		t.Errorf("%d bytes of %d resources are kept", p.bytes, len(p.of))
	}
	if p.Get([]string{"0"}) == nil || p.Get([]string{"999"}) == nil || p.Get([]string{"1"}) != nil {
		t.Error("others are kept than those that are used")
	}
	p.Copy([]string{"0"}, []string{"x"}, true)
	p.Move([]string{"x"}, []string{"y", "z"})
	if p.Get([]string{"x"}) != nil || p.Get([]string{"y", "z"}) == nil || p.Get([]string{"0"}) == nil {
		t.Error("copied or moved to elsewhere")
	}
	p.Drop([]string{"y"})
	if p.Get([]string{"y", "z"}) != nil {
		t.Error("what was below a folder outlives it")
	}
}

func named(name, value string) Property {
	return Property{Name: xml.Name{Space: "urn:x", Local: name}, Value: []byte("<" + name + ` xmlns="urn:x">` + value + "</" + name + ">")}
}

// TestText holds that what is written is read as the same, by whom it was used last too.
func TestText(t *testing.T) {
	p := New()
	tree := p.At("anna", "docs")
	_, none := p.Text()
	for _, c := range []struct {
		path  string
		props []Property
	}{
		{"a b/ü\"", []Property{named("x", "&lt;1&gt; & \u2028"), named("y", "<in>2</in>")}}, {"c", []Property{named("z", "")}},
	} {
		if c.props[0].Value = bytes.ReplaceAll(c.props[0].Value, []byte(" & "), []byte(" &amp; ")); tree.Patch(strings.Split(c.path, "/"), c.props) != nil {
			t.Fatal(c.path)
		}
	}
	tree.Get([]string{"a b", "ü\""}) // is used last
	text, change := p.Text()
	if change == none || p.Changed(change) || !p.Changed(none) || len(text) > 600 {
		t.Errorf("changes %d and %d, %d bytes", none, change, len(text))
	}
	q := New()
	if err := q.Read(bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	if again, _ := q.Text(); !bytes.Equal(again, text) || !strings.Contains(string(text), `"anna/docs/a b/ü\"/"`) {
		t.Errorf("%s\nis read as\n%s", text, again)
	}
	if got := q.At("anna").Get([]string{"docs", "c"}); len(got) != 1 || string(got[0].Value) != `<z xmlns="urn:x"></z>` {
		t.Errorf("%+v", got)
	}
	q.At("anna", "docs").Drop(nil)
	if text, _ := q.Text(); len(text) != 0 {
		t.Errorf("once they were dropped there is %s", text)
	}
	for _, bad := range []string{
		"x", `{"path":"a","properties":[]}`, `{"path":"a/","properties":[{"space":"urn:x","local":"x","value":"<y xmlns=\"urn:x\"/>"}]}`,
		`{"path":"a/","properties":[{"space":"urn:x","local":"x","value":"<x xmlns=\"urn:x\"/><more/>"}]}`,
		`{"path":"a/","properties":[{"space":"urn:x","local":"x","value":"<x xmlns=\"urn:x\">"}]}`,
		`{"path":"a/","properties":[{"space":"urn:x","local":"x","value":"<x xmlns=\"urn:x\">` + strings.Repeat("x", maxOfOne) + `</x>"}]}`,
	} {
		if err := New().Read(strings.NewReader(bad)); err == nil {
			t.Errorf("%.100s is read", bad)
		}
	}
}

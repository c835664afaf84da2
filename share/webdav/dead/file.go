package dead

import (
	"bytes"
	"cmp"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
)

// MaxText is how much [Properties.Read] reads, in bytes: more was not written by [Properties.Text].
const MaxText = 4 * maxOfAll

// saved is a property as it is written.
type saved struct {
	Space string `json:"space"`
	Local string `json:"local"`
	Value string `json:"value"` // XML
}

// savedOf is a resource with its properties.
type savedOf struct {
	Path       string  `json:"path"` // ends in a slash
	Properties []saved `json:"properties"`
}

// Text writes all properties, a line for each resource, the one that was used last at the end. Change tells one state from another.
func (p *Properties) Text() (text []byte, change uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	paths := make([]string, 0, len(p.of))
	for k := range p.of {
		paths = append(paths, k)
	}
	slices.SortFunc(paths, func(a, b string) int { return cmp.Compare(p.of[a].used, p.of[b].used) })
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false) // or XML takes six times its room
	for _, k := range paths {
		of := savedOf{Path: k}
		for _, d := range p.of[k].list {
			of.Properties = append(of.Properties, saved{d.Name.Space, d.Name.Local, string(d.Value)})
		}
		_ = e.Encode(of) // strings can be encoded, and a buffer takes all
	}
	return out.Bytes(), p.change
}

// Changed reports whether there were changes since [Properties.Text] told of one.
func (p *Properties) Changed(since uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.change != since
}

// Read takes in what [Properties.Text] wrote. The limits hold as for clients; what no client could have set is an error.
func (p *Properties) Read(r io.Reader) error {
	lines := json.NewDecoder(r)
	for {
		var of savedOf
		if err := lines.Decode(&of); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		path, ok := strings.CutSuffix(of.Path, "/")
		var list []Property
		for _, s := range of.Properties {
			d := Property{Name: xml.Name{Space: s.Space, Local: s.Local}, Value: []byte(s.Value)}
			if !d.whole() {
				return fmt.Errorf("%q is no value of the property %s", s.Value, s.Local)
			}
			list = append(list, d)
		}
		if !ok {
			return fmt.Errorf("%q is no path", of.Path)
		}
		if err := p.Patch(strings.Split(path, "/"), list); err != nil {
			return err
		}
	}
}

// whole reports whether the value is one element, of the property's name, and nothing else: it is written into answers as it stands.
func (d Property) whole() bool {
	x := xml.NewDecoder(bytes.NewReader(d.Value))
	var element struct{ XMLName xml.Name }
	if x.Decode(&element) != nil || element.XMLName != d.Name {
		return false
	}
	_, err := x.Token()
	return err == io.EOF
}

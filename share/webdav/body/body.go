// Package body reads the XML and the paths that WebDAV's clients send (RFC 4918, sections 8.3 and 14), and writes what they are answered. What it reads is
// bounded: in bytes, in depth, in the number of properties; a document type is refused, so that no entity can expand.
package body

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// NS is the namespace of WebDAV's own names.
const NS = "DAV:"

// Limits of what is read.
const (
	MaxBytes = 64 << 10
	maxDepth = 32
	maxProps = 500
	maxValue = 16 << 10 // bytes of a property's value
	maxOwner = 2 << 10  // bytes of a lock's owner, who is told of with everything that is locked
)

// ErrTooLarge is the error of a body that passes a limit; others are no XML, or not what was expected.
var ErrTooLarge = errors.New("the XML is too large")

var errShape = errors.New("the XML is not what was expected")

// Find is what a PROPFIND asks for.
type Find struct {
	Names bool       // which properties there are, without values
	All   bool       // those that are told unasked, and Props
	Props []xml.Name // named ones
}

// Patch is one change of a PROPPATCH, in the order of the request.
type Patch struct {
	Name   xml.Name
	Remove bool
	Value  []byte // XML that is well-formed by itself
}

// LockInfo is what a LOCK asks for.
type LockInfo struct {
	Shared bool
	Owner  []byte // XML that is well-formed by itself, the content of the owner element; nil if there is none
}

// element is one element with its content.
type element struct {
	name   xml.Name
	attrs  []xml.Attr
	kids   []element
	tokens []xml.Token // text, and the kids at their places
}

// read reads a whole document; nil is an empty one.
func read(r io.Reader) (*element, error) {
	limited := &io.LimitedReader{R: r, N: MaxBytes + 1}
	d := xml.NewDecoder(limited)
	var root *element
	for {
		t, err := d.Token()
		switch {
		case limited.N == 0:
			return nil, ErrTooLarge
		case err == io.EOF:
			if root == nil && d.InputOffset() > 0 {
				return nil, errShape
			}
			return root, nil
		case err != nil:
			return nil, err
		}
		switch t := t.(type) {
		case xml.Directive:
			return nil, fmt.Errorf("%w: it has a document type", errShape)
		case xml.StartElement:
			if root != nil {
				return nil, errShape
			}
			e, err := readElement(d, limited, t, 1)
			if err != nil {
				return nil, err
			}
			root = &e
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return nil, errShape
			}
		}
	}
}

func readElement(d *xml.Decoder, limited *io.LimitedReader, start xml.StartElement, depth int) (element, error) {
	if depth > maxDepth {
		return element{}, ErrTooLarge
	}
	for _, a := range start.Attr {
		if a.Name.Space == "xmlns" && a.Value == "" {
			return element{}, fmt.Errorf("%w: a prefix stands for no namespace", errShape)
		}
	}
	e := element{name: start.Name, attrs: start.Copy().Attr}
	for {
		t, err := d.Token()
		if limited.N == 0 {
			return element{}, ErrTooLarge
		}
		if err != nil {
			return element{}, err
		}
		switch t := t.(type) {
		case xml.Directive:
			return element{}, errShape
		case xml.CharData:
			e.tokens = append(e.tokens, t.Copy())
		case xml.StartElement:
			kid, err := readElement(d, limited, t, depth+1)
			if err != nil {
				return element{}, err
			}
			e.kids = append(e.kids, kid)
			e.tokens = append(e.tokens, kid)
		case xml.EndElement:
			return e, nil
		}
	}
}

func (e element) is(local string) bool { return e.name == xml.Name{Space: NS, Local: local} }

// ReadFind reads the body of a PROPFIND. An empty one asks for all.
func ReadFind(r io.Reader) (Find, error) {
	root, err := read(r)
	if err != nil || root == nil {
		return Find{All: true}, err
	}
	if !root.is("propfind") {
		return Find{}, errShape
	}
	var f Find
	kinds := 0
	for _, kid := range root.kids {
		switch {
		case kid.is("propname"):
			f.Names = true
			kinds++
		case kid.is("allprop"):
			f.All = true
			kinds++
		case kid.is("prop"), kid.is("include"):
			if kid.is("prop") {
				kinds++
			}
			for _, p := range kid.kids {
				f.Props = append(f.Props, p.name)
			}
		}
	}
	if len(f.Props) > maxProps {
		return Find{}, ErrTooLarge
	}
	if kinds != 1 {
		return Find{}, errShape
	}
	return f, nil
}

// ReadPatch reads the body of a PROPPATCH.
func ReadPatch(r io.Reader) ([]Patch, error) {
	root, err := read(r)
	if err != nil {
		return nil, err
	}
	if root == nil || !root.is("propertyupdate") {
		return nil, errShape
	}
	var out []Patch
	for _, change := range root.kids {
		if !change.is("set") && !change.is("remove") {
			continue
		}
		for _, prop := range change.kids {
			if !prop.is("prop") {
				continue
			}
			for _, p := range prop.kids {
				patch := Patch{Name: p.name, Remove: change.is("remove")}
				if !patch.Remove {
					if patch.Value, err = p.whole(language(*root, change, prop)); err != nil {
						return nil, err
					}
				}
				out = append(out, patch)
			}
		}
	}
	if len(out) > maxProps {
		return nil, ErrTooLarge
	}
	if len(out) == 0 {
		return nil, errShape
	}
	return out, nil
}

// ReadLock reads the body of a LOCK. An empty one is nil: a lock is to be refreshed.
func ReadLock(r io.Reader) (*LockInfo, error) {
	root, err := read(r)
	if err != nil || root == nil {
		return nil, err
	}
	if !root.is("lockinfo") {
		return nil, errShape
	}
	var info LockInfo
	var scope, kind bool
	for _, kid := range root.kids {
		for _, k := range kid.kids {
			switch {
			case kid.is("lockscope") && (k.is("exclusive") || k.is("shared")) && !scope:
				scope, info.Shared = true, k.is("shared")
			case kid.is("locktype") && k.is("write"):
				kind = true
			}
		}
		if kid.is("owner") {
			if info.Owner, err = kid.content(); err != nil {
				return nil, err
			}
		}
	}
	if !scope || !kind {
		return nil, errShape
	}
	return &info, nil
}

// ReadNothing reads a body that must be empty.
func ReadNothing(r io.Reader) error {
	n, err := io.ReadFull(r, make([]byte, 1))
	switch {
	case n > 0:
		return errShape
	case err == io.EOF:
		return nil
	}
	return err
}

// language is the xml:lang that holds in the innermost of elements.
func language(outside ...element) (lang string) {
	for _, e := range outside {
		for _, a := range e.attrs {
			if isLang(a) {
				lang = a.Value
			}
		}
	}
	return lang
}

func isLang(a xml.Attr) bool {
	return a.Name.Local == "lang" && (a.Name.Space == "xml" || a.Name.Space == "http://www.w3.org/XML/1998/namespace")
}

// whole writes an element anew, so that it needs nothing of the document that it was in.
func (e element) whole(lang string) ([]byte, error) {
	var b bytes.Buffer
	e.write(&b, lang)
	return bounded(b.Bytes(), maxValue)
}

// content writes what an element holds.
func (e element) content() ([]byte, error) {
	var b bytes.Buffer
	e.writeContent(&b)
	return bounded(b.Bytes(), maxOwner)
}

func bounded(b []byte, limit int) ([]byte, error) {
	if len(b) > limit {
		return nil, ErrTooLarge
	}
	return b, nil
}

func (e element) write(b *bytes.Buffer, lang string) {
	b.WriteByte('<')
	writeStart(b, e.name)
	own, foreign := false, 0
	for i, a := range e.attrs {
		switch {
		case slices.ContainsFunc(e.attrs[:i], func(before xml.Attr) bool { return before.Name == a.Name }):
			continue // the parser lets one stand twice
		case a.Name.Space == "xmlns" || a.Name.Space == "" && a.Name.Local == "xmlns":
			continue // each name brings its namespace
		case isLang(a):
			own = true
			b.WriteString(" xml:lang")
		case a.Name.Space == "":
			b.WriteString(" " + a.Name.Local)
		default:
			prefix := fmt.Sprintf("a%d", foreign)
			foreign++
			b.WriteString(" xmlns:" + prefix + `="`)
			escape(b, a.Name.Space)
			b.WriteString(`" ` + prefix + ":" + a.Name.Local)
		}
		b.WriteString(`="`)
		escape(b, a.Value)
		b.WriteByte('"')
	}
	if lang != "" && !own {
		b.WriteString(` xml:lang="`)
		escape(b, lang)
		b.WriteByte('"')
	}
	if len(e.tokens) == 0 {
		b.WriteString("/>")
		return
	}
	b.WriteByte('>')
	e.writeContent(b)
	b.WriteString("</" + e.name.Local + ">")
}

func (e element) writeContent(b *bytes.Buffer) {
	for _, t := range e.tokens {
		switch t := t.(type) {
		case xml.CharData:
			escape(b, string(t))
		case element:
			t.write(b, "")
		}
	}
}

// writeStart writes a name that is no DAV: one with the namespace that it brings.
func writeStart(b *bytes.Buffer, n xml.Name) {
	b.WriteString(n.Local + ` xmlns="`)
	escape(b, n.Space)
	b.WriteByte('"')
}

// escape writes text; what XML can't hold becomes U+FFFD.
func escape(b *bytes.Buffer, s string) {
	if !strings.ContainsFunc(s, special) {
		b.WriteString(s)
		return
	}
	_ = xml.EscapeText(b, []byte(s)) // a Buffer takes all
}

func special(r rune) bool {
	return r < ' ' || r > '~' || r == '<' || r == '>' || r == '&' || r == '"' || r == '\''
}

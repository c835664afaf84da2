// Package dead keeps the properties that clients of WebDAV set and that mean nothing here (RFC 4918, section 4). They are given back as
// they came: file managers keep attributes and labels in them, and what else they can do without.
package dead

import (
	"encoding/xml"
	"errors"
	"slices"
	"strings"
	"sync"
)

// Limits, in bytes.
const (
	maxOfOne = 64 << 10 // of one resource
	maxOfAll = 4 << 20  // beyond it those go that were not asked about for longest
)

// ErrTooLarge is the error of properties that take too much room.
var ErrTooLarge = errors.New("these properties are too large")

// Properties are those of a tree, by paths. They are safe for concurrent use.
type Properties struct {
	mu     sync.Mutex
	of     map[string]*resource // by the joined path, which ends in a slash
	bytes  int
	clock  uint64 // goes on with each use
	atMost int
	change uint64 // counts changes
}

// Property is one, or in [Properties.Patch] a change of one.
type Property struct {
	Name   xml.Name
	Remove bool
	Value  []byte // XML, the whole element
}

// resource is what there is of one.
type resource struct {
	list  []Property
	bytes int
	used  uint64
}

// New makes empty ones.
func New() *Properties { return &Properties{of: map[string]*resource{}, atMost: maxOfAll} }

func key(path []string) string { return strings.Join(path, "/") + "/" }

// Tree is a part of a tree, with paths below its root.
type Tree struct {
	*Properties
	root []string
}

// At gives what is below a root.
func (p *Properties) At(root ...string) Tree { return Tree{p, root} }

// Get is [Properties.Get].
func (t Tree) Get(path []string) []Property {
	if t.empty() {
		return nil // most of the time, and each entry of a folder is asked about
	}
	return t.Properties.Get(t.full(path))
}

// Patch is [Properties.Patch].
func (t Tree) Patch(path []string, patches []Property) error {
	return t.Properties.Patch(t.full(path), patches)
}

// Drop is [Properties.Drop].
func (t Tree) Drop(path []string) { t.Properties.Drop(t.full(path)) }

// Copy is [Properties.Copy].
func (t Tree) Copy(from, to []string, deep bool) { t.Properties.Copy(t.full(from), t.full(to), deep) }

// Move is [Properties.Move].
func (t Tree) Move(from, to []string) { t.Properties.Move(t.full(from), t.full(to)) }

func (t Tree) full(path []string) []string { return slices.Concat(t.root, path) }

func (p *Properties) empty() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.of) == 0
}

// Get gives the properties of a resource, not to be changed.
func (p *Properties) Get(path []string) []Property {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.of[key(path)]
	if d == nil {
		return nil
	}
	p.clock++
	d.used = p.clock
	return d.list
}

// Patch sets and removes properties, all or none.
func (p *Properties) Patch(path []string, patches []Property) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []Property
	if d := p.of[key(path)]; d != nil {
		list = slices.Clone(d.list)
	}
	for _, change := range patches {
		list = slices.DeleteFunc(list, func(old Property) bool { return old.Name == change.Name })
		if !change.Remove {
			list = append(list, change)
		}
	}
	if sizeOf(list) > maxOfOne {
		return ErrTooLarge
	}
	p.setLocked(key(path), list)
	return nil
}

func sizeOf(list []Property) (n int) {
	for _, d := range list {
		n += len(d.Value) + len(d.Name.Space) + len(d.Name.Local) + 64
	}
	return n
}

// Drop forgets the properties at and below a path.
func (p *Properties) Drop(path []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k := range p.of {
		if strings.HasPrefix(k, key(path)) {
			p.setLocked(k, nil)
		}
	}
}

// Copy gives what is at and, if deep, below a path the same properties elsewhere.
func (p *Properties) Copy(from, to []string, deep bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	copies := map[string][]Property{}
	for k, d := range p.of {
		if rest, ok := strings.CutPrefix(k, key(from)); ok && (deep || rest == "") {
			copies[key(to)+rest] = d.list
		}
	}
	for k, list := range copies {
		p.setLocked(k, list)
	}
}

// Move is Copy, and Drop of what was copied.
func (p *Properties) Move(from, to []string) {
	p.Copy(from, to, true)
	p.Drop(from)
}

func (p *Properties) setLocked(k string, list []Property) {
	p.change++
	if old := p.of[k]; old != nil {
		p.bytes -= old.bytes
		delete(p.of, k)
	}
	if len(list) == 0 {
		return
	}
	p.clock++
	d := &resource{list: list, bytes: sizeOf(list) + len(k) + 64, used: p.clock}
	p.of[k] = d
	p.bytes += d.bytes
	for p.bytes > p.atMost {
		oldest := k
		for other, d := range p.of {
			if d.used < p.of[oldest].used {
				oldest = other
			}
		}
		p.bytes -= p.of[oldest].bytes
		delete(p.of, oldest)
		if oldest == k {
			return
		}
	}
}

// Find gives the property of a name.
func Find(list []Property, name xml.Name) (Property, bool) {
	i := slices.IndexFunc(list, func(d Property) bool { return d.Name == name })
	if i < 0 {
		return Property{}, false
	}
	return list[i], true
}

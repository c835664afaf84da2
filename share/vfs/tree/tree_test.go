package tree

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestAgainstPaths does random things to a tree and to a map from paths to numbers, and compares.
func TestAgainstPaths(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 2))
		tr := New()
		model := map[string]Ino{}
		dirs := map[Ino]bool{Root: true}
		at := func(p string) *Node {
			if p == "" {
				return tr.Get(Root)
			}
			return tr.Get(Root).Find(strings.Split(p, "/"))
		}
		drop := func(p string) {
			maps.DeleteFunc(model, func(q string, _ Ino) bool { return q == p || strings.HasPrefix(q, p+"/") })
		}
		pick := func() string {
			all := append(slices.Sorted(maps.Keys(model)), "")
			return all[r.IntN(len(all))]
		}
		join := func(dir string) string {
			return strings.TrimPrefix(fmt.Sprint(dir, "/", string("abcABC"[r.IntN(6)])), "/")
		}
		for range 150 {
			dir, p := pick(), pick()
			n, d := at(p), at(dir)
			if d.Dir && r.IntN(2) == 0 { // some are looked at while they change, others later
				a := string("abcABC"[r.IntN(6)])
				var want []*Node
				for _, c := range d.Folder().Children() {
					if c.Name() != a && strings.EqualFold(c.Name(), a) {
						want = append(want, c)
					}
				}
				if got := d.Folder().Alike(a); !slices.Equal(got, want) {
					t.Fatalf("seed %d: like %s are %v in %q, want %v", seed, a, got, dir, want)
				}
			}
			name := join(dir)
			switch base := name[strings.LastIndex(name, "/")+1:]; r.IntN(4) {
			case 0, 1:
				if d.Dir {
					drop(name)
					c, _ := tr.Add(d, base, r.IntN(2) == 0)
					model[name], dirs[c.Ino] = c.Ino, c.Dir
				}
			case 2:
				if p != "" && r.IntN(3) == 0 {
					n.Held = uint32(r.IntN(2))
					tr.Drop(n)
					drop(p)
					if (tr.Get(n.Ino) != nil) != (n.Held > 0) {
						t.Fatalf("seed %d: held %d, and known %v", seed, n.Held, tr.Get(n.Ino) != nil)
					}
					n.Held = 0
					tr.Forget(n)
				}
			case 3:
				if p == "" || !d.Dir {
					break
				}
				below := dir == p || strings.HasPrefix(dir, p+"/")
				if _, ok := tr.Move(n, d, base); ok == below {
					t.Fatalf("seed %d: %s below %s: %v", seed, p, dir, ok)
				}
				if below || name == p {
					break
				}
				moved := map[string]Ino{}
				for q, ino := range model {
					if q == p || strings.HasPrefix(q, p+"/") {
						moved[name+strings.TrimPrefix(q, p)] = ino
					}
				}
				drop(p)
				drop(name)
				maps.Copy(model, moved)
			}
			got := map[string]Ino{}
			var collect func(n *Node, prefix string)
			collect = func(n *Node, prefix string) {
				last := ""
				for _, c := range n.Folder().Children() {
					if c.Name() <= last || c.Parent() != n || tr.Get(c.Ino) != c || c.Dir != dirs[c.Ino] {
						t.Fatalf("seed %d: %s in %s is out of place", seed, c.Name(), prefix)
					}
					if names, ok := c.Path(); !ok || strings.Join(names, "/") != prefix+c.Name() {
						t.Fatalf("seed %d: the path of %s%s is %q", seed, prefix, c.Name(), names)
					}
					last = c.Name()
					got[prefix+c.Name()] = c.Ino
					if c.Dir {
						collect(c, prefix+c.Name()+"/")
					}
				}
			}
			collect(tr.Get(Root), "")
			if !maps.Equal(got, model) || tr.Len() != len(model)+1 {
				t.Fatalf("seed %d: %v (%d nodes), want %v", seed, got, tr.Len(), model)
			}
		}
	}
}

func TestPrune(t *testing.T) {
	tr := New()
	a, _ := tr.Add(tr.Get(Root), "a", true)
	b, _ := tr.Add(a, "b", true)
	c, _ := tr.Add(b, "held", false)
	c.Held = 1
	d, _ := tr.Add(b, "not", false)
	e, _ := tr.Add(a, "kept", false)
	tr.Add(tr.Get(Root), "all", true)
	a.Folder().Full, b.Folder().Full = true, true
	tr.Prune(tr.Get(Root), func(n *Node) bool { return n == e })
	if tr.Get(d.Ino) != nil || tr.Get(c.Ino) == nil || tr.Get(e.Ino) == nil || tr.Len() != 5 || b.Folder().Full || !a.Folder().Full {
		t.Errorf("%d nodes are left", tr.Len())
	}
}

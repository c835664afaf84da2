package vfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs/vfstest"
)

// model is what a share should hold: folders are nil.
type model map[string][]byte

func (m model) paths() (paths []string) {
	for _, p := range slices.Sorted(maps.Keys(m)) {
		if m[p] == nil {
			p += "/"
		}
		paths = append(paths, p)
	}
	slices.Sort(paths)
	return paths
}

func (m model) folder(p string) bool {
	b, ok := m[p]
	return p == "." || p == "" || ok && b == nil
}

func (m model) empty(dir string) bool {
	for p := range m {
		if strings.HasPrefix(p, dir+"/") {
			return false
		}
	}
	return true
}

// TestRandomOperations does the same to a share through the tree and to a model of it, while the owner is slow and comes and goes, and
// compares what both hold: here after each step, and at the owner when all is delivered.
func TestRandomOperations(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { randomOperations(t, rand.New(rand.NewPCG(seed, 7))) })
		})
	}
}

func randomOperations(t *testing.T, r *rand.Rand) {
	w := vfstest.NewWorld()
	p := w.Add("anna")
	s := p.Share("docs", share.Full)
	f := vfstest.Running(t, w)
	x := vfstest.Tree{FS: f, Root: []string{"anna", "docs"}, Ctx: t.Context()}
	m := model{}
	names := []string{"a", "b", "c", "d.tmp"}
	pick := func() string {
		dir := ""
		for d := range m {
			if m[d] == nil && r.IntN(3) == 0 && strings.Count(d, "/") < 2 {
				dir = d + "/"
			}
		}
		return dir + names[r.IntN(len(names))]
	}
	var open vfstest.Handle
	openName, log := "", []string(nil)
	for step := range 400 {
		switch r.IntN(30) {
		case 0:
			p.Slow(time.Duration(r.IntN(3)) * time.Millisecond)
		case 1:
			if r.IntN(4) == 0 {
				s.Miss()
			}
		case 2:
			time.Sleep(time.Duration(r.IntN(4)) * time.Second)
		}
		a, b := pick(), pick()
		var did string
		var err error
		want := true
		parentOK := m.folder(path.Dir(a))
		data, there := m[a]
		switch r.IntN(12) {
		case 0, 1, 2, 3:
			next := bytes.Repeat([]byte{byte('a' + step%26)}, 1+r.IntN(3000))
			did = fmt.Sprintf("write %s %d", a, len(next))
			want = parentOK && !(there && data == nil)
			if err = x.WriteFile(a, next); want {
				m[a] = next
			}
		case 4:
			did = "mkdir " + a
			want = parentOK && !there
			if err = x.Mkdir(a); want {
				m[a] = nil
			}
		case 5:
			did = "remove " + a
			want = there && (data != nil || m.empty(a))
			if err = x.Remove(a); want {
				delete(m, a)
			}
		case 6, 7, 8:
			did = "rename " + a + " " + b
			want = m.rename(a, b)
			err = x.Rename(a, b)
		case 9:
			did = "append " + a
			want = there && data != nil
			err = appendTo(x, a)
			if want {
				m[a] = append(slices.Clone(data), "more"...)
			}
		case 10:
			did = "truncate " + a
			n := r.IntN(2000)
			want = there && data != nil
			if err = x.Truncate(a, int64(n)); want {
				m[a] = append(slices.Clone(data), make([]byte, max(0, n-len(data)))...)[:n]
			}
		case 11:
			if open != nil {
				did = "close " + openName
				err, open = open.Close(), nil
			} else if there && data != nil {
				did, openName = "open "+a, a
				open, err = x.Open(a, os.O_RDWR)
			}
		}
		log = append(log, fmt.Sprint(did, " → ", err))
		if (err == nil) != want {
			t.Fatalf("step %d: %v; want success: %v\n%s", step, err, want, strings.Join(log[max(0, len(log)-25):], "\n"))
		}
		if r.IntN(10) == 0 {
			compareHere(t, x, m, log)
		}
	}
	compareHere(t, x, m, log)
	if open != nil {
		_ = open.Close()
	}
	p.Slow(0)
	if err := f.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := s.Paths(); !slices.Equal(got, m.paths()) {
		t.Fatalf("the owner has %q\nwant %q\n%s", got, m.paths(), strings.Join(log[max(0, len(log)-40):], "\n"))
	}
	for name, want := range m {
		if got, _ := s.Read(name); want != nil && !bytes.Equal(got, want) {
			t.Errorf("%s has %d bytes at its owner, want %d", name, len(got), len(want))
		}
	}
	compareHere(t, x, m, log)
	if n := f.Conflicts(); n > 0 {
		t.Errorf("%d conflicts, and nobody else was there", n)
	}
}

// rename does it as package os does, and reports whether it can be done.
func (m model) rename(a, b string) bool {
	data, there := m[a]
	over, target := m[b]
	switch {
	case !there || !m.folder(path.Dir(b)):
		return false
	case a == b:
		return true
	case strings.HasPrefix(b, a+"/"):
		return false
	case target && (over == nil) != (data == nil):
		return false
	case target && over == nil && !m.empty(b):
		return false
	}
	moved := model{}
	for p, d := range m {
		if p == a || strings.HasPrefix(p, a+"/") {
			moved[b+strings.TrimPrefix(p, a)] = d
			delete(m, p)
		}
	}
	maps.Copy(m, moved)
	return true
}

func appendTo(x vfstest.Tree, name string) error {
	h, err := x.Open(name, os.O_WRONLY|os.O_APPEND)
	if err != nil {
		return err
	}
	_, err = h.Write([]byte("more"))
	return errors.Join(err, h.Close())
}

func compareHere(t *testing.T, x vfstest.Tree, m model, log []string) {
	t.Helper()
	got := model{}
	var collect func(dir string)
	collect = func(dir string) {
		is, err := x.List(strings.TrimSuffix(dir, "/"))
		if err != nil {
			t.Fatalf("list %q: %v\n%s", dir, err, strings.Join(log[max(0, len(log)-25):], "\n"))
		}
		for _, i := range is {
			got[dir+i.Name] = nil
			if i.Dir {
				collect(dir + i.Name + "/")
				continue
			}
			b, err := x.ReadFile(dir + i.Name)
			if err != nil || int64(len(b)) != i.Size {
				t.Fatalf("%s: %d bytes of %d, %v\n%s", dir+i.Name, len(b), i.Size, err, strings.Join(log[max(0, len(log)-25):], "\n"))
			}
			got[dir+i.Name] = append([]byte{}, b...)
		}
	}
	collect("")
	if !slices.Equal(got.paths(), m.paths()) {
		t.Fatalf("the tree shows %q\nwant %q\n%s", got.paths(), m.paths(), strings.Join(log[max(0, len(log)-25):], "\n"))
	}
	for name, want := range m {
		if !bytes.Equal(got[name], want) {
			t.Fatalf("%s has %d bytes, want %d\n%s", name, len(got[name]), len(want), strings.Join(log[max(0, len(log)-25):], "\n"))
		}
	}
}

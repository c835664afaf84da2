package registry

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	core "github.com/libp2p/go-libp2p/core/peer"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantKind(t *testing.T, what string, err error, kind peer.Kind) {
	t.Helper()
	if err == nil || peer.KindOf(err) != kind {
		t.Errorf("%s: error %v of kind %v, want kind %v", what, err, peer.KindOf(err), kind)
	}
}

// folder is a new one by its path without links.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	return dir
}

func reopen(t testing.TB, dir string) *Registry {
	t.Helper()
	r, err := Open(dir, Options{Home: "/nobody's home", Secret: []byte("of this node")})
	must(t, err)
	return r
}

// state is a folder for a registry.
func state(t testing.TB) string { return filepath.Join(folder(t), "state") }

func add(t testing.TB, r *Registry, s Share) Share {
	t.Helper()
	if s.Dir == "" {
		s.Dir = folder(t)
	}
	s, err := r.Add(s, Secrets{}, start)
	must(t, err)
	return s
}

func secret(text string) Secret {
	return Secret{Keys: []byte("keys of " + text), Record: []byte("record of " + text)}
}

func somebody(t testing.TB) peer.ID {
	t.Helper()
	_, pub, err := crypto.GenerateEd25519Key(rand.Reader)
	must(t, err)
	id, err := core.IDFromPublicKey(pub)
	must(t, err)
	return id
}

func TestAdd(t *testing.T) {
	dir, docs := state(t), folder(t)
	link := filepath.Join(folder(t), "link")
	must(t, os.Symlink(docs, link))
	r := reopen(t, dir)
	anna := somebody(t)
	peers := map[peer.ID]share.Right{anna: share.Full}
	id := NewID()
	got, err := r.Add(Share{
		ID: id, Name: "Docs", Dir: link, Comment: "what we wrote", Hidden: true, Slots: Slots{Read: ModeOpen, Full: ModePassword}, Peers: peers,
	}, Secrets{Full: secret("full")}, start)
	must(t, err)
	want := Share{
		ID: id, Name: "Docs", Dir: docs, Comment: "what we wrote", Hidden: true, Slots: Slots{Read: ModeOpen, Full: ModePassword},
		Peers: map[peer.ID]share.Right{anna: share.Full}, Created: start,
	}
	want.Epochs.Read, want.Epochs.Full = uint64(start.Unix()), uint64(start.Unix())
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Add gives %+v, want %+v", got, want)
	}
	plain := add(t, r, Share{Name: "apples"})
	if plain.ID == (share.ID{}) || plain.Slots != (Slots{}) || plain.Info().Open != share.None {
		t.Errorf("a share of which nothing is said is %+v", plain)
	}
	add(t, r, Share{Name: "today", Ephemeral: true, Slots: Slots{Read: ModeOpen}})
	peers[anna], got.Peers[anna] = share.Read, share.Read // nobody's business any more

	for _, r := range []*Registry{r, reopen(t, dir)} {
		list := r.List()
		if len(list) < 2 || !reflect.DeepEqual(list[0], plain) || !reflect.DeepEqual(list[1], want) {
			t.Fatalf("List gives %+v", list)
		}
		for _, name := range []string{"Docs", "docs", "DOCS"} {
			if s, err := r.Get(name); err != nil || s.ID != id {
				t.Errorf("Get(%q) gives %+v, %v", name, s, err)
			}
		}
		if s, err := r.ByID(id); err != nil || !reflect.DeepEqual(s, want) {
			t.Errorf("ByID gives %+v, %v", s, err)
		}
		if sec, err := r.Secret(id, share.Full); err != nil || !reflect.DeepEqual(sec, secret("full")) {
			t.Errorf("Secret gives %q, %v", sec, err)
		}
		_, err := r.Secret(id, share.Read)
		wantKind(t, "a secret that was not set", err, peer.NotFound)
		_, err = r.Get("nothing")
		wantKind(t, "Get of nothing", err, peer.NotFound)
		_, err = r.ByID(NewID())
		wantKind(t, "ByID of nothing", err, peer.NotFound)
	}
	if _, err := r.Get("today"); err != nil {
		t.Error(err)
	}
	if _, err := reopen(t, dir).Get("today"); err == nil {
		t.Error("a share of this run was saved")
	}
}

func TestAddRefuses(t *testing.T) {
	r := reopen(t, state(t))
	taken, anna := add(t, r, Share{Name: "Straße"}), somebody(t)
	for _, c := range []struct {
		what  string
		share Share
		kind  peer.Kind
	}{
		{"same name", Share{Name: "Straße"}, peer.Conflict},
		{"same name in other case", Share{Name: "STRASSE"}, peer.Conflict},
		{"same name, of this run", Share{Name: "strasse", Ephemeral: true}, peer.Conflict},
		{"same ID", Share{ID: taken.ID, Name: "x"}, peer.Conflict},
		{"no name", Share{}, peer.Usage},
		{"bad name", Share{Name: "a/b"}, peer.Usage},
		{"comment with a line break", Share{Name: "x", Comment: "a\nb"}, peer.Usage},
		{"long comment", Share{Name: "x", Comment: strings.Repeat("c", MaxComment+1)}, peer.Usage},
		{"password and none", Share{Name: "x", Slots: Slots{Read: ModePassword}}, peer.Usage},
		{"no such mode", Share{Name: "x", Slots: Slots{Full: 7}}, peer.Usage},
		{"a peer without a right", Share{Name: "x", Peers: map[peer.ID]share.Right{somebody(t): share.None}}, peer.Usage},
		{"a peer that is allowed and denied", Share{Name: "x", Peers: map[peer.ID]share.Right{anna: share.Read}, Denied: map[peer.ID]time.Time{anna: start}}, peer.Usage},
		{"a denied peer that is none", Share{Name: "x", Denied: map[peer.ID]time.Time{"nobody": start}}, peer.Usage},
		{"a peer that is none", Share{Name: "x", Peers: map[peer.ID]share.Right{"nobody": share.Read}}, peer.Usage},
	} {
		c.share.Dir = folder(t)
		_, err := r.Add(c.share, Secrets{}, start)
		wantKind(t, c.what, err, c.kind)
	}
	if list := r.List(); len(list) != 1 {
		t.Errorf("there are %+v", list)
	}
}

// TestEpochs says which changes revoke what.
func TestEpochs(t *testing.T) {
	anna, ben := somebody(t), somebody(t)
	slots := func(read, full Mode) func(*Share) { return func(s *Share) { s.Slots = Slots{read, full} } }
	for _, c := range []struct {
		name       string
		edit       func(*Share)
		read, full bool
	}{
		{"nothing", func(*Share) {}, false, false},
		{"name, comment", func(s *Share) { s.Name, s.Comment, s.Hidden = "new", "new", true }, false, false},
		{"what Set does not touch", func(s *Share) { s.ID, s.Created, s.Epochs.Read, s.Ephemeral = NewID(), start.Add(1), 1, true }, false, false},
		{"read closed", slots(ModeNone, ModePassword), true, false},
		{"read gets a password", slots(ModePassword, ModePassword), true, false},
		{"full opened", slots(ModeOpen, ModeOpen), false, false},
		{"full closed", slots(ModeOpen, ModeNone), false, true},
		{"both closed", slots(ModeNone, ModeNone), true, true},
		{"a peer more", func(s *Share) { s.Peers[somebody(t)] = share.Full }, false, false},
		{"a reader may write", func(s *Share) { s.Peers[ben] = share.Full }, false, false},
		{"a writer may only read", func(s *Share) { s.Peers[anna] = share.Read }, false, false},
		{"a reader is out", func(s *Share) { delete(s.Peers, ben) }, false, false},
		{"a writer is denied", func(s *Share) {
			delete(s.Peers, anna)
			s.Denied = map[peer.ID]time.Time{anna: start}
		}, false, false},
		{"a writer is suspended", func(s *Share) { s.Suspended = map[peer.ID]time.Time{anna: start} }, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := state(t)
			r := reopen(t, dir)
			before, err := r.Add(Share{
				Name: "s", Dir: folder(t), Slots: Slots{ModeOpen, ModePassword}, Peers: map[peer.ID]share.Right{anna: share.Full, ben: share.Read},
			}, Secrets{secret("read"), secret("full")}, start)
			must(t, err)
			for i, now := range []time.Time{start.Add(time.Hour), start.Add(-time.Hour)} { // and with a clock that went back
				after, err := r.Set(before.ID, c.edit, now)
				must(t, err)
				if i > 0 {
					break
				}
				if read := after.Epochs.Read > before.Epochs.Read; read != c.read {
					t.Errorf("the read epoch goes from %d to %d", before.Epochs.Read, after.Epochs.Read)
				}
				if full := after.Epochs.Full > before.Epochs.Full; full != c.full {
					t.Errorf("the full epoch goes from %d to %d", before.Epochs.Full, after.Epochs.Full)
				}
				if after.ID != before.ID || after.Created != before.Created || after.Ephemeral {
					t.Errorf("%+v became %+v", before, after)
				}
				if saved, err := reopen(t, dir).ByID(before.ID); err != nil || !reflect.DeepEqual(saved, after) {
					t.Errorf("saved is %+v, want %+v", saved, after)
				}
			}
		})
	}
}

func TestSetRefuses(t *testing.T) {
	r := reopen(t, state(t))
	s := add(t, r, Share{Name: "s"})
	add(t, r, Share{Name: "other"})
	for what, c := range map[string]struct {
		edit func(*Share)
		kind peer.Kind
	}{
		"another's name":             {func(s *Share) { s.Name = "OTHER" }, peer.Conflict},
		"bad name":                   {func(s *Share) { s.Name = "" }, peer.Usage},
		"password where none is set": {func(s *Share) { s.Slots.Read = ModePassword }, peer.Usage},
		"a folder not there":         {func(s *Share) { s.Dir += "/nothing" }, peer.NotFound},
		"the whole computer":         {func(s *Share) { s.Dir = "/" }, peer.Usage},
	} {
		_, err := r.Set(s.ID, c.edit, start)
		wantKind(t, what, err, c.kind)
	}
	if now, err := r.ByID(s.ID); err != nil || !reflect.DeepEqual(now, s) {
		t.Errorf("it is %+v, %v", now, err)
	}
	_, err := r.Set(NewID(), func(*Share) {}, start)
	wantKind(t, "Set of nothing", err, peer.NotFound)
	wantKind(t, "Remove of nothing", r.Remove(NewID()), peer.NotFound)

	elsewhere := folder(t)
	if s, err := r.Set(s.ID, func(s *Share) { s.Name, s.Dir = "S", elsewhere }, start); err != nil || s.Dir != elsewhere || s.Name != "S" {
		t.Errorf("Set gives %+v, %v", s, err)
	}
}

func TestSetSecret(t *testing.T) {
	dir := state(t)
	r := reopen(t, dir)
	for _, ephemeral := range []bool{false, true} {
		s := add(t, r, Share{Name: share.Name(fmt.Sprint("s", ephemeral)), Ephemeral: ephemeral})
		for i, slot := range slots {
			for n, now := range []time.Time{start.Add(time.Minute), start.Add(-time.Hour)} {
				want := secret(fmt.Sprint(slot, n))
				after, err := r.SetSecret(s.ID, slot, want, ModePassword, now)
				must(t, err)
				if after.Slots.Of(slot) != ModePassword || after.Epochs.Of(slot) <= s.Epochs.Of(slot) ||
					after.Epochs.Of(slots[1-i]) != s.Epochs.Of(slots[1-i]) {
					t.Errorf("%s: %+v became %+v", slot, s, after)
				}
				for _, r := range []*Registry{r, reopen(t, dir)} {
					if got, err := r.Secret(s.ID, slot); !ephemeral && (err != nil || !reflect.DeepEqual(got, want)) {
						t.Errorf("the secret is %q, %v", got, err)
					}
				}
				if got, err := r.Secret(s.ID, slot); err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("the secret is %q, %v", got, err)
				}
				s = after
			}
		}
		if files := names(t, filepath.Join(dir, keysName)); len(files) != 2 {
			t.Errorf("keys are in %q: the old ones stay, or those of a share of this run were saved", files)
		}
	}
	s, _ := r.Get("sfalse")
	for what, err := range map[string]error{
		"no slot":   second(r.SetSecret(s.ID, share.None, secret("x"), ModePassword, start)),
		"no keys":   second(r.SetSecret(s.ID, share.Read, Secret{Record: []byte("r")}, ModePassword, start)),
		"no record": second(r.SetSecret(s.ID, share.Read, Secret{Keys: []byte("k")}, ModePassword, start)),
		"no mode":   second(r.SetSecret(s.ID, share.Read, secret("x"), 9, start)),
	} {
		wantKind(t, what, err, peer.Usage)
	}
	wantKind(t, "nothing", second(r.SetSecret(NewID(), share.Read, secret("x"), ModePassword, start)), peer.NotFound)

	must(t, r.Remove(s.ID))
	if files := names(t, filepath.Join(dir, keysName)); len(files) != 0 {
		t.Errorf("keys of a share that is gone: %q", files)
	}
	if list := reopen(t, dir).List(); len(list) != 0 {
		t.Errorf("there are %+v", list)
	}
}

func second[T any](_ T, err error) error { return err }

func names(t testing.TB, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestRevision(t *testing.T) {
	dir := state(t)
	r := reopen(t, dir)
	seen := map[uint64]string{r.Revision(): "nothing"}
	s, anna := add(t, r, Share{Name: "s"}), somebody(t)
	var hidden Share
	set := func(id share.ID, edit func(*Share)) { must(t, second(r.Set(id, edit, start))) }
	for _, c := range []struct {
		what    string
		visible bool
		do      func()
	}{
		{"a share", true, func() {}},
		{"a hidden share", false, func() { hidden = add(t, r, Share{Name: "h", Hidden: true}) }},
		{"one that hides itself", false, func() { add(t, r, Share{Name: "backup$"}) }},
		{"a hidden share changed", false, func() { set(hidden.ID, func(s *Share) { s.Comment = "x" }) }},
		{"a folder", false, func() { set(s.ID, func(s *Share) { s.Dir = folder(t) }) }},
		{"a peer", true, func() { must(t, second(r.Allow(s.ID, anna, share.Read, start))) }},
		{"a peer may more", true, func() { must(t, second(r.Allow(s.ID, anna, share.Full, start))) }},
		{"a peer is suspended", false, func() { must(t, r.Suspend(s.ID, anna, start)) }},
		{"a peer is denied", true, func() { must(t, second(r.Deny(s.ID, anna, start))) }},
		{"a peer of a hidden share", false, func() { must(t, second(r.Allow(hidden.ID, anna, share.Read, start))) }},
		{"a password", false, func() { must(t, second(r.SetSecret(s.ID, share.Full, secret("x"), ModePassword, start))) }},
		{"a comment", true, func() { set(s.ID, func(s *Share) { s.Comment = "c" }) }},
		{"a name", true, func() { set(s.ID, func(s *Share) { s.Name = "t" }) }},
		{"open", true, func() { set(s.ID, func(s *Share) { s.Slots.Read = ModeOpen }) }},
		{"unhidden", true, func() { set(hidden.ID, func(s *Share) { s.Hidden = false }) }},
		{"gone", true, func() { must(t, r.Remove(s.ID)) }},
	} {
		before := r.Revision()
		if c.what == "a share" {
			before = 0
		}
		c.do()
		rev := r.Revision()
		if (rev != before) != c.visible || c.visible && seen[rev] != "" {
			t.Errorf("%s: the revision was %x and is %x, that of %q", c.what, before, rev, seen[rev])
		}
		seen[rev] = c.what
		if again := reopen(t, dir).Revision(); again != rev {
			t.Errorf("%s: after a restart the revision is %x, before it was %x", c.what, again, rev)
		}
		for _, secret := range [][]byte{nil, []byte("of another")} { // nobody else finds out by it who is denied
			other, err := Open(dir, Options{Home: "/nobody's home", Secret: secret})
			must(t, err)
			if other.Revision() == rev {
				t.Errorf("%s: with the secret %q the revision is the same", c.what, secret)
			}
		}
	}
}

func TestOnChange(t *testing.T) {
	r := reopen(t, state(t))
	var got []string
	stop := r.OnChange(func(before, after *Share) {
		name := func(s *Share) string {
			if s == nil {
				return "-"
			}
			return string(s.Name)
		}
		got = append(got, name(before)+">"+name(after))
		if after != nil {
			if s, err := r.ByID(after.ID); err != nil || s.Name != after.Name { // it may read
				t.Errorf("while told of %+v: %+v, %v", after, s, err)
			}
		}
	})
	s := add(t, r, Share{Name: "a"})
	must(t, second(r.Set(s.ID, func(s *Share) { s.Name = "b" }, start)))
	must(t, second(r.SetSecret(s.ID, share.Read, secret("x"), ModePassword, start)))
	if _, err := r.Set(s.ID, func(s *Share) { s.Name = "" }, start); err == nil {
		t.Error("a share without a name")
	}
	must(t, r.Remove(s.ID))
	stop()
	add(t, r, Share{Name: "c"})
	if want := []string{"->a", "a>b", "b>b", "b>-"}; !slices.Equal(got, want) {
		t.Errorf("told of %q, want %q", got, want)
	}
}

func TestConcurrent(t *testing.T) {
	dir := state(t)
	r := reopen(t, dir)
	var last time.Time // of the listener, which runs one at a time
	r.OnChange(func(_, after *Share) { last = last.Add(1) })
	shared := add(t, r, Share{Name: "all"})
	place := folder(t)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 5 {
				s, err := r.Add(Share{Name: share.Name(fmt.Sprintf("s%d-%d", i, n)), Dir: place}, Secrets{}, start)
				must(t, err)
				must(t, second(r.SetSecret(s.ID, share.Read, secret("x"), ModePassword, start)))
				must(t, second(r.Set(shared.ID, func(s *Share) { s.Comment += "x" }, start)))
				if n%2 == 0 {
					must(t, r.Remove(s.ID))
				}
			}
		})
		wg.Go(func() {
			for range 200 {
				for _, s := range r.List() {
					_, _ = r.Secret(s.ID, share.Read) // which may be gone by now
				}
				r.Revision()
				_, _ = r.Get("ALL")
			}
		})
	}
	wg.Wait()
	for _, r := range []*Registry{r, reopen(t, dir)} {
		if s, err := r.Get("all"); err != nil || len(s.Comment) != 20 || len(r.List()) != 1+4*2 {
			t.Errorf("%d shares, %+v, %v", len(r.List()), s, err)
		}
	}
	if n := last.Sub(time.Time{}); n != 1+4*(5*3+3) {
		t.Errorf("told of %d changes", n)
	}
}

func TestModes(t *testing.T) {
	for _, m := range []Mode{ModeNone, ModeOpen, ModePassword} {
		if got, err := ParseMode(m.String()); err != nil || got != m {
			t.Errorf("%v is read as %v, %v", m, got, err)
		}
	}
	_, err := ParseMode("ajar")
	wantKind(t, "no mode", err, peer.Usage)
	for _, c := range []struct {
		slots Slots
		want  share.Right
	}{
		{Slots{}, share.None}, {Slots{ModePassword, ModePassword}, share.None}, {Slots{ModeOpen, ModeNone}, share.Read},
		{Slots{ModeOpen, ModePassword}, share.Read}, {Slots{ModeNone, ModeOpen}, share.Full}, {Slots{ModePassword, ModeOpen}, share.Full},
	} {
		if got := c.slots.Open(); got != c.want || c.slots.Of(share.None) != ModeNone {
			t.Errorf("%+v gives anybody %v, want %v", c.slots, got, c.want)
		}
	}
}

// TestApart looks for keys in the registry's file, and at who may read what.
func TestApart(t *testing.T) {
	dir := state(t)
	r := reopen(t, dir)
	sec := secret("the read slot")
	s, err := r.Add(Share{Name: "s", Dir: folder(t), Slots: Slots{Read: ModePassword}}, Secrets{Read: sec}, start)
	must(t, err)
	b, err := os.ReadFile(filepath.Join(dir, fileName))
	must(t, err)
	for _, keys := range [][]byte{sec.Keys, []byte(base64.StdEncoding.EncodeToString(sec.Keys))} {
		if bytes.Contains(b, keys) {
			t.Error("keys are in the registry's file")
		}
	}
	for name, mode := range map[string]os.FileMode{
		"": 0o700, fileName: 0o600, keysName: 0o700, filepath.Join(keysName, fmt.Sprintf("%s.read.%d", s.ID, s.Epochs.Read)): 0o600,
	} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%q: mode %v, %v, want %v", name, info.Mode(), err, mode)
		}
	}
}

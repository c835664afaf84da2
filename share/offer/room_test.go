package offer_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/peertest"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/change/disk"
	"github.com/peerd/peerd/share/offer"
	"github.com/peerd/peerd/share/registry"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/setting"

	core "github.com/libp2p/go-libp2p/core/peer"
)

func somebody(t *testing.T) peer.ID {
	t.Helper()
	id, err := core.IDFromPrivateKey(peertest.Key(t))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestSpace: what a peer may put is bounded by the disk, the share's quota, and its own.
func TestSpace(t *testing.T) {
	o := newOffers(t)
	defer o.Close()
	who := somebody(t)
	space := func(name string, set setting.Settings) (total, free int64, s registry.Share) {
		t.Helper()
		s = add(t, o, registry.Share{Name: share.Name(name), Dir: folder(t), Slots: registry.Slots{Full: registry.ModeOpen}, Settings: set}, "", "")
		have, ok := o.ByID(s.ID)
		if !ok {
			t.Fatal("it is not there")
		}
		total, free, err := have.Space(t.Context(), who)
		if err != nil || free < 0 || free > total {
			t.Errorf("%s: %d of %d, %v", name, free, total, err)
		}
		return total, free, s
	}
	all, _, _ := space("plain", setting.Settings{Reserve: setting.Unlimited})
	if total, free, _ := space("quota", setting.Settings{Quota: 1e6}); total > 1e6 || total == 0 || total >= all || free > total {
		t.Errorf("with a quota of 1 MB: %d of %d", free, total)
	}
	_, free, s := space("mine", setting.Settings{PeerQuota: 1e6, Reserve: setting.Unlimited})
	if free > 1e6 {
		t.Errorf("with a quota of its own, of 1 MB, it may put %d", free)
	}
	have, _ := o.ByID(s.ID)
	if err := o.Admit(have, who, 999_000); err != nil {
		t.Fatal(err)
	}
	if _, free, err := have.Space(t.Context(), who); err != nil || free > 1000 {
		t.Errorf("after it put most of that it may put %d, %v", free, err)
	}
	if _, free, err := have.Space(t.Context(), somebody(t)); err != nil || free <= 1000 {
		t.Errorf("another may put %d, %v", free, err)
	}
}

// TestTouchesBrakeNobody: to set times of many files, or what may be run, harms none of them.
func TestTouchesBrakeNobody(t *testing.T) {
	o := newOffers(t)
	defer o.Close()
	dir, who := folder(t), somebody(t)
	const files = 120
	for i := range files {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	touched := 0
	o.Hooks = offer.Hooks{Changed: func(_ registry.Share, c change.Change) {
		if c.Verb == "touch" && c.By.Peer == who {
			touched++
		}
	}}
	s := add(t, o, registry.Share{Name: "docs", Dir: dir, Slots: registry.Slots{Full: registry.ModeOpen}}, "", "")
	sh, err := o.Edit(serve.Offer{Info: s.Info()})
	if err != nil {
		t.Fatal(err)
	}
	<-sh.Watcher.Ready()
	each := func(do func(p share.Path) error) {
		t.Helper()
		for i := range files {
			p, err := share.ParsePath([]string{fmt.Sprint(i)})
			if err == nil {
				err = do(p)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	suspended := func() bool {
		t.Helper()
		s, err := o.Registry.ByID(s.ID)
		if err != nil {
			t.Fatal(err)
		}
		return s.Standing(who).Suspended
	}
	when := time.Unix(1e9, 0)
	each(func(p share.Path) error {
		return sh.Editor.Touch(t.Context(), p, change.Base{Any: true}, disk.Set{ModTime: &when, Exec: new(true)}, change.By{Peer: who}).Err
	})
	if suspended() || touched != files {
		t.Errorf("it may only read since it touched; %d touches are told of", touched)
	}
	each(func(p share.Path) (err error) {
		for r := range sh.Editor.Remove(t.Context(), p, change.Base{Any: true}, false, change.By{Peer: who}) {
			err = r.Err
		}
		return err
	})
	if !suspended() {
		t.Error("it removed all and goes on")
	}
}

// TestBrakeOfAMovedFolder: files that others move to where a peer made and removed its own do not become its own, and those that it
// made stay so wherever they are moved. It is stopped before much more is gone than it may remove.
func TestBrakeOfAMovedFolder(t *testing.T) {
	o := newOffers(t)
	defer o.Close()
	dir, who := folder(t), somebody(t)
	const files = 300
	if err := os.Mkdir(filepath.Join(dir, "theirs"), 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range files {
		if err := os.WriteFile(filepath.Join(dir, "theirs", fmt.Sprint(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := add(t, o, registry.Share{Name: "docs", Dir: dir, Slots: registry.Slots{Full: registry.ModeOpen}}, "", "")
	sh, err := o.Edit(serve.Offer{Info: s.Info()})
	if err != nil {
		t.Fatal(err)
	}
	<-sh.Watcher.Ready()
	path := func(components ...string) share.Path {
		t.Helper()
		p, err := share.ParsePath(components)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	suspended := func() bool {
		t.Helper()
		s, err := o.Registry.ByID(s.ID)
		if err != nil {
			t.Fatal(err)
		}
		return s.Standing(who).Suspended
	}
	anybody, by := change.Base{Any: true}, change.By{Peer: who}
	works := func(r change.Result) {
		t.Helper()
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	remove := func(name string) (gone int) {
		t.Helper()
		for r := range sh.Editor.Remove(t.Context(), path(name), anybody, true, by) {
			works(r)
			if gone++; suspended() {
				break
			}
		}
		return gone
	}
	makes := func(name string) {
		t.Helper()
		works(sh.Editor.Mkdir(t.Context(), path(name), false, by))
		for i := range files {
			works(sh.Editor.Copy(t.Context(), path("f"), path(name, fmt.Sprint(i)), change.Base{}, by))
		}
	}
	makes("junk")
	works(sh.Editor.Move(t.Context(), path("junk"), path("moved"), anybody, change.Base{}, by))
	if gone := remove("moved"); gone != files+1 || suspended() {
		t.Fatalf("of its own files, moved, it could remove %d", gone)
	}
	makes("junk")
	remove("junk")
	works(sh.Editor.Move(t.Context(), path("theirs"), path("junk"), anybody, change.Base{}, by))
	gone := remove("junk")
	left, err := os.ReadDir(filepath.Join(dir, "junk"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if !suspended() || len(left) < files-140 {
		t.Errorf("it removed %d, %d of %d files are left, suspended: %v", gone, len(left), files, suspended())
	}
}

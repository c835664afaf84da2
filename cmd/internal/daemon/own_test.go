package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/share/mount"
)

// TestOwnShares: a peer uses its own shares as those of others, with all rights and whatever stands in their slots.
func TestOwnShares(t *testing.T) {
	anna := start(t, "anna")
	berta := start(t, "berta", anna)
	berta.sees(anna)
	dir := anna.offer("docs", map[string]string{"a.txt": "alpha", "big": strings.Repeat("0123456789", 500_000)}, func(*control.ShareAdd) {})
	for _, name := range []string{"anna", "ANNA", anna.id} {
		shares := 0
		for e, err := range anna.List(t.Context(), ref(t, "//"+name), false) {
			works(t, "ls of oneself", err)
			if shares++; e.Ref.Share != "docs" || e.Right != control.Full {
				t.Errorf("//%s has %+v", name, e)
			}
		}
		if shares != 1 {
			t.Errorf("//%s has %d shares", name, shares)
		}
		got, err := anna.list("//"+name+"/docs", true)
		works(t, "ls", err)
		if len(got) != 2 {
			t.Errorf("//%s/docs has %v", name, got)
		}
	}
	anna.is("//anna/docs/a.txt", "alpha")
	if got, err := anna.text("//anna/docs/big"); err != nil || len(got) != 5_000_000 {
		t.Errorf("big: %d bytes, %v", len(got), err)
	}
	src := filepath.Join(t.TempDir(), "new.txt")
	write(t, src, "new")
	_, err := anna.up(control.CopyRequest{}, "//anna/docs", src)
	works(t, "cp to an own share", err)
	if b, err := os.ReadFile(filepath.Join(dir, "new.txt")); err != nil || string(b) != "new" {
		t.Errorf("new.txt holds %q, %v", b, err)
	}
	_, err = berta.list("//anna/docs", false)
	wants(t, "others in a share that is closed", err, peer.Denied)
	who, err := anna.Whoami(t.Context(), ref(t, "//anna/docs"))
	if err != nil || who.Right != control.Full || who.By != "device" {
		t.Errorf("the owner has %+v, %v", who, err)
	}
}

// TestHints: who is refused, or finds nothing, is told what to do next.
func TestHints(t *testing.T) {
	anna := start(t, "anna")
	berta := start(t, "berta", anna)
	berta.sees(anna)
	anna.offer("docs", map[string]string{"sub/a": "x"}, byPassword)
	_, err := berta.login("//anna/docs", otherPassword)
	hinted(t, "a wrong password", err, "ask the owner")
	_, err = berta.login("//anna/docs", readPassword)
	works(t, "login", err)
	_, err = berta.Stat(t.Context(), ref(t, "//anna/docs/sub/b"))
	hinted(t, "a file that is not there", err, `"peerd ls //anna/docs/sub"`)
}

func hinted(t *testing.T, what string, err error, hint string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), hint) {
		t.Errorf("%s: %v; want %s", what, err, hint)
	}
}

// TestMountIsNotShared: what this computer shows of others' shares is not offered on, wherever the folder lies that is to be shared.
func TestMountIsNotShared(t *testing.T) {
	anna := start(t, "anna")
	anna.offer("secret", nil, open)
	berta := start(t, "berta", anna)
	berta.sees(anna)
	top := t.TempDir()
	on := filepath.Join(top, "all")
	_, err := berta.Mount(t.Context(), control.MountRequest{Dir: on})
	works(t, "mount", err)
	dirs := []string{top, on, filepath.Join(on, "anna", "secret")}
	if mount.Available() != nil {
		dirs = dirs[:2]
	}
	loop := func(dir string) control.ShareAdd {
		return control.ShareAdd{Name: "loop", Dir: dir, Read: control.Slot{Mode: control.Open}, Full: control.Slot{Mode: control.Closed}}
	}
	for _, dir := range dirs {
		_, err := berta.ShareAdd(t.Context(), loop(dir))
		if peer.KindOf(err) != peer.Usage || !strings.Contains(err.Error(), "peerd umount "+on) {
			t.Errorf("%s was shared: %v", dir, err)
		}
	}
	works(t, "umount", berta.Unmount(t.Context(), on))
	_, err = berta.ShareAdd(t.Context(), loop(top))
	works(t, "share add", err)
}

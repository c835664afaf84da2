package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

// TestOwnShares: a peer uses its own shares as those of others, with all rights and whatever stands in their slots.
func TestOwnShares(t *testing.T) {
	anna := start(t, "anna")
	berta := start(t, "berta", anna)
	berta.sees(anna)
	dir := anna.offer("docs", map[string]string{"a.txt": "alpha", "big": strings.Repeat("0123456789", 500_000)}, func(*control.ShareAdd) {})
	for _, name := range []string{"anna", "ANNA", anna.id} {
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

package identity_test

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/identity"
)

func load(t *testing.T, dir string) peer.ID {
	t.Helper()
	key, err := identity.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.ID(key)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestLoadMakesKeyOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	first := load(t, dir)
	if again := load(t, dir); again != first {
		t.Errorf("the second start is %v, the first was %v", again, first)
	}
	if !strings.HasPrefix(first.String(), "12D3Koo") {
		t.Errorf("%v is no ID of an Ed25519 key", first)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v; want the key alone", entries, err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, identity.File): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, %v; want %v", path, info.Mode().Perm(), err, want)
		}
	}
}

func TestLoadAtOnceAgrees(t *testing.T) {
	dir := t.TempDir()
	ids := make([]peer.ID, 16)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			if key, err := identity.Load(dir); err == nil {
				ids[i], _ = identity.ID(key)
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id == "" || id != ids[0] {
			t.Fatalf("starts at once gave %v", ids)
		}
	}
}

func TestLoadRefusesLooseModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes mean nothing here")
	}
	for _, tt := range []struct {
		name      string
		dir, file os.FileMode
		ok        bool
	}{
		{"as made", 0o700, 0o600, true},
		{"read-only", 0o700, 0o400, true},
		{"folder that others may list", 0o755, 0o600, true},
		{"folder that others may write", 0o777, 0o600, false},
		{"folder that the group may write", 0o770, 0o600, false},
		{"key that others may read", 0o700, 0o604, false},
		{"key that the group may read", 0o700, 0o640, false},
		{"key that others may write", 0o700, 0o602, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			load(t, dir)
			for path, mode := range map[string]os.FileMode{dir: tt.dir, filepath.Join(dir, identity.File): tt.file} {
				if err := os.Chmod(path, mode); err != nil {
					t.Fatal(err)
				}
			}
			_, err := identity.Load(dir)
			if tt.ok != (err == nil) {
				t.Fatalf("got %v, want ok %v", err, tt.ok)
			}
			if err != nil && (peer.KindOf(err) != peer.Denied || !strings.Contains(err.Error(), "chmod")) {
				t.Errorf("%q is of kind %v; want Denied and the way out", err, peer.KindOf(err))
			}
		})
	}
}

func TestLoadRefusesWhatIsNoKey(t *testing.T) {
	rsa, _, err := crypto.GenerateKeyPairWithReader(crypto.RSA, 2048, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rawRSA, err := crypto.MarshalPrivateKey(rsa)
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string][]byte{
		"empty": nil, "garbage": []byte("garbage"), "too long": make([]byte, 1<<20), "RSA": rawRSA,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), identity.File)
			if err := os.WriteFile(path, raw, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := identity.Load(filepath.Dir(path)); err == nil {
				t.Fatal("it was taken for a key")
			}
			if now, err := os.ReadFile(path); err != nil || len(now) != len(raw) {
				t.Errorf("the file was changed: %d bytes, %v", len(now), err)
			}
		})
	}
}

func TestLoadRefusesLink(t *testing.T) {
	elsewhere, dir := t.TempDir(), t.TempDir()
	load(t, elsewhere)
	if err := os.Symlink(filepath.Join(elsewhere, identity.File), filepath.Join(dir, identity.File)); err != nil {
		t.Skip(err)
	}
	if _, err := identity.Load(dir); err == nil {
		t.Error("a link was followed")
	}
}

func TestSecret(t *testing.T) {
	key, err := identity.Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	other, err := identity.Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	secret := func(key crypto.PrivKey, purpose string) string {
		b, err := identity.Secret(key, purpose)
		if err != nil || len(b) != 32 {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
		return string(b)
	}
	first := secret(key, "a")
	if secret(key, "a") != first {
		t.Error("it is another each time")
	}
	if first == secret(key, "b") || first == secret(other, "a") {
		t.Error("purposes or keys share a secret")
	}
}

package auditing

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peerd/peerd/discovery/discoverytest"
)

func firstOf(t *testing.T, s *seen, n int) bool {
	t.Helper()
	first, err := s.first(discoverytest.ID(n))
	if err != nil {
		t.Fatal(err)
	}
	return first
}

func opened(t *testing.T, path string) *seen {
	t.Helper()
	s, err := openSeen(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSeenOnce: a peer is here for the first time once, over restarts, also where the file was damaged or is too long.
func TestSeenOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seen")
	s := opened(t, path)
	if !firstOf(t, s, 1) || firstOf(t, s, 1) || !firstOf(t, s, 2) {
		t.Error("not once")
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("nonsense\n\n" + strings.Repeat("x", 1000) + "\n"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	s = opened(t, path)
	if firstOf(t, s, 1) || firstOf(t, s, 2) || !firstOf(t, s, 3) {
		t.Error("not once over a restart")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
}

func TestSeenIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seen")
	s := opened(t, path)
	for n := range maxSeen + 1 {
		if !firstOf(t, s, n) {
			t.Fatalf("peer %d was here", n)
		}
	}
	for _, s := range []*seen{s, opened(t, path)} {
		if len(s.order) != maxSeen/2+1 || len(s.ids) != len(s.order) {
			t.Errorf("%d are remembered", len(s.order))
		}
		if firstOf(t, s, maxSeen) || firstOf(t, s, maxSeen-1) || !firstOf(t, s, 0) {
			t.Error("it is not the oldest that are forgotten")
		}
	}
}

package notify

import (
	"os"
	"path/filepath"
	"testing"
)

// TestExchanged has a folder take the name of another that is watched as well, before the system told of it.
func TestExchanged(t *testing.T) {
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		for range s.Notices() {
		}
	}()
	dir := t.TempDir()
	a, b, aside := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "aside")
	for range 200 {
		for _, d := range []string{a, b} {
			if err := os.Mkdir(d, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := s.Add(d); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Rename(a, aside); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(b, a); err != nil {
			t.Fatal(err)
		}
		if err := s.Add(a); err != nil {
			t.Fatal(err)
		}
		s.Remove(a)
		s.Remove(b)
		for _, d := range []string{a, aside} {
			if err := os.Remove(d); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.Close()
	<-heard
}

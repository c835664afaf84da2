package local

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/peerd/peerd/share/change/disktest"
)

// eachChanger runs a test on every way to change a folder that this system has.
func eachChanger(t *testing.T, test func(t *testing.T, open func(dir string) *Disk, swaps bool)) {
	for name, c := range changers() {
		t.Run(name, func(t *testing.T) {
			test(t, func(dir string) *Disk { return &Disk{c(dir), dir} }, name != "os.Root")
		})
	}
}

func TestDisk(t *testing.T) {
	eachChanger(t, func(t *testing.T, open func(string) *Disk, swaps bool) {
		disktest.Run(t, func(t *testing.T) disktest.Fixture {
			dir := real(t)
			return disktest.Fixture{Disk: open(dir), Swaps: swaps,
				Write: func(t *testing.T, path, data string) {
					must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o755))
					must(t, os.WriteFile(filepath.Join(dir, path), []byte(data), 0o644))
				},
				Read: func(t *testing.T, path string) string {
					b, err := os.ReadFile(filepath.Join(dir, path))
					must(t, err)
					return string(b)
				},
			}
		})
	})
}

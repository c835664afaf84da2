//go:build !linux && !darwin && !windows

package mount

import (
	"context"
	"runtime"

	"github.com/peerd/peerd/share/vfs"
)

// Available says why nothing can be mounted here, as an error with [ErrUnavailable] in it.
func Available() error {
	return unavailable("peerd mounts nothing on "+runtime.GOOS, "use a computer with Linux, macOS or Windows")
}

// Mount is a mounted tree. Here there is none.
type Mount struct{}

// New says why nothing can be mounted here.
func New(context.Context, *vfs.FS, string, Options) (*Mount, error) { return nil, Available() }

// Dir is "".
func (m *Mount) Dir() string { return "" }

// Wait returns at once.
func (m *Mount) Wait() {}

// Done is nil.
func (m *Mount) Done() <-chan struct{} { return nil }

// Unmount does nothing.
func (m *Mount) Unmount(context.Context) error { return nil }

// On gives the peerd mount that a path lies in: none.
func On(string) string { return "" }

// Mounts are the folders that peerd mounts are on: none.
func Mounts() []string { return nil }

// Release has nothing to take away.
func Release(string) (bool, error) { return false, nil }

// Clean has nothing to do.
func Clean() []string { return nil }

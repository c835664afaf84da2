package vfs

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share/vfs/tree"
)

// kept reports whether a name is of those that desktops strew about. What is made under them here never leaves this computer.
func kept(name string) bool {
	switch name {
	case ".DS_Store", "Thumbs.db", "desktop.ini":
		return true
	}
	return strings.HasPrefix(name, "._")
}

// keepsLocked reports whether what is written under a name is kept here. n is what has it, or nil.
func keepsLocked(name string, n *tree.Node) bool {
	if n == nil {
		return kept(name)
	}
	if b, ok := n.Local.(*body); ok {
		return b.overlay
	}
	return kept(name) && !n.Known // what its owner has is changed there
}

// passing is how long a file is kept back whose name says that it will be gone soon.
const passing = 2 * time.Second

// passes reports whether a name is of those that programs give to what they rename or remove soon.
func passes(name string) bool {
	switch {
	case strings.HasPrefix(name, ".~lock."), strings.HasPrefix(name, "~$"), strings.HasPrefix(name, ".#"), strings.HasPrefix(name, ".goutputstream-"):
		return true
	}
	for _, end := range []string{".tmp", ".swp", ".swx", ".part", ".lock", "~"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

// free says why a name that nothing has can't be made: another in the folder is the same but for case, say, which every owner refuses.
// except is what goes away from there, or nil. What can't be listed now counts as it was known last: the owner says the rest.
func (f *FS) free(ctx context.Context, op string, p place, name string, except *tree.Node) error {
	if kept(name) {
		return nil
	}
	_ = f.list(ctx, p)
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.n.Child(name) != nil { // it came meanwhile
		return nil
	}
	for _, n := range p.n.Folder().Alike(name) {
		if b, ok := n.Local.(*body); n != except && !(ok && b.overlay) {
			return &peer.Error{Op: op, Path: p.child(name), Kind: peer.Conflict, Err: fmt.Errorf("%w: %q", ErrAlike, n.Name())}
		}
	}
	return nil
}

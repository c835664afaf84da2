package lane

import (
	"errors"
	"fmt"
	"strings"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/peer/wire/wirepb"
)

// ErrChanged means that the source has another version now.
var ErrChanged = errors.New("the file changed meanwhile")

// MaxManifest is the largest message of a manifest, in bytes.
const MaxManifest = 64 << 10

// Path is how a file of the source is called in messages.
func (s Source) Path(path []string) string {
	return strings.Join(append([]string{s.Label}, path...), "/")
}

// Changed is the error of a file that has another version now.
func (s Source) Changed(path []string) error {
	return &peer.Error{Path: s.Path(path), Kind: peer.Conflict, Err: ErrChanged, Hint: "run it again"}
}

// Lie is the error of a manifest that can't be true.
func (s Source) Lie(path []string, what error) error {
	return &peer.Error{Path: s.Path(path), Kind: peer.Integrity, Err: fmt.Errorf("the source's manifest can't be true: %w", what),
		Hint: "nothing was written under the file's name"}
}

// Refusal makes an error of what the source says of a file.
func (s Source) Refusal(m *wirepb.Error, path []string) error {
	err := wire.ToError(m)
	var e *peer.Error
	switch {
	case err == nil:
		return &peer.Error{Path: s.Path(path), Kind: peer.Integrity, Err: errors.New("the source's answer makes no sense")}
	case peer.KindOf(err) == peer.Conflict:
		return s.Changed(path)
	case errors.As(err, &e):
		return &peer.Error{Op: e.Op, Path: s.Path(path), Kind: e.Kind, Err: e.Err, Hint: e.Hint}
	}
	return err
}

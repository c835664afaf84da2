package wire

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire/wirepb"
)

// MaxText is how long each text of an error may be on the wire, in bytes. What is longer is cut.
const MaxText = 512

// FromError makes of err what the other side may know of it: nil of nil, the fields of the outermost [peer.Error] in its
// chain, and of any other error its kind alone. File names of this computer (those of [fs.PathError] and the like) are left out.
func FromError(err error) *wirepb.Error {
	if err == nil {
		return nil
	}
	m := &wirepb.Error{Kind: uint32(peer.KindOf(err))}
	var e *peer.Error
	if errors.As(err, &e) {
		m.Op, m.Path, m.Text, m.Hint = cut(e.Op), cut(e.Path), cut(causeText(e.Err)), cut(e.Hint)
	}
	return m
}

// causeText is the text of a cause without the file names that the operating system's errors carry.
func causeText(err error) string {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &path):
		return path.Err.Error()
	case errors.As(err, &link):
		return link.Err.Error()
	}
	return err.Error()
}

// ToError makes a [peer.Error] of what the other side said, or nil of nil. Its texts are bounded and, but for the path,
// quoted by [peer.Quote]; the error quotes the path itself when shown.
func ToError(m *wirepb.Error) error {
	if m == nil {
		return nil
	}
	e := &peer.Error{
		Op:   peer.Quote(cut(m.GetOp())),
		Path: cut(m.GetPath()),
		Kind: peer.ParseKind(m.GetKind()),
		Hint: peer.Quote(cut(m.GetHint())),
	}
	if text := cut(m.GetText()); text != "" {
		e.Err = errors.New(peer.Quote(text))
	}
	return e
}

// cut shortens s to MaxText bytes of UTF-8, as a protobuf string must be.
func cut(s string) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	if len(s) <= MaxText {
		return s
	}
	end := MaxText
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

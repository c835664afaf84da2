// Package peer says who is who: the identity of a computer in the workgroup, its name and addresses, the stream that two
// of them talk over, and the errors that every other package speaks in. It is the bottom of the project and imports none
// of it.
//
// An [ID] is proven by the handshake of every connection. A [Name] is only a hint: two computers may carry the same.
package peer

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	core "github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"golang.org/x/text/unicode/norm"
)

// ID is a libp2p peer ID: the hash of, or here the very, Ed25519 public key. Its text form starts with 12D3Koo.
type ID = core.ID

// Addr is where a peer can be dialled, as a multiaddr without the peer's ID.
type Addr = ma.Multiaddr

// ParseID reads the text form of an ID.
func ParseID(s string) (ID, error) {
	id, err := core.Decode(s)
	if err != nil {
		return "", &Error{Op: "parse peer ID", Path: s, Kind: Usage, Err: err}
	}
	return id, nil
}

// AddrFromBytes reads the binary form of an Addr, as it comes from the wire.
func AddrFromBytes(b []byte) (Addr, error) { return ma.NewMultiaddrBytes(b) }

// ShortLen is how many characters of an ID tell peers apart on a screen, and the fewest accepted as a prefix in //PEER.
const ShortLen = 8

// Short is the tail of an ID's text form, [ShortLen] characters: the head is the same for all Ed25519 keys.
func Short(id ID) string {
	s := id.String()
	if len(s) <= ShortLen {
		return s
	}
	return s[len(s)-ShortLen:]
}

// Limits of names, in bytes. 63 is the length of a DNS label (RFC 1035 section 2.3.4), which carries the name in mDNS.
const (
	MaxName      = 63
	MaxWorkgroup = 63
)

// DefaultWorkgroup is the workgroup of those who never named one.
const DefaultWorkgroup = "WORKGROUP"

// Name is what a computer calls itself: 1 to 63 bytes of NFC text, without a slash and without characters that do not show
// (see [CheckText]). It proves nothing.
type Name string

// ParseName accepts a name or says why not.
func ParseName(s string) (Name, error) {
	s = norm.NFC.String(strings.TrimSpace(s))
	if err := CheckText(s, MaxName); err != nil {
		return "", &Error{Op: "parse name", Path: s, Kind: Usage, Err: err}
	}
	if strings.ContainsRune(s, '/') {
		return "", &Error{Op: "parse name", Path: s, Kind: Usage, Err: fmt.Errorf("a name has no slash")}
	}
	return Name(s), nil
}

// CleanName makes the nearest valid name of a text that somebody else chose; a text with nothing to keep gives fallback.
func CleanName(s string, fallback Name) Name {
	var b strings.Builder
	for _, r := range norm.NFC.String(s) {
		if Printable(r) && r != '/' && r != utf8.RuneError && b.Len()+utf8.RuneLen(r) <= MaxName {
			b.WriteRune(r)
		}
	}
	n, err := ParseName(b.String())
	if err != nil {
		return fallback
	}
	return n
}

// Info is what a peer says of itself over an authenticated stream, so all but the ID are its own words.
type Info struct {
	ID        ID
	Name      Name
	Workgroup string
	Version   string    // of the program
	Time      time.Time // its clock, to warn when grants would fail for it
	Addrs     []Addr    // where it listens
}

// Stream is one authenticated, ordered, two-way byte stream to the peer [Stream.Peer].
type Stream interface {
	io.Reader
	io.Writer
	// Close ends both directions in order; what was written still arrives.
	io.Closer
	// CloseWrite says that nothing more will be written.
	CloseWrite() error
	// Reset ends both directions at once and lets the other side know that it was no orderly end.
	Reset() error
	// SetDeadline bounds reads and writes; the zero time lifts the bound.
	SetDeadline(time.Time) error
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	// Peer is the other side, proven by the handshake.
	Peer() ID
	// Remote is the address that the other side has on this connection.
	Remote() Addr
}

// Welcome tells who carries a stream that its other side showed a right to something here: strangers have less room. It may be
// said again and again.
func Welcome(s Stream) {
	if w, ok := s.(interface{ Welcome() }); ok {
		w.Welcome()
	}
}

// Opener opens streams to peers. lane tells connections apart: streams of different lanes may run on connections of
// their own, so that bulk transfers use more than one and never stand in the way of small requests on lane 0.
type Opener interface {
	Open(ctx context.Context, id ID, protocol string, lane int) (Stream, error)
}

// Handler serves one inbound stream. The stream is reset if it returns an error, and closed else.
type Handler func(ctx context.Context, s Stream) error

package control

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/peerd/peerd/peer"
)

// MaxRef is the length of a Ref's text form in bytes: the limits of a peer's name, a share's name and a path together.
const MaxRef = 4300

// Ref names a remote thing, //PEER/SHARE/PATH: all peers when it is zero, a peer, a share, or what lies at a path in it.
// Refs are comparable. Peer is a name, or a peer ID or the beginning or end of one.
type Ref struct {
	Peer  string
	Share string
	Path  string // components with slashes between them; "" is the share itself
}

// IsRemote reports whether a command's argument names a remote thing rather than a local file.
func IsRemote(s string) bool { return strings.HasPrefix(s, "//") }

// ParseRef reads the text form of a Ref. Empty components of the path are dropped, "." and ".." are refused: a path names
// one thing, it is not walked.
func ParseRef(s string) (Ref, error) {
	bad := func(format string, args ...any) (Ref, error) {
		shown := s
		if len(shown) > 300 {
			shown = shown[:300] + "…"
		}
		return Ref{}, &peer.Error{Path: shown, Kind: peer.Usage, Err: fmt.Errorf(format, args...)}
	}
	rest, ok := strings.CutPrefix(s, "//")
	switch {
	case !ok:
		return bad("a remote name starts with two slashes, as in //anna/docs")
	case len(s) > MaxRef:
		return bad("it is longer than %d bytes", MaxRef)
	case !utf8.ValidString(s):
		return bad("it is not UTF-8")
	}
	rest = norm.NFC.String(rest)
	host, rest, deeper := strings.Cut(rest, "/")
	if host == "" && deeper {
		return bad("the name of the peer is empty")
	}
	if host == "." || host == ".." {
		return bad("%q is no name", host)
	}
	var path []string
	for c := range strings.SplitSeq(rest, "/") {
		switch c {
		case "":
			continue
		case ".", "..":
			return bad("%q is no name", c)
		}
		path = append(path, c)
	}
	ref := Ref{Peer: host}
	if len(path) > 0 {
		ref.Share, ref.Path = path[0], strings.Join(path[1:], "/")
	}
	return ref, nil
}

// String is the text form of the Ref.
func (r Ref) String() string {
	switch {
	case r.Share == "":
		return "//" + r.Peer
	case r.Path == "":
		return "//" + r.Peer + "/" + r.Share
	}
	return "//" + r.Peer + "/" + r.Share + "/" + r.Path
}

// IsZero reports whether the Ref names the whole workgroup.
func (r Ref) IsZero() bool { return r == Ref{} }

// Base is the last component: of the path, else the share, else the peer.
func (r Ref) Base() string {
	s := r.String()
	return s[strings.LastIndexByte(s, '/')+1:]
}

// Join is the Ref of a thing right under this one.
func (r Ref) Join(name string) Ref {
	switch {
	case r.Peer == "":
		r.Peer = name
	case r.Share == "":
		r.Share = name
	case r.Path == "":
		r.Path = name
	default:
		r.Path += "/" + name
	}
	return r
}

// ShareRef is the share that the Ref lies in.
func (r Ref) ShareRef() Ref { return Ref{Peer: r.Peer, Share: r.Share} }

// PeerRef is the Ref of the peer alone.
func (r Ref) PeerRef() Ref { return Ref{Peer: r.Peer} }

// Depth counts the components: 0 for the workgroup, 1 for a peer, 2 for a share, 3 and more in it.
func (r Ref) Depth() int {
	switch {
	case r.Peer == "":
		return 0
	case r.Share == "":
		return 1
	case r.Path == "":
		return 2
	}
	return 3 + strings.Count(r.Path, "/")
}

// MarshalText gives the text form.
func (r Ref) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads the text form as [ParseRef] does.
func (r *Ref) UnmarshalText(text []byte) (err error) {
	*r, err = ParseRef(string(text))
	return err
}

// Match reports whether a name matches a pattern of find, whatever the case of letters: * stands for any characters, ? for
// one, and a pattern with neither matches any name that it is a part of.
func Match(pattern, name string) bool {
	fold := func(s string) []rune {
		return []rune(strings.Map(func(r rune) rune { return unicode.ToLower(unicode.ToUpper(r)) }, norm.NFC.String(s)))
	}
	p, n := fold(pattern), fold(name)
	if !strings.ContainsAny(pattern, "*?") {
		return strings.Contains(string(n), string(p))
	}
	// Only the last star is ever taken back, so the time is at most len(p)×len(n).
	i, j, star, mark := 0, 0, -1, 0
	for j < len(n) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == n[j]):
			i, j = i+1, j+1
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}

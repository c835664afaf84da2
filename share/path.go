package share

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/peerd/peerd/peer"
)

// Limits of a path.
const (
	MaxComponent = 255  // bytes in a component
	MaxDepth     = 64   // components
	MaxPath      = 4096 // bytes in all, with a separator after each component
)

// Reserved starts the names of peerd's own temporary files, which are never listed, opened or created by a peer.
const Reserved = ".peerd"

// Path is a checked path inside a share: zero or more components, compared with ==. The zero Path is the share's root.
type Path struct{ joined string }

// ParsePath checks the components of a path as they come from the wire or the file system. It is the only maker of paths
// from foreign text, used by the side that serves and by the side that receives (CVE-2020-26279: the downloader must check as well).
func ParsePath(components []string) (Path, error) {
	if len(components) > MaxDepth {
		return Path{}, pathError(strings.Join(components[:MaxDepth], "/")+"/…", errDeep)
	}
	total := 0
	for _, c := range components {
		if err := CheckComponent(c); err != nil {
			return Path{}, pathError(c, err)
		}
		total += len(c) + 1
	}
	if total > MaxPath {
		return Path{}, pathError(components[0]+"/…", errLong)
	}
	return Path{strings.Join(components, "/")}, nil
}

// SplitPath parses what a user typed: components between slashes, empty ones dropped.
func SplitPath(s string) (Path, error) {
	return ParsePath(slices.DeleteFunc(strings.Split(s, "/"), func(c string) bool { return c == "" }))
}

var (
	errDeep = fmt.Errorf("it is deeper than %d folders", MaxDepth)
	errLong = fmt.Errorf("it is longer than %d bytes", MaxPath)
)

func pathError(p string, err error) error {
	if len(p) > 300 {
		p = p[:300] + "…"
	}
	return &peer.Error{Op: "check name", Path: p, Kind: peer.Usage, Err: err}
}

// Components are the names from the root down; none at the root.
func (p Path) Components() []string {
	if p.joined == "" {
		return nil
	}
	return strings.Split(p.joined, "/")
}

// String joins the components by slashes; the root is "".
func (p Path) String() string { return p.joined }

// IsRoot reports whether the path is the share itself.
func (p Path) IsRoot() bool { return p.joined == "" }

// Base is the last component, or "" at the root.
func (p Path) Base() string { return p.joined[strings.LastIndexByte(p.joined, '/')+1:] }

// Dir is the path without its last component.
func (p Path) Dir() Path { return Path{p.joined[:max(0, strings.LastIndexByte(p.joined, '/'))]} }

// Join adds one component, the only one that is checked: those of p were.
func (p Path) Join(name string) (Path, error) {
	if p.IsRoot() {
		return ParsePath([]string{name})
	}
	if err := CheckComponent(name); err != nil {
		return Path{}, pathError(name, err)
	}
	joined := p.joined + "/" + name
	if strings.Count(joined, "/") >= MaxDepth {
		return Path{}, pathError(joined, errDeep)
	}
	if len(joined) >= MaxPath {
		return Path{}, pathError(joined, errLong)
	}
	return Path{joined}, nil
}

// Below gives the components of p under the folder dir, and whether it lies there. Every path lies under itself.
func (p Path) Below(dir Path) ([]string, bool) {
	switch {
	case dir.IsRoot():
		return p.Components(), true
	case p == dir:
		return nil, true
	case strings.HasPrefix(p.joined, dir.joined+"/"):
		return strings.Split(p.joined[len(dir.joined)+1:], "/"), true
	}
	return nil, false
}

// CheckComponent says why a name can't be a component of a path that is read.
func CheckComponent(c string) error {
	if err := peer.CheckFileName(c, MaxComponent); err != nil {
		return err
	}
	switch {
	case c == "." || c == "..":
		return fmt.Errorf("%q is no name", c)
	case strings.ContainsAny(c, `/\`):
		return fmt.Errorf("it holds a slash or a backslash")
	case strings.HasPrefix(FoldKey(c), Reserved):
		return fmt.Errorf("names that start with %q are peerd's own", Reserved)
	case isShortReserved(c):
		return fmt.Errorf("on Windows it may stand for a name that starts with %q", Reserved)
	}
	return nil
}

// CheckCreate says why a peer may not create a name: beyond [CheckComponent], what some system can't hold or takes for
// something else (streams, devices, 8.3 names of Windows; Microsoft's "Naming Files, Paths, and Namespaces").
func CheckCreate(c string) error {
	if err := CheckComponent(c); err != nil {
		return err
	}
	if i := strings.IndexAny(c, `<>:"|?*`); i >= 0 {
		return fmt.Errorf("it holds %q", c[i])
	}
	if last := c[len(c)-1]; last == '.' || last == ' ' {
		return fmt.Errorf("it ends in %q", last)
	}
	stem, _, _ := strings.Cut(strings.ToUpper(c), ".")
	if stem = strings.TrimRight(stem, " "); isDevice(stem) {
		return fmt.Errorf("%s is a device on Windows", stem)
	}
	return nil
}

// isShortReserved reports whether Windows may have made c as the 8.3 name of one that starts with [Reserved]: PEERD-~1 and the
// like, or after some of them PE, four digits of a hash, and ~1.
func isShortReserved(c string) bool {
	head, number, ok := strings.Cut(c, "~")
	if !ok {
		return false
	}
	head = strings.ToUpper(head)
	number, _, _ = strings.Cut(number, ".")
	if number == "" || strings.Trim(number, "0123456789") != "" {
		return false
	}
	long := strings.ToUpper(Reserved[1:])
	return strings.HasPrefix(head, long) ||
		len(head) == 6 && head[:2] == long[:2] && strings.Trim(head[2:], "0123456789ABCDEF") == ""
}

func isDevice(stem string) bool {
	switch stem {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	digit, ok := strings.CutPrefix(stem, "COM")
	if !ok {
		digit, ok = strings.CutPrefix(stem, "LPT")
	}
	return ok && utf8.RuneCountInString(digit) == 1 && strings.Contains("0123456789¹²³", digit)
}

// FoldKey is equal for names that a file system without regard to case may take for the same. Characters that do not show are
// dropped, as a casefold ext4 does (utf8nfdicf in Linux' fs/unicode), so the key of a name can be empty. Upper case comes before
// folding since [cases.Fold] turns the two cases of Cherokee into each other.
func FoldKey(name string) string {
	ascii := true
	for i := range len(name) {
		ascii = ascii && name[i] < utf8.RuneSelf
	}
	if ascii {
		return strings.ToLower(name)
	}
	shown := strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point) {
			return -1
		}
		return unicode.ToUpper(r)
	}, norm.NFD.String(name))
	return norm.NFC.String(cases.Fold().String(shown))
}

// versionMark starts the first component of what [VersionPath] gives.
const versionMark = Reserved + "@"

// VersionPath names an old version of a file to its owner, in place of the path: only the owner's side knows such a path, and no
// [Path] can look like it.
func VersionPath(p Path, version string) []string {
	return append([]string{versionMark + version}, p.Components()...)
}

// CutVersion takes the version off what VersionPath gave.
func CutVersion(components []string) (path []string, version string, ok bool) {
	if len(components) < 2 {
		return components, "", false
	}
	version, ok = strings.CutPrefix(components[0], versionMark)
	if !ok {
		return components, "", false
	}
	return components[1:], version, true
}

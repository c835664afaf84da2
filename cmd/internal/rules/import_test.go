package rules

import (
	"go/ast"
	"slices"
	"strings"
)

// floors are the heights of folders in the import ladder; the deepest folder that holds a package counts.
var floors = []struct {
	folder string
	height int
}{
	{"peer", 0},
	{"transfer", 1}, {"discovery", 1},
	{"share", 2},
	{"share/mount", 3}, {"share/webdav", 3},
	{"cmd", 4},
}

func height(p string) (folder string, h int) {
	h = -1
	for _, f := range floors {
		if within(p, f.folder) && len(f.folder) > len(folder) {
			folder, h = f.folder, f.height
		}
	}
	return folder, h
}

func importsRunDownward(tr tree, bad report) {
	for _, p := range tr.pkgs {
		folder, h := height(p.path)
		if h < 0 {
			bad("%s is on no floor of the ladder peer → transfer, discovery → share → faces → cmd", p.path)
			continue
		}
		for _, f := range p.files {
			for _, spec := range f.Imports {
				target, ok := strings.CutPrefix(imported(spec), module+"/")
				if !ok || f.test && within(target, p.path) {
					continue
				}
				if above, th := height(target); th > h || th == h && above != folder {
					bad("%s imports %s: imports run downward (peer → transfer, discovery → share → faces → cmd), so that "+
						"each floor is understood and tested without those above it", tr.at(spec), target)
				}
			}
		}
	}
}

// owners says which packages alone may import a module, so that it can be replaced in one place.
var owners = []struct {
	module string
	by     []string
}{
	{"github.com/libp2p/go-libp2p", []string{"peer/host", "discovery/dht"}},
	{"github.com/libp2p/go-libp2p-kad-dht", []string{"discovery/dht"}},
	{"github.com/libp2p/go-yamux", []string{"peer/host"}},
	{"github.com/quic-go/quic-go", []string{"peer/host"}},
	{"github.com/hashicorp/mdns", []string{"discovery/mdns"}},
	{"github.com/miekg/dns", []string{"discovery/mdns"}},
	{"github.com/bytemare/opaque", []string{"peer/auth"}},
	{"github.com/urfave/cli", []string{"cmd/peerd"}},
	{"github.com/hanwen/go-fuse", []string{"share/mount"}},
	{"github.com/winfsp/cgofuse", []string{"share/mount/winfs"}},
	{"github.com/fsnotify/fsnotify", []string{"share/watch/notify"}},
	{"golang.org/x/net/webdav", nil}, // it destroys a file whose upload is cut off: decision 18
}

// values are the packages under go-libp2p/core that anybody may import: a wrapper would only repeat them.
var values = []string{
	"github.com/libp2p/go-libp2p/core/peer",
	"github.com/libp2p/go-libp2p/core/crypto",
	"github.com/libp2p/go-libp2p/core/record",
}

func oneOwnerPerModule(tr tree, bad report) {
	for _, p := range tr.pkgs {
		for _, f := range p.files {
			if f.test {
				continue // a test may look at its subject through the foreign module's eyes
			}
			for _, spec := range f.Imports {
				target := imported(spec)
				if within(target, values...) {
					continue
				}
				for _, o := range owners {
					if within(target, o.module) && !within(p.path, o.by...) {
						bad("%s imports %s: only %s may, so that it can be replaced in one place",
							tr.at(spec), target, strings.Join(o.by, ", "))
					}
				}
			}
		}
	}
}

// vocabularies name things, and do nothing with disks or networks (share/mounted asks the system for its list of mounts); every other
// package below the faces is a service.
var vocabularies = []string{"peer", "transfer", "share", "discovery", "peer/control", "peer/control/client", "share/vfs", "share/mounted"}

func facesKnowVocabulariesOnly(tr tree, bad report) {
	for _, p := range tr.pkgs {
		own := p.path // a face that was cut knows its parts
		for _, whole := range []string{"share/mount", "share/webdav"} {
			if within(p.path, whole) {
				own = whole
			}
		}
		if within(p.path, "cmd/internal/daemon") || !within(p.path, "cmd", "share/mount", "share/webdav") {
			continue
		}
		for _, f := range p.code() {
			for _, spec := range f.Imports {
				target, ok := strings.CutPrefix(imported(spec), module+"/")
				if ok && !slices.Contains(vocabularies, target) && !within(target, "cmd", own) {
					bad("%s imports %s: a face stands on share.FS and control's Backend; only cmd/internal/daemon wires "+
						"services, so that every face can be tested without a network", tr.at(spec), target)
				}
			}
		}
	}
}

func helpersForTestsStayInTests(tr tree, bad report) {
	for _, p := range tr.pkgs {
		for _, f := range p.files {
			for _, spec := range f.Imports {
				target := imported(spec)
				ours := strings.HasPrefix(target, module+"/")
				if (ours && isHelper(target) || target == "testing") && !f.test && !isHelper(p.path) {
					bad("%s imports %s: helpers for tests are imported by _test.go files alone, or they end up in the program",
						tr.at(spec), target)
				}
			}
			ast.Inspect(f.File, func(n ast.Node) bool {
				if use, ok := n.(*ast.SelectorExpr); ok && strings.HasSuffix(use.Sel.Name, "ForTests") && !f.test && !isHelper(p.path) {
					bad("%s uses %s: what is weaker for tests is used by them alone, or the program is weaker", tr.at(n), use.Sel.Name)
				}
				return true
			})
		}
	}
}

// Package controltest has a [control.Backend] in memory, for tests of what stands on one.
package controltest

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

// Secret is the password of //anna/safe; Generated is what GeneratePassword gives.
const (
	Secret    = "correct horse"
	Generated = "vivid-otter-grows-nine-plums"
)

// Hostile is a peer's name and a file's name with a terminal escape and a bidi override in it.
const Hostile = "ev\u202eil\x1b[31m"

// Fake is a small workgroup: anna with an open share docs and a locked share safe, bob with nothing, a hostile peer, and
// gone, who does not answer. Its fields may be changed before it is used.
type Fake struct {
	State    control.Status
	Findings []control.Finding
	Content  map[control.Ref]string // files; folders are implied
	Events   chan control.PeerEvent // what WatchPeers yields after the peers that are here

	Happened   []control.FileEvent    // what WatchFiles yields at once
	FileEvents chan control.FileEvent // and what after that
	Records    []control.AuditRecord
	Broken     error // what AuditVerify finds

	mu        sync.Mutex
	others    []control.Peer
	shares    []control.Share
	passwords map[string]string // by share's name and right, with a blank between them
	loggedIn  bool
	kept      []control.Version // oldest first
	old       map[string]string // what the versions hold
	locks     map[control.Ref]control.FileLock
	blocked   control.List[control.Device]
	mounts    []control.Mount
}

var _ control.Backend = (*Fake)(nil)

// When is the time at which everything in a Fake happened.
func When() control.Time { return control.At(time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC)) }

// New makes the workgroup.
func New() *Fake {
	ref := func(s string) control.Ref {
		r, err := control.ParseRef(s)
		if err != nil {
			panic(err)
		}
		return r
	}
	return &Fake{
		State: control.Status{
			Name: "me", ID: "12D3KooWMeMeMeMeMeMe", Workgroup: "WORKGROUP", Version: "v1.2.3", Home: "/home/me/.local/state/peerd",
			Started: When(), Addrs: []string{"/ip4/10.0.0.1/tcp/4455"}, Shares: []control.Share{}, Peers: 3,
			Transfers: []control.Transfer{{Direction: "in", Ref: ref("//anna/docs/plan.txt"), Peer: "12D3KooWAnna4444anna", Bytes: 512, Total: 2048, Started: When()}},
			Parts:     []control.Part{{Name: "go-libp2p", Version: "v0.51.0"}},
			Limits:    control.Limits{Upload: 10_000_000},
		},
		others: []control.Peer{
			{Name: "anna", ID: "12D3KooWAnna4444anna", Workgroup: "WORKGROUP", Version: "v1.2.3", Verified: "handshake", Since: When(), Count: 2,
				Addrs: []string{"/ip4/10.0.0.2/tcp/4455"}, Ways: []string{"mdns"},
				Shares: []control.PeerShare{{Name: "docs", Comment: "papers", Right: control.Read}, {Name: "safe", Right: control.None}}},
			{Name: "bob", ID: "12D3KooWBob55555bob", Workgroup: "WORKGROUP", Verified: "no", Since: When(), Count: -1, Ways: []string{"static", "inbound"}},
			{Name: Hostile, ID: "12D3KooWEvil6666evil", Workgroup: "WORKGROUP", Verified: "no", Since: When(), Count: 0, Ways: []string{"mdns"}},
		},
		Findings: []control.Finding{
			{Level: control.OK, Check: "clock", Text: "within 2 ms of anna's"},
			{Level: control.Warn, Check: "multicast", Text: "nobody answers on wlan0", Hint: "join somebody by address: peerd --join HOST"},
		},
		Content: map[control.Ref]string{
			ref("//anna/docs/plan.txt"):            "the plan\n",
			ref("//anna/docs/notes/todo.txt"):      "buy milk\n",
			ref("//anna/docs/notes/日本.txt"):        "こんにちは\n",
			ref("//anna/docs/notes/old/1999.txt"):  "happy new year\n",
			ref("//anna/docs/" + Hostile + ".txt"): "boo\n",
			ref("//anna/docs/broken.bin"):          strings.Repeat("x", 1<<16),
			ref("//anna/safe/gold.txt"):            "au\n",
		},
		Events:     make(chan control.PeerEvent),
		FileEvents: make(chan control.FileEvent),
		Records:    records(),
		old:        make(map[string]string),
		locks:      map[control.Ref]control.FileLock{ref("//anna/docs/notes/todo.txt"): {Peer: "12D3KooWBob55555bob", Name: "bob", Since: When()}},
		passwords:  make(map[string]string),
	}
}

// Alone sends everybody else home.
func (f *Fake) Alone() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.others = nil
}

func (f *Fake) peers() []control.Peer {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.others
}

// Password is what was set for a right of a share.
func (f *Fake) Password(share string, right control.Right) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.passwords[share+" "+string(right)]
}

// check says whether something exists at ref and may be read, and what it is.
func (f *Fake) check(ref control.Ref) (control.Entry, error) {
	e := control.Entry{Ref: ref}
	fail := func(kind peer.Kind, err, hint string) (control.Entry, error) {
		return e, &peer.Error{Path: ref.String(), Kind: kind, Err: errors.New(err), Hint: hint}
	}
	if ref.Peer == "gone" {
		return fail(peer.Unreachable, "the peer does not answer", `run "peerd doctor"`)
	}
	others := f.peers()
	i := slices.IndexFunc(others, func(p control.Peer) bool { return p.Name == ref.Peer })
	if i < 0 {
		return fail(peer.NotFound, "no such peer", `run "peerd peers"`)
	}
	if e.Kind = control.KindPeer; ref.Share == "" {
		return e, nil
	}
	j := slices.IndexFunc(others[i].Shares, func(s control.PeerShare) bool { return s.Name == ref.Share })
	if j < 0 {
		return fail(peer.NotFound, "no such share", "")
	}
	e.Kind, e.Right, e.Comment = control.KindShare, f.right(ref), others[i].Shares[j].Comment
	if ref.Path == "" {
		return e, nil
	}
	if e.Right == control.None {
		return fail(peer.Denied, "this share wants a password", `run "peerd login `+ref.ShareRef().String()+`"`)
	}
	e.Right, e.Comment, e.ModTime = "", "", When()
	if text, ok := f.text(ref); ok {
		e.Kind, e.Size, e.Version, e.Lock = control.KindFile, int64(len(text)), "00112233445566778899aabbccddeeff", f.lock(ref)
		return e, nil
	}
	if len(f.below(ref)) > 0 {
		e.Kind = control.KindDir
		return e, nil
	}
	return fail(peer.NotFound, "no such file", "")
}

func (f *Fake) right(ref control.Ref) control.Right {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ref.Share == "safe" && !f.loggedIn {
		return control.None
	}
	return control.Read
}

// children are the refs right below ref, sorted.
func (f *Fake) children(ref control.Ref) []control.Ref {
	var out []control.Ref
	for _, p := range f.peers() {
		at := control.Ref{Peer: p.Name}
		if ref.IsZero() {
			out = append(out, at)
		}
		for _, s := range p.Shares {
			if ref == at {
				out = append(out, at.Join(s.Name))
			}
		}
	}
	for _, r := range f.below(ref) {
		if rest, ok := strings.CutPrefix(r.String(), ref.String()+"/"); ok && ref.Share != "" {
			name, _, _ := strings.Cut(rest, "/")
			out = append(out, ref.Join(name))
		}
	}
	slices.SortFunc(out, func(a, b control.Ref) int { return cmp.Compare(a.String(), b.String()) })
	return slices.Compact(out)
}

// List implements [control.Files].
func (f *Fake) List(_ context.Context, ref control.Ref, recursive bool) iter.Seq2[control.Entry, error] {
	return func(yield func(control.Entry, error) bool) {
		if !ref.IsZero() {
			e, err := f.check(ref)
			if err == nil && e.Kind == control.KindShare && e.Right == control.None {
				_, err = f.check(ref.Join("x"))
			}
			if err != nil || e.Kind == control.KindFile {
				yield(e, err)
				return
			}
		}
		var walk func(control.Ref) bool
		walk = func(at control.Ref) bool {
			for _, r := range f.children(at) {
				e, err := f.check(r)
				locked := err == nil && e.Kind == control.KindShare && e.Right == control.None
				if recursive && locked {
					_, err := f.check(r.Join("x"))
					e.Error = control.FromError(err)
				}
				if !yield(e, err) || err != nil || recursive && !locked && e.Kind != control.KindFile && !walk(r) {
					return false
				}
			}
			return true
		}
		walk(ref)
	}
}

// Stat implements [control.Files].
func (f *Fake) Stat(_ context.Context, ref control.Ref) (control.Entry, error) {
	e, err := f.check(ref)
	if err != nil {
		return control.Entry{}, err
	}
	if e.Kind == control.KindFile {
		e.Root = strings.Repeat("ab", 32)
	}
	return e, nil
}

// Find implements [control.Files].
func (f *Fake) Find(ctx context.Context, ref control.Ref, pattern string) iter.Seq2[control.Entry, error] {
	return func(yield func(control.Entry, error) bool) {
		for e, err := range f.List(ctx, ref, true) {
			if (err != nil || e.Error != nil || control.Match(pattern, e.Ref.Base())) && !yield(e, err) {
				return
			}
		}
	}
}

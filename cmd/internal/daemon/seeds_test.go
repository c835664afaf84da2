package daemon

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	"google.golang.org/protobuf/proto"

	"github.com/peerd/peerd/cmd/internal/daemon/ending"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/peer/peertest"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/sharepb"
	transferserve "github.com/peerd/peerd/transfer/serve"
	"github.com/peerd/peerd/transfer/transferpb"
)

// guest is a peer that asks by hand, with a grant that it keeps.
type guest struct {
	*host.Host
	t     *testing.T
	grant []byte
}

func newGuest(t *testing.T, owner *node, others ...*node) *guest {
	t.Helper()
	g := &guest{Host: newStranger(t, append(others, owner)...), t: t}
	var r sharepb.AuthResult
	g.ask(owner, serve.AuthProtocol, &sharepb.AuthHello{Share: "films", How: &sharepb.AuthHello_Open{Open: true}}, &r)
	if g.grant = r.Grant; r.Error != nil || len(r.Grant) == 0 {
		t.Fatalf("no grant: %v", r.Error)
	}
	return g
}

// newStranger is a peer that knows where daemons are, and that they know nothing of.
func newStranger(t *testing.T, daemons ...*node) *host.Host {
	t.Helper()
	h := peertest.Start(t)
	for _, n := range daemons {
		st, err := n.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var addrs []peer.Addr
		for _, s := range st.Addrs {
			addrs = append(addrs, ma.StringCast(s))
		}
		h.Learn(idOf(t, n), addrs)
	}
	return h
}

func idOf(t *testing.T, n *node) peer.ID {
	t.Helper()
	id, err := peer.ParseID(n.id)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (g *guest) ask(of *node, protocol string, request, reply proto.Message) {
	g.t.Helper()
	st, err := g.Open(g.t.Context(), idOf(g.t, of), protocol, 0)
	if err != nil {
		g.t.Fatal(err)
	}
	defer st.Reset()
	if err := st.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		g.t.Fatal(err)
	}
	if err := wire.WriteMsg(st, request); err != nil {
		g.t.Fatal(err)
	}
	in := wire.NewReader(st)
	if err := in.ReadMsg(reply, wire.MaxMsg); err != nil {
		g.t.Fatal(err)
	}
	if r, ok := reply.(*transferpb.GetReply); ok && r.Length > 0 {
		_, _ = in.Read(make([]byte, 1)) // it came, and the stream was of use
	}
}

// piece asks for the first piece of a film.
func (g *guest) piece(of *node, s control.Share, version string) error {
	g.t.Helper()
	id, err := hex.DecodeString(s.ID)
	if err != nil {
		g.t.Fatal(err)
	}
	v, err := hex.DecodeString(version)
	if err != nil {
		g.t.Fatal(err)
	}
	var r transferpb.GetReply
	g.ask(of, transferserve.GetProtocol, &transferpb.GetRequest{File: &transferpb.File{Share: id, Path: []string{"one"}, Grant: g.grant}, Version: v}, &r)
	return wire.ToError(r.Error)
}

// TestSeedsAreTold: those that give on files refuse who is denied or blocked at their owner soon after, and nobody else; and so do
// those that begin to give on later.
func TestSeedsAreTold(t *testing.T) {
	berta := start(t, "berta")
	berta.offer("films", map[string]string{"one": random(3<<20, 1)}, open)
	fetch := func(name string) *node {
		t.Helper()
		n := start(t, name, berta)
		n.sees(berta)
		_, err := n.copy(control.CopyRequest{Dest: t.TempDir()}, "//berta/films/one")
		works(t, "the copy of "+name, err)
		return n
	}
	carl := fetch("carl")
	all, err := berta.ShareList(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	e, err := carl.Stat(t.Context(), ref(t, "//berta/films/one"))
	if err != nil {
		t.Fatal(err)
	}
	anna, dora, eve := newGuest(t, berta, carl), newGuest(t, berta, carl), newGuest(t, berta, carl)
	for _, g := range []*guest{anna, dora, eve} {
		works(t, "before", g.piece(carl, all[0], e.Version))
	}
	refused := func(what string, g *guest, of *node, within time.Duration) {
		t.Helper()
		begin := time.Now()
		for {
			err := g.piece(of, all[0], e.Version)
			if peer.KindOf(err) == peer.Denied {
				t.Logf("%s: after %v", what, time.Since(begin).Round(time.Millisecond))
				return
			}
			if time.Since(begin) > within {
				t.Fatalf("%s: %v after %v", what, err, time.Since(begin))
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	_, err = berta.ShareDeny(t.Context(), "films", anna.ID().String(), true)
	works(t, "deny", err)
	refused("by the owner", anna, berta, soon)
	refused("by a seed", anna, carl, 20*time.Second)
	_, err = berta.Block(t.Context(), eve.ID().String(), true)
	works(t, "block", err)
	refused("who is blocked, by a seed", eve, carl, 20*time.Second)
	works(t, "another, by a seed", dora.piece(carl, all[0], e.Version))
	works(t, "another, by the owner", dora.piece(berta, all[0], e.Version))

	emil := fetch("emil")
	for _, g := range []*guest{anna, dora} {
		st, err := emil.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		g.Learn(idOf(t, emil), []peer.Addr{ma.StringCast(st.Addrs[0])})
	}
	refused("by one that came later", anna, emil, 2*ending.Again+soon)
	works(t, "another, by the one that came later", dora.piece(emil, all[0], e.Version))

	// The owner's word is taken back as well.
	_, err = berta.ShareDeny(t.Context(), "films", anna.ID().String(), false)
	works(t, "undo", err)
	until(t, "who is denied no more", func() bool { return anna.piece(carl, all[0], e.Version) == nil })
}

// TestSeedsTellNoHashes: who gives on a file says nothing of its hashes and keeps none as of an own file, and what earlier versions
// kept without asking whose it was is gone.
func TestSeedsTellNoHashes(t *testing.T) {
	berta := start(t, "berta")
	berta.offer("films", map[string]string{"one": random(3<<20, 1)}, open)
	carl := start(t, "carl", berta)
	carl.sees(berta)
	_, err := carl.copy(control.CopyRequest{Dest: t.TempDir()}, "//berta/films/one")
	works(t, "copy", err)
	all, err := berta.ShareList(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	e, err := carl.Stat(t.Context(), ref(t, "//berta/films/one"))
	works(t, "stat", err)
	id, err := hex.DecodeString(all[0].ID)
	works(t, "its ID", err)
	version, err := hex.DecodeString(e.Version)
	works(t, "its version", err)
	g := newGuest(t, berta, carl)
	works(t, "a piece", g.piece(carl, all[0], e.Version))
	for kind, q := range map[peer.Kind]*transferpb.ManifestRequest{
		peer.NotFound: {}, // here are versions of it, of which none is its present one
		peer.Usage:    {Version: version, Count: 48},
	} {
		q.File = &transferpb.File{Share: id, Path: []string{"one"}, Grant: g.grant}
		var r transferpb.ManifestReply
		if g.ask(carl, transferserve.ManifestProtocol, q, &r); peer.KindOf(wire.ToError(r.GetError())) != kind {
			t.Errorf("%d hashes of another's file: %v", q.Count, &r)
		}
	}
	if kept, err := os.ReadDir(filepath.Join(carl.cfg.State, "hashes")); err != nil || len(kept) > 0 {
		t.Errorf("%d files are taken for own, %v", len(kept), err)
	}
	old := filepath.Join(carl.cfg.State, "manifests")
	write(t, filepath.Join(old, e.Version), "of whom?")
	carl.restart()
	if _, err := os.Stat(old); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what earlier versions kept is there: %v", err)
	}
}

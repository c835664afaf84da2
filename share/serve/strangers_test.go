package serve_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/auth"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/grant"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/serve/edit"
	"github.com/peerd/peerd/share/serve/servetest"
	"github.com/peerd/peerd/share/sharepb"
	transferserve "github.com/peerd/peerd/transfer/serve"
	"github.com/peerd/peerd/transfer/transferpb"
)

// pipe is a stream within a bubble of synctest, where seconds pass in no time.
type pipe struct{ net.Conn }

func (p pipe) CloseWrite() error { return nil }
func (p pipe) Reset() error      { return p.Close() }
func (p pipe) Peer() peer.ID     { return "a stranger" }
func (p pipe) Remote() peer.Addr { return nil }

// TestFirstRequest: who showed no right on a stream yet is not waited for as long as who did.
func TestFirstRequest(t *testing.T) {
	service := transferserve.New(transferserve.Options{})
	for name, handler := range map[string]peer.Handler{
		"listing": serve.NewLister(nil, nil).Handle, "change": edit.New(edit.Options{}).Handle,
		"manifest": service.Manifest, "get": service.Get, "swarm": service.Swarm,
	} {
		synctest.Test(t, func(t *testing.T) {
			here, there := net.Pipe()
			defer here.Close()
			begin := time.Now()
			go func() { _, _ = here.Write([]byte{5}) }() // of a message that does not go on
			err := handler(t.Context(), pipe{there})
			if took := time.Since(begin); err == nil || took > 10*time.Second {
				t.Errorf("%s: it waited for %v: %v", name, took, err)
			}
		})
	}
}

// TestRightsAreWelcome: whoever shows a right, or gets one, is no stranger any more to who carries its streams; whoever shows
// none is.
func TestRightsAreWelcome(t *testing.T) {
	b := newBare(t, &files{err: errors.New("there is none")})
	b.offers.Add(serve.Offer{Info: share.Info{ID: share.ID{2: 2}, Name: "fun", Open: share.Read}, Epochs: grant.Epochs{Read: 1, Full: 1}})
	dummy, err := auth.NewDummy(bytes.Repeat([]byte("s"), 32))
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	service := transferserve.New(transferserve.Options{Auth: serve.NewBytes(b.gate), Log: quiet})
	lister := serve.NewLister(b.gate, serve.NewLocks())
	editor := edit.New(edit.Options{Gate: b.gate, Locks: serve.NewLocks(), Log: quiet})
	doorman := serve.NewDoorman(b.gate, dummy, new(auth.Throttle))
	file := func(g []byte) *transferpb.File {
		return &transferpb.File{Share: b.docs[:], Path: []string{"none"}, Grant: g}
	}
	for name, tt := range map[string]struct {
		handler peer.Handler
		ask     func(grant []byte) proto.Message
	}{
		"listing": {lister.Handle, func(g []byte) proto.Message {
			return &sharepb.Request{Share: b.docs[:], Grant: g, Verb: sharepb.Verb_VERB_STAT}
		}},
		"change": {editor.Handle, func(g []byte) proto.Message {
			return &sharepb.Change{Share: b.docs[:], Grant: g, Verb: sharepb.Verb_VERB_REMOVE}
		}},
		"get":      {service.Get, func(g []byte) proto.Message { return &transferpb.GetRequest{File: file(g)} }},
		"manifest": {service.Manifest, func(g []byte) proto.Message { return &transferpb.ManifestRequest{File: file(g)} }},
		"swarm": {service.Swarm, func(g []byte) proto.Message {
			return &transferpb.SwarmHello{Join: &transferpb.SwarmJoin{File: file(g)}}
		}},
		"login": {doorman.Handle, func(g []byte) proto.Message {
			name := "fun"
			if !bytes.Equal(g, b.grant) {
				name = "docs"
			}
			return &sharepb.AuthHello{Share: name, How: &sharepb.AuthHello_Open{Open: true}}
		}},
	} {
		for _, good := range []bool{true, false} {
			shown := bytes.Clone(b.grant)
			if !good {
				shown[len(shown)-1]++
			}
			st := &servetest.Stream{In: bytes.NewReader(servetest.Frames(t, tt.ask(shown))), ID: b.holder}
			_ = tt.handler(t.Context(), st)
			if (st.Welcomed > 0) != good {
				t.Errorf("%s, a right %v: welcomed %d times", name, good, st.Welcomed)
			}
		}
	}
}

// TestManyGrants: who asks again and again for what is open to all waits for the answer in the end.
func TestManyGrants(t *testing.T) {
	b := newBare(t, &files{})
	b.offers.Add(serve.Offer{Info: share.Info{ID: share.ID{2: 2}, Name: "fun", Open: share.Read}, Epochs: grant.Epochs{Read: 1, Full: 1}})
	synctest.Test(t, func(t *testing.T) {
		doorman := serve.NewDoorman(b.gate, auth.Dummy{}, new(auth.Throttle))
		ask := func(name string, n int) time.Duration {
			begin := time.Now()
			for range n {
				in := servetest.Frames(t, &sharepb.AuthHello{Share: name, How: &sharepb.AuthHello_Open{Open: true}})
				st := &servetest.Stream{In: bytes.NewReader(in), ID: b.holder}
				if err := doorman.Handle(t.Context(), st); err != nil || st.Welcomed != 1 {
					t.Fatalf("no grant: %v", err)
				}
			}
			return time.Since(begin)
		}
		if took := ask("fun", 200); took > 0 {
			t.Errorf("who needs many waits for %v", took)
		}
		if took := ask("fun", 200); took < 10*time.Second {
			t.Errorf("who asks for far more than it needs waits for %v", took)
		}
	})
}

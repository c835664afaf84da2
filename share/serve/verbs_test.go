package serve_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/peer/wire/wirepb"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/serve/edit"
	"github.com/peerd/peerd/share/serve/servetest"
	"github.com/peerd/peerd/share/sharepb"
	"github.com/peerd/peerd/transfer"
	transferserve "github.com/peerd/peerd/transfer/serve"
	"github.com/peerd/peerd/transfer/transferpb"
)

// asking asks an owner for one thing, with a grant for the share from a peer, and gives the refusal, or nil.
type asking struct {
	need share.Right
	ask  func(from *host.Host, id share.ID, grant []byte) error
}

// verbs are all things that can be asked of an owner.
func verbs(t *testing.T, w *servetest.World) map[string]asking {
	state := func(id share.ID) share.Entry {
		o, _ := w.Offers.ByID(id)
		e, err := o.FS.Stat(context.Background(), servetest.Path(t, "large"))
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	all := map[string]asking{
		"manifest": {share.Read, func(from *host.Host, id share.ID, grant []byte) error {
			var r transferpb.ManifestReply
			ask(t, w, from, transferserve.ManifestProtocol, &transferpb.ManifestRequest{File: file(id, grant, "large")}, &r)
			return refusal(r.GetError(), r.GetState() != nil)
		}},
		"piece": {share.Read, func(from *host.Host, id share.ID, grant []byte) error {
			var r transferpb.GetReply
			v := state(id).Version
			ask(t, w, from, transferserve.GetProtocol, &transferpb.GetRequest{File: file(id, grant, "large"), Version: v[:], Piece: 1}, &r)
			return refusal(r.GetError(), r.Length == transfer.MinPiece)
		}},
		"swarm": {share.Read, func(from *host.Host, id share.ID, grant []byte) error {
			var n transferpb.SwarmNews
			v := state(id).Version
			ask(t, w, from, transferserve.SwarmProtocol, &transferpb.SwarmHello{Join: &transferpb.SwarmJoin{File: file(id, grant, "large"), Version: v[:]}}, &n)
			return refusal(n.GetError(), n.All && len(n.Secret) > 0)
		}},
		"whole": {share.Read, func(from *host.Host, id share.ID, grant []byte) error {
			var r transferpb.GetReply
			ask(t, w, from, transferserve.GetProtocol, &transferpb.GetRequest{File: file(id, grant, "small"), Whole: true}, &r)
			return refusal(r.GetError(), r.Length == servetest.SmallSize)
		}},
		"manifest of a version": {share.Full, func(from *host.Host, id share.ID, grant []byte) error {
			var r transferpb.ManifestReply
			ask(t, w, from, transferserve.ManifestProtocol, &transferpb.ManifestRequest{File: file(id, grant, version(t, w, id)...)}, &r)
			return refusal(r.GetError(), r.GetState() != nil)
		}},
		"whole of a version": {share.Full, func(from *host.Host, id share.ID, grant []byte) error {
			var r transferpb.GetReply
			ask(t, w, from, transferserve.GetProtocol, &transferpb.GetRequest{File: file(id, grant, version(t, w, id)...), Whole: true}, &r)
			return refusal(r.GetError(), r.Length == servetest.SmallSize)
		}},
		"swarm of a version": {share.Full, func(from *host.Host, id share.ID, grant []byte) error {
			var n transferpb.SwarmNews
			v := state(id).Version
			err := wireError(t, w, from, id, grant, v, &n)
			if peer.KindOf(err) == peer.Conflict { // it is not that version, which it says to those alone that may know
				return nil
			}
			return err
		}},
	}
	for n, name := range sharepb.Verb_name {
		verb := sharepb.Verb(n)
		switch {
		case verb == sharepb.Verb_VERB_NONE:
		case serve.Need(verb) <= share.Full:
			all[name] = asking{serve.Need(verb), func(from *host.Host, id share.ID, grant []byte) error {
				var page sharepb.Page
				ask(t, w, from, serve.MetaProtocol, &sharepb.Request{Share: id[:], Grant: grant, Verb: verb}, &page)
				return refusal(page.Error, len(page.Entries) > 0 || page.Space.GetTotal() > 0)
			}}
		case edit.Need(verb) <= share.Full:
			all[name] = asking{edit.Need(verb), func(from *host.Host, id share.ID, grant []byte) error {
				m := changeOf(t, w, id, verb)
				m.Share, m.Grant, m.Verb = id[:], grant, verb
				var r sharepb.Changed
				more := []proto.Message{}
				fetched := verb == sharepb.Verb_VERB_PUT || verb == sharepb.Verb_VERB_AHEAD
				if fetched {
					more = append(more, &sharepb.PutItem{})
				}
				ask(t, w, from, edit.Protocol, m, &r, more...)
				given := r.Entry != nil || r.Cursor != nil || r.Version != nil || fetched && r.End && r.Error == nil
				return refusal(r.Error, given)
			}}
		default:
			t.Errorf("%s takes no right that anybody has, on any protocol", name)
		}
	}
	return all
}

// numbered makes names that are used once.
var numbered atomic.Int64

// changeOf is a change that succeeds where it is allowed.
func changeOf(t *testing.T, w *servetest.World, id share.ID, verb sharepb.Verb) *sharepb.Change {
	t.Helper()
	name := fmt.Sprintf("new-%d", numbered.Add(1))
	there := func() []string {
		if err := os.WriteFile(filepath.Join(w.Dir(id), name), []byte("there"), 0o600); err != nil {
			t.Fatal(err)
		}
		return []string{name}
	}
	to := []string{name + "-to"}
	switch verb {
	case sharepb.Verb_VERB_PUT:
		return &sharepb.Change{Upload: &sharepb.Upload{Id: make([]byte, 16), Token: []byte("token")}}
	case sharepb.Verb_VERB_AHEAD:
		return &sharepb.Change{Upload: &sharepb.Upload{Id: make([]byte, 16), Token: []byte("token"), Number: uint64(numbered.Add(1))}}
	case sharepb.Verb_VERB_MKDIR:
		return &sharepb.Change{Path: []string{name}}
	case sharepb.Verb_VERB_REMOVE:
		return &sharepb.Change{Path: there(), Base: &sharepb.Base{Any: true}}
	case sharepb.Verb_VERB_MOVE:
		return &sharepb.Change{Path: there(), Base: &sharepb.Base{Any: true}, To: to}
	case sharepb.Verb_VERB_TOUCH:
		yes := true
		return &sharepb.Change{Path: there(), Base: &sharepb.Base{Any: true}, Touch: &sharepb.Touch{Exec: &yes}}
	case sharepb.Verb_VERB_COPY:
		return &sharepb.Change{Path: there(), To: to}
	case sharepb.Verb_VERB_VERSIONS:
		return &sharepb.Change{Path: version(t, w, id)[1:]}
	case sharepb.Verb_VERB_RESTORE:
		v := version(t, w, id)
		_, text, _ := share.CutVersion(v)
		return &sharepb.Change{Path: v[1:], To: to, Version: text}
	case sharepb.Verb_VERB_WATCH:
		return &sharepb.Change{}
	case sharepb.Verb_VERB_LOCK:
		return &sharepb.Change{Path: there()}
	}
	t.Fatalf("no change is known for %v: give it a row", verb)
	return nil
}

// version gives what names a version of a file of the share that was removed.
func version(t *testing.T, w *servetest.World, id share.ID) []string {
	t.Helper()
	o, ok := w.Offers.ByID(id)
	if !ok {
		return share.VersionPath(servetest.Path(t, "removed"), "20260101-000000-0000")
	}
	sh, err := w.Edit(o)
	if err != nil {
		t.Fatal(err)
	}
	p := servetest.Path(t, "removed")
	for k, err := range sh.Editor.Versions(t.Context(), p, false) {
		if err != nil {
			t.Fatal(err)
		}
		return share.VersionPath(p, k.ID.String())
	}
	if err := os.WriteFile(filepath.Join(w.Dir(id), "removed"), make([]byte, servetest.SmallSize), 0o600); err != nil {
		t.Fatal(err)
	}
	for r := range sh.Editor.Remove(t.Context(), p, change.Base{Any: true}, false, change.By{}) {
		if r.Err != nil || r.Kept == 0 {
			t.Fatal(r)
		}
	}
	return version(t, w, id)
}

// wireError asks to join the swarm of an old version.
func wireError(t *testing.T, w *servetest.World, from *host.Host, id share.ID, grant []byte, v transfer.Version, n *transferpb.SwarmNews) error {
	ask(t, w, from, transferserve.SwarmProtocol, &transferpb.SwarmHello{Join: &transferpb.SwarmJoin{File: file(id, grant, version(t, w, id)...), Version: v[:]}}, n)
	return wire.ToError(n.GetError())
}

func file(id share.ID, grant []byte, path ...string) *transferpb.File {
	return &transferpb.File{Share: id[:], Path: path, Grant: grant}
}

func refusal(e *wirepb.Error, given bool) error {
	err := wire.ToError(e)
	if (err == nil) != given {
		return fmt.Errorf("an answer with %v that gives %v", err, given)
	}
	return err
}

func ask(t *testing.T, w *servetest.World, from *host.Host, protocol string, request, reply proto.Message, more ...proto.Message) {
	t.Helper()
	st, err := from.Open(context.Background(), w.Owner.ID(), protocol, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Reset()
	if err := st.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for _, m := range append([]proto.Message{request}, more...) {
		if err := wire.WriteMsg(st, m); err != nil {
			t.Fatal(err)
		}
	}
	if err := wire.NewReader(st).ReadMsg(reply, wire.MaxMsg); err != nil {
		t.Fatalf("%s: %v", protocol, err)
	}
}

// otherProtocol: a verb of one protocol is none on the other, whatever the right.
func otherProtocol(t *testing.T, w *servetest.World, id share.ID, grant []byte) {
	t.Helper()
	for n := range sharepb.Verb_name {
		verb := sharepb.Verb(n)
		if serve.Need(verb) > share.Full {
			var page sharepb.Page
			ask(t, w, w.Anna, serve.MetaProtocol, &sharepb.Request{Share: id[:], Grant: grant, Verb: verb}, &page)
			if err := wire.ToError(page.Error); peer.KindOf(err) != peer.Denied {
				t.Errorf("%v on %s: %v", verb, serve.MetaProtocol, err)
			}
		}
		if edit.Need(verb) > share.Full {
			var r sharepb.Changed
			ask(t, w, w.Anna, edit.Protocol, &sharepb.Change{Share: id[:], Grant: grant, Verb: verb}, &r)
			if err := wire.ToError(r.Error); peer.KindOf(err) != peer.Denied {
				t.Errorf("%v on %s: %v", verb, edit.Protocol, err)
			}
		}
	}
}

package owners

import (
	"log/slog"
	"testing"

	"github.com/peerd/peerd/cmd/internal/daemon/copying"
	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/remote"
	"github.com/peerd/peerd/share/remote/ticket"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/serve/servetest"
)

// TestAskRight: a right that the owner changed is known once it is asked, long before the grant that is held ends. An owner who is away
// is not asked.
func TestAskRight(t *testing.T) {
	w := servetest.New(t)
	allow := func(right share.Right) { w.Offers.Change("docs", func(o *serve.Offer) { o.Open = right }) }
	allow(share.Read)
	tickets, err := ticket.Open(t.TempDir(), w.Now(), func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	client, owner := remote.NewClient(w.Anna, w.Anna.ID(), tickets, w.Now), w.Owner.ID()
	a, err := client.Access(t.Context(), owner, "docs")
	if err != nil {
		t.Fatal(err)
	}
	c := newContact(t.Context(), owner, &wires{}, func() bool { return true }, func() {}, slog.New(slog.DiscardHandler))
	r := newRemote(&World{cfg: Config{Client: client}}, c, copying.Place{Peer: discovery.Peer{ID: owner}, Access: a})
	is := func(what string, want share.Right) {
		t.Helper()
		if _, err := client.Access(t.Context(), owner, "docs"); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if got := r.Right(); got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	is("at first", share.Read)
	allow(share.Full)
	is("before it is asked", share.Read)
	r.AskRight(t.Context())
	is("a right that grew", share.Full)
	allow(share.Read)
	c.out = true
	r.AskRight(t.Context())
	is("of who is away", share.Full)
	c.out = false
	r.AskRight(t.Context())
	is("a right that shrank", share.Read)

	r.refused = true // by an answer to something else
	client.Forget(owner, "docs")
	if got := r.Right(); got != share.None {
		t.Errorf("refused: %v", got)
	}
	r.AskRight(t.Context())
	client.Forget(owner, "docs")
	if got := r.Right(); got != share.Read {
		t.Errorf("refused, and given anew: %v", got)
	}
}

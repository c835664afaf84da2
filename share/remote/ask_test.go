package remote_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/grant"
	"github.com/peerd/peerd/share/remote"
	"github.com/peerd/peerd/share/remote/ticket"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/serve/servetest"
)

// between is a client in whose work something can be done once: before it opens a stream, or when an answer is there.
type between struct {
	*remote.Client
	*servetest.World
	owner  peer.ID
	mu     sync.Mutex
	opens  func()
	answer func()
}

// newBetween makes one that may read.
func newBetween(t *testing.T) *between {
	t.Helper()
	b := &between{World: servetest.New(t)}
	b.owner = b.World.Owner.ID()
	protect(t, b.World, "docs", "", fullPassword)
	b.allow(share.Read)
	tickets, err := ticket.Open(t.TempDir(), b.World.Now(), func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	b.Client = remote.NewClient(b, b.Anna.ID(), tickets, b.Now)
	if a, err := b.Access(t.Context(), b.owner, "docs"); err != nil || a.Right != share.Read {
		t.Fatalf("at first: %v, %v", a.Right, err)
	}
	return b
}

func (b *between) once(what *func()) {
	b.mu.Lock()
	do := *what
	*what = nil
	b.mu.Unlock()
	if do != nil {
		do()
	}
}

func (b *between) Open(ctx context.Context, id peer.ID, protocol string, lane int) (peer.Stream, error) {
	b.once(&b.opens)
	return b.Anna.Open(ctx, id, protocol, lane)
}

// Now is looked at when an answer is taken.
func (b *between) Now() time.Time {
	b.once(&b.answer)
	return b.World.Now()
}

func (b *between) allow(r share.Right) {
	b.Offers.Change("docs", func(o *serve.Offer) { o.Open = r })
}

func (b *between) login(t *testing.T, text string) {
	t.Helper()
	if a, err := b.Login(t.Context(), b.owner, "docs", password(t, text)); err != nil || a.Right != share.Full {
		t.Errorf("a login: %v, %v", a.Right, err)
	}
}

// holds looks at the right that is held.
func (b *between) holds(t *testing.T, want share.Right) {
	t.Helper()
	if a, ok := b.Held(b.owner, "docs"); !ok || a.Right != want {
		t.Errorf("held is %v, %v, want %v", a.Right, ok, want)
	}
}

// is looks at the right that there is.
func (b *between) is(t *testing.T, want share.Right) {
	t.Helper()
	if a, err := b.Access(t.Context(), b.owner, "docs"); err != nil || a.Right != want {
		t.Errorf("access is %v, %v, want %v", a.Right, err, want)
	}
	b.holds(t, want)
}

// TestAskIsLate: an answer is not taken for the newest when another one was asked for later.
func TestAskIsLate(t *testing.T) {
	for name, newer := range map[string]func(*testing.T, *between){
		"a login": func(t *testing.T, b *between) { b.login(t, fullPassword) },
		"a grant that was renewed": func(t *testing.T, b *between) {
			b.allow(share.Full)
			b.Pass(grant.MaxLife)
			b.is(t, share.Full)
		},
		"what was asked since": func(t *testing.T, b *between) {
			b.allow(share.Full)
			if a, err := b.Ask(t.Context(), b.owner, "docs"); err != nil || a.Right != share.Full {
				t.Errorf("asked once more: %v, %v", a.Right, err)
			}
		},
		"what was forgotten since": func(t *testing.T, b *between) {
			b.allow(share.Full)
			b.Forget(b.owner, "docs")
			b.is(t, share.Full)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBetween(t)
			b.answer = func() { newer(t, b) }
			if _, err := b.Ask(t.Context(), b.owner, "docs"); err != nil {
				t.Error(err)
			}
			b.is(t, share.Full)
		})
	}
}

// TestAskIsNewer: an answer is taken although another one, which was asked for before, came while the owner was asked.
func TestAskIsNewer(t *testing.T) {
	b := newBetween(t)
	answered, asked := make(chan struct{}), make(chan error, 1)
	b.answer = func() { // of the one that is asked first
		began := make(chan struct{})
		b.opens = func() { close(began); <-answered }
		go func() {
			_, err := b.Ask(context.Background(), b.owner, "docs")
			asked <- err
		}()
		<-began
	}
	if _, err := b.Ask(t.Context(), b.owner, "docs"); err != nil {
		t.Error(err)
	}
	b.is(t, share.Read)
	b.allow(share.Full)
	close(answered)
	if err := <-asked; err != nil {
		t.Error(err)
	}
	b.is(t, share.Full)
}

// TestLoginIsNewer: what was asked while a login went on says nothing of what the login gives.
func TestLoginIsNewer(t *testing.T) {
	b := newBetween(t)
	b.answer = func() {
		b.Pass(grant.MaxLife)
		b.is(t, share.Read)
	}
	b.login(t, fullPassword)
	b.is(t, share.Full)
}

// TestAskByOldTicket: a login that comes while the owner is asked by a ticket that is over stays, and so does its ticket.
func TestAskByOldTicket(t *testing.T) {
	b := newBetween(t)
	b.allow(share.None)
	b.login(t, fullPassword)
	const next = "granite-willow-sixty-lantern"
	protect(t, b.World, "docs", "", next)
	b.Offers.Change("docs", func(o *serve.Offer) { o.Epochs.Full++ })
	b.opens = func() { b.login(t, next) }
	if a, err := b.Ask(t.Context(), b.owner, "docs"); err != nil || a.Right != share.Full {
		t.Errorf("by the new ticket: %v, %v", a.Right, err)
	}
	b.is(t, share.Full)
	b.Forget(b.owner, "docs")
	b.is(t, share.Full) // by the ticket alone
}

// TestAskDenied: that there is no right by the word of before a login takes nothing away that the login gave.
func TestAskDenied(t *testing.T) {
	b := newBetween(t)
	b.allow(share.None)
	b.opens = func() { b.login(t, fullPassword) }
	if _, err := b.Ask(t.Context(), b.owner, "docs"); peer.KindOf(err) != peer.Denied {
		t.Errorf("without the login: %v", err)
	}
	b.holds(t, share.Full)
}

// TestAskKeeps: while the owner is asked, and where it does not answer, what is held is used by others, who wait for nothing.
func TestAskKeeps(t *testing.T) {
	b := newBetween(t)
	ctx, cancel := context.WithCancel(t.Context())
	b.opens = func() {
		done := make(chan struct{})
		go func() {
			defer close(done)
			b.allow(share.Full) // which who asks anew would see
			b.holds(t, share.Read)
			b.is(t, share.Read)
		}()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Error("others wait for the owner's answer")
		}
		cancel()
	}
	if a, err := b.Ask(ctx, b.owner, "docs"); err == nil {
		t.Errorf("the owner was not asked, and gave %v", a.Right)
	}
	b.is(t, share.Read)
}

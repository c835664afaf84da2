// Package giving tells owners what of theirs is given on here, and others what ends.
package giving

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/peerd/peerd/cmd/internal/daemon/ending"
	"github.com/peerd/peerd/cmd/internal/daemon/lan"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/share/remote"
	shareserve "github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/sharepb"
	"github.com/peerd/peerd/transfer/seed"
	transferserve "github.com/peerd/peerd/transfer/serve"
	"github.com/peerd/peerd/transfer/tracker"
	"github.com/peerd/peerd/transfer/transferpb"
)

// How often owners are told what of theirs is given on here: well before they forget it.
const (
	announceFirst = 5 * time.Second
	announceEvery = tracker.Linger / 3
	// announceFor is how long after its last use a file is announced: after that it is given to who finds it here.
	announceFor = 7 * 24 * time.Hour
)

// Giver is what it takes to tell. All must be set.
type Giver struct {
	Give   bool // whether anything is given on
	Host   *host.Host
	LAN    *lan.LAN
	Client *remote.Client
	Shelf  *seed.Shelf
	Seeds  *shareserve.Seeds
	Log    *slog.Logger
}

// Run tells owners what is given on here, until ctx ends.
func (g *Giver) Run(ctx context.Context) error {
	for wait := announceFirst; ; wait = announceEvery {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		for _, k := range g.Shelf.Shares() {
			if !g.Give || len(g.Shelf.Files(k.Share, time.Now().Add(-announceFor))) == 0 {
				continue
			}
			if len(k.Secret) > 0 {
				if err := g.LAN.Sources().Provide(ctx, transferserve.Rendezvous(k.Secret)); err != nil {
					g.Log.Debug("nobody beyond the network hears what is given on here", "err", err)
				}
			}
			if _, here := g.LAN.View().Get(k.Owner); !here {
				continue
			}
			if err := g.announceFiles(ctx, k); err != nil {
				g.Log.Debug("an owner does not hear what is given on here", "peer", k.Owner, "err", err)
			}
		}
	}
}

// RightEnded tells a peer which rights to a share of this one are over.
func (g *Giver) RightEnded(ctx context.Context, who peer.ID, m *sharepb.ShareState) error {
	return g.tell(ctx, who, shareserve.StateProtocol, func(st peer.Stream) error { return wire.WriteMsg(st, m) })
}

// tell opens a stream that is only written to, and waits until the other side has read it.
func (g *Giver) tell(ctx context.Context, who peer.ID, protocol string, say func(peer.Stream) error) error {
	st, err := g.Host.Open(ctx, who, protocol, 0)
	if err != nil {
		return err
	}
	defer st.Reset()
	stop := context.AfterFunc(ctx, func() { st.Reset() })
	defer stop()
	if err := st.SetDeadline(time.Now().Add(ending.For)); err != nil {
		return err
	}
	if err := say(st); err != nil {
		return err
	}
	if err := st.CloseWrite(); err != nil {
		return err
	}
	if _, err := st.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// RightsEnded takes in what the owner of a share says of its rights.
func (g *Giver) RightsEnded(ctx context.Context, st peer.Stream) error {
	err := g.Seeds.State(ctx, st)
	for _, k := range g.Shelf.Shares() {
		if k.Owner == st.Peer() {
			g.Client.Forget(k.Owner, k.Name)
		}
	}
	return err
}

// announceFiles tells the owner of a share which of its files are given on here.
func (g *Giver) announceFiles(ctx context.Context, k seed.Known) error {
	files := g.Shelf.Files(k.Share, time.Now().Add(-announceFor))
	sealed, err := g.Client.Grant(ctx, k.Owner, k.Name)
	if err != nil {
		return err
	}
	var addrs [][]byte
	for _, a := range g.Host.Addrs() {
		addrs = append(addrs, a.Bytes())
	}
	return g.tell(ctx, k.Owner, transferserve.SwarmProtocol, func(st peer.Stream) error {
		if err := wire.WriteMsg(st, &transferpb.SwarmHello{Announce: true}); err != nil {
			return err
		}
		for _, f := range files[:min(len(files), transferserve.MaxAnnounced)] {
			m := &transferpb.SwarmJoin{
				File: &transferpb.File{Share: f.Share[:], Path: f.Path, Grant: sealed}, Version: f.Version[:], Gives: true, Addrs: addrs,
			}
			if err := wire.WriteMsg(st, m); err != nil {
				return err
			}
			sealed = nil // once is enough for a stream
		}
		return nil
	})
}

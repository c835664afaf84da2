package daemon

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/peerd/peerd/cmd/internal/daemon/ending"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
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

// give tells owners what is given on here, until ctx ends.
func (d *daemon) give(ctx context.Context) error {
	for wait := announceFirst; ; wait = announceEvery {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		for _, k := range d.shelf.Shares() {
			if !d.cfg.Give || len(d.shelf.Files(k.Share, time.Now().Add(-announceFor))) == 0 {
				continue
			}
			if len(k.Secret) > 0 {
				if err := d.lan.Sources().Provide(ctx, transferserve.Rendezvous(k.Secret)); err != nil {
					d.log.Debug("nobody beyond the network hears what is given on here", "err", err)
				}
			}
			if _, here := d.lan.View().Get(k.Owner); !here {
				continue
			}
			if err := d.announceFiles(ctx, k); err != nil {
				d.log.Debug("an owner does not hear what is given on here", "peer", k.Owner, "err", err)
			}
		}
	}
}

// rightEnded tells a peer which rights to a share of this one are over.
func (d *daemon) rightEnded(ctx context.Context, who peer.ID, m *sharepb.ShareState) error {
	return d.tell(ctx, who, shareserve.StateProtocol, func(st peer.Stream) error { return wire.WriteMsg(st, m) })
}

// tell opens a stream that is only written to, and waits until the other side has read it.
func (d *daemon) tell(ctx context.Context, who peer.ID, protocol string, say func(peer.Stream) error) error {
	st, err := d.host.Open(ctx, who, protocol, 0)
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

// rightsEnded takes in what the owner of a share says of its rights.
func (d *daemon) rightsEnded(ctx context.Context, st peer.Stream) error {
	err := d.seeds.State(ctx, st)
	for _, k := range d.shelf.Shares() {
		if k.Owner == st.Peer() {
			d.client.Forget(k.Owner, k.Name)
		}
	}
	return err
}

// announceFiles tells the owner of a share which of its files are given on here.
func (d *daemon) announceFiles(ctx context.Context, k seed.Known) error {
	files := d.shelf.Files(k.Share, time.Now().Add(-announceFor))
	sealed, err := d.client.Grant(ctx, k.Owner, k.Name)
	if err != nil {
		return err
	}
	var addrs [][]byte
	for _, a := range d.host.Addrs() {
		addrs = append(addrs, a.Bytes())
	}
	return d.tell(ctx, k.Owner, transferserve.SwarmProtocol, func(st peer.Stream) error {
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

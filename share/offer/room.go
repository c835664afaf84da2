package offer

import (
	"context"
	"fmt"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share/registry"
	"github.com/peerd/peerd/share/serve"
)

// day is what a peer has put into a share since a moment, for its quota.
type day struct {
	begun time.Time
	bytes int64
}

// today is what a peer has put since its day began. Offers.mu is held.
func (f *files) today(who peer.ID) day {
	if d := f.days[who]; time.Since(d.begun) < 24*time.Hour {
		return d
	}
	return day{begun: time.Now()}
}

// Admit counts what a peer puts into a share, and refuses what is more than it may in a day. The count is of this run.
func (o *Offers) Admit(offer serve.Offer, who peer.ID, bytes int64) error {
	s, err := o.Registry.ByID(offer.ID)
	if err != nil || s.Settings.PeerQuota == 0 || who == o.Self {
		return err
	}
	f, err := o.files(s)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	d := f.today(who)
	if d.bytes+bytes > s.Settings.PeerQuota {
		again := time.Until(d.begun.Add(24 * time.Hour)).Round(time.Minute)
		return &peer.Error{Op: "put", Kind: peer.Full, Err: fmt.Errorf("a peer may put %d bytes a day into this share, and you have put %d", s.Settings.PeerQuota, d.bytes),
			Hint: fmt.Sprintf("try again in %v, or ask the owner to raise it", again)}
	}
	d.bytes += bytes
	f.days[who] = d
	return nil
}

// space is how much a share may hold, and how much more a peer may put there today.
func (o *Offers) space(ctx context.Context, s registry.Share, who peer.ID) (total, free int64, err error) {
	sh, err := o.Edit(serve.Offer{Info: s.Info()})
	if err != nil {
		return 0, 0, err
	}
	total, free, err = sh.Editor.Space(ctx)
	if f, ferr := o.files(s); err == nil && ferr == nil && s.Settings.PeerQuota > 0 {
		o.mu.Lock()
		defer o.mu.Unlock()
		free = min(free, max(0, s.Settings.PeerQuota-f.today(who).bytes))
	}
	return total, free, err
}

package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/registry"
	"github.com/peerd/peerd/share/setting"
)

// ShareAllow gives a peer a right without a password.
func (d *daemon) ShareAllow(ctx context.Context, name, who string, right control.Right) (control.Share, error) {
	r, err := share.ParseRight(string(right))
	if err != nil || r == share.None {
		return control.Share{}, &peer.Error{Op: "allow", Path: string(right), Kind: peer.Usage, Err: errors.New("no such right"), Hint: "it is read or full"}
	}
	return d.say(ctx, name, who, func(s registry.Share, id peer.ID) (registry.Share, error) {
		if d.offers.Registry.IsBlocked(id) {
			return s, blockedError(who)
		}
		return d.offers.Registry.Allow(s.ID, id, r, time.Now())
	})
}

// ShareDeny refuses a peer, or does so no more.
func (d *daemon) ShareDeny(ctx context.Context, name, who string, deny bool) (control.Share, error) {
	return d.say(ctx, name, who, func(s registry.Share, id peer.ID) (registry.Share, error) {
		if deny {
			return d.offers.Registry.Deny(s.ID, id, time.Now())
		}
		return d.offers.Registry.Undeny(s.ID, id, time.Now())
	})
}

// ShareResume ends a suspension.
func (d *daemon) ShareResume(ctx context.Context, name, who string) (control.Share, error) {
	return d.say(ctx, name, who, func(s registry.Share, id peer.ID) (registry.Share, error) {
		return d.offers.Registry.Resume(s.ID, id, time.Now())
	})
}

// say changes what is said of one device in one share.
func (d *daemon) say(ctx context.Context, name, who string, how func(registry.Share, peer.ID) (registry.Share, error)) (control.Share, error) {
	s, err := d.offers.Registry.Get(name)
	if err != nil {
		return control.Share{}, err
	}
	id, err := d.device(ctx, who, slices.Concat(
		slices.Collect(maps.Keys(s.Peers)), slices.Collect(maps.Keys(s.Denied)), slices.Collect(maps.Keys(s.Suspended))))
	if err != nil {
		return control.Share{}, err
	}
	if s, err = how(s, id); err != nil {
		return control.Share{}, named(err, who)
	}
	return d.shareOf(ctx, s), nil
}

// device finds the peer that a user means: one that is here, one of those that the registry names, or any by its whole ID.
func (d *daemon) device(ctx context.Context, who string, known []peer.ID) (peer.ID, error) {
	who = strings.TrimPrefix(who, "//")
	id, err := peer.ParseID(who)
	if err != nil {
		if id, err = d.partOf(who, known); err != nil {
			return "", err
		}
		// A peer that is here never stands behind one that is named in the registry, or the other way round.
		switch p, lookup := d.lan.Lookup(ctx, who); {
		case lookup == nil && id != "" && p.ID != id:
			return "", ambiguous(who, p.ID, id)
		case lookup == nil:
			id = p.ID
		case id == "" || peer.KindOf(lookup) != peer.NotFound:
			return "", lookup
		}
	}
	if id == d.host.ID() {
		return "", &peer.Error{Path: who, Kind: peer.Usage, Err: errors.New("it is this peer itself")}
	}
	return id, nil
}

// partOf finds the one ID that begins or ends with a text; none is no error.
func (d *daemon) partOf(who string, known []peer.ID) (found peer.ID, err error) {
	if len(who) < peer.ShortLen {
		return "", nil
	}
	for _, id := range known {
		if s := id.String(); !strings.HasPrefix(s, who) && !strings.HasSuffix(s, who) || id == found {
			continue
		}
		if found != "" {
			return "", ambiguous(who, found, id)
		}
		found = id
	}
	return found, nil
}

func ambiguous(who string, one, other peer.ID) error {
	return &peer.Error{Path: who, Kind: peer.Usage, Err: fmt.Errorf("it may be %s or %s", one, other), Hint: "name the peer by its whole ID"}
}

func blockedError(who string) error {
	return &peer.Error{Path: who, Kind: peer.Denied, Err: errors.New("the peer is blocked here"), Hint: fmt.Sprintf("run %q first", "peerd unblock "+who)}
}

// Block blocks a peer, or does so no more.
func (d *daemon) Block(ctx context.Context, who string, block bool) (control.Device, error) {
	reg := d.offers.Registry
	blocked := reg.Blocked()
	id, err := d.blockedAs(who, blocked)
	switch {
	case err != nil:
		return control.Device{}, err
	case id != "": // it is not among the peers that are here
	case block:
		if id, err = d.device(ctx, who, nil); err != nil {
			return control.Device{}, err
		}
	default:
		return control.Device{}, &peer.Error{Op: "unblock", Path: who, Kind: peer.NotFound, Err: errors.New("no such peer is blocked"), Hint: `run "peerd block"`}
	}
	if !block {
		out := deviceOf(id, blocked[id])
		return out, named(reg.Unblock(id), who)
	}
	err = reg.Block(id, peer.Name(d.nameOf(id)), time.Now())
	return deviceOf(id, reg.Blocked()[id]), named(err, who)
}

// blockedAs finds among those that are blocked the one that a user means; none is no error.
func (d *daemon) blockedAs(who string, blocked map[peer.ID]registry.Block) (peer.ID, error) {
	who = strings.TrimPrefix(who, "//")
	found, err := d.partOf(who, slices.Collect(maps.Keys(blocked)))
	for id, b := range blocked {
		if err != nil || id == found || !strings.EqualFold(string(b.Name), who) {
			continue
		}
		if found != "" {
			return "", ambiguous(who, found, id)
		}
		found = id
	}
	return found, err
}

// Blocked are those that are blocked.
func (d *daemon) Blocked(context.Context) ([]control.Device, error) {
	out := []control.Device{}
	for id, b := range d.offers.Registry.Blocked() {
		out = append(out, deviceOf(id, b))
	}
	slices.SortFunc(out, func(a, b control.Device) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return out, nil
}

func deviceOf(id peer.ID, b registry.Block) control.Device {
	return control.Device{ID: id.String(), Name: string(b.Name), Since: control.At(b.Since)}
}

// blocking takes in that a peer is blocked, or no more: what runs with it ends, and it is not known any more.
func (d *daemon) blocking(who peer.ID, blocked bool) {
	if blocked {
		d.lan.Drop(who)
		d.host.Disconnect(who)
	}
}

// nameOf is what a peer that is here calls itself.
func (d *daemon) nameOf(id peer.ID) string {
	if p, ok := d.lan.View().Get(id); ok {
		return string(p.Name)
	}
	return ""
}

func (d *daemon) shareOf(ctx context.Context, s registry.Share) control.Share {
	out := control.Share{
		Name: string(s.Name), ID: s.ID.String(), Dir: s.Dir, Comment: s.Comment, Hidden: !s.Visible(),
		Read: control.Mode(s.Slots.Read.String()), Full: control.Mode(s.Slots.Full.String()),
		Temporary: s.Ephemeral, Created: control.At(s.Created), Settings: settingsOf(s.Settings),
	}
	if bytes, count, err := d.offers.Versions(ctx, s.ID); err == nil {
		out.Versions = control.Versions{Count: count, Bytes: bytes}
	} else {
		d.log.Warn("it is not known how much room old versions take", "share", s.Name, "err", err)
	}
	if st, ok := d.offers.Watched(s.ID); ok {
		out.Watch = st.Why
	}
	for id, right := range s.Peers {
		out.Allowed = append(out.Allowed, control.Device{ID: id.String(), Name: d.nameOf(id), Right: control.Right(right.String())})
	}
	for id, since := range s.Denied {
		out.Denied = append(out.Denied, control.Device{ID: id.String(), Name: d.nameOf(id), Since: control.At(since)})
	}
	for id, since := range s.Suspended {
		out.Suspended = append(out.Suspended, control.Device{ID: id.String(), Name: d.nameOf(id), Since: control.At(since)})
	}
	for _, list := range []control.List[control.Device]{out.Allowed, out.Denied, out.Suspended} {
		slices.SortFunc(list, func(a, b control.Device) int { return cmp.Compare(a.ID, b.ID) })
	}
	return out
}

func settingsOf(s setting.Settings) control.Settings {
	seconds := func(d time.Duration) int64 {
		if d == setting.Unlimited {
			return setting.Unlimited
		}
		return int64(d / time.Second)
	}
	keep, brake := s.Retention(), s.Limit()
	out := control.Settings{
		Quota: s.Quota, PeerQuota: s.PeerQuota, VersionsAge: seconds(keep.Age), VersionsCount: keep.Count, VersionsShare: keep.Share,
		Brake: control.Brake{Off: brake.Off, Files: brake.Files, Percent: brake.Percent, Window: seconds(brake.Window)}, Set: s.Texts(),
	}
	switch s.Reserve {
	case 0:
	case setting.Unlimited:
		out.Reserve = new(int64)
	default:
		out.Reserve = &s.Reserve
	}
	return out
}

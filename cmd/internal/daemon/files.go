package daemon

import (
	"context"
	"errors"
	"io"
	"iter"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/peerd/peerd/cmd/internal/daemon/copying"
	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/remote"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/fetch"
)

// place is a Ref that was found.
type place = copying.Place

// find resolves a Ref with a share in it and gets in. An old version takes the full right.
func (d *daemon) find(ctx context.Context, ref control.Ref) (place, error) {
	if _, _, old := control.SplitVersion(ref); old {
		return d.findFull(ctx, ref)
	}
	return d.findBy(ctx, ref, d.client.Access)
}

// findFull is find for who wants to change something. A right that was less is asked for anew: it may be more by now.
func (d *daemon) findFull(ctx context.Context, ref control.Ref) (place, error) {
	at, err := d.findBy(ctx, ref, d.client.Access)
	if err == nil && at.Access.Right < share.Full {
		d.client.Forget(at.Peer.ID, at.Access.Name)
		at, err = d.findBy(ctx, ref, d.client.Access)
	}
	if err == nil {
		err = copying.Writable(at)
	}
	return at, err
}

func (d *daemon) findBy(ctx context.Context, ref control.Ref, access func(context.Context, peer.ID, string) (remote.Access, error)) (place, error) {
	if ref.Peer == "" || ref.Share == "" {
		return place{}, &peer.Error{Path: ref.String(), Kind: peer.Usage, Err: errors.New("it names no share"), Hint: "write //PEER/SHARE/PATH"}
	}
	p, err := d.lookup(ctx, ref.Peer)
	if err != nil {
		return place{}, err
	}
	return d.enter(ctx, p, ref, access)
}

// lookup finds a peer, be it this one.
func (d *daemon) lookup(ctx context.Context, who string) (discovery.Peer, error) {
	if who == d.host.ID().String() {
		return d.own(), nil
	}
	if _, err := d.lan.View().Lookup(who); peer.KindOf(err) == peer.NotFound && strings.EqualFold(who, string(d.cfg.Name)) {
		return d.own(), nil
	}
	return d.lan.Lookup(ctx, who)
}

// own is this peer, as others are known.
func (d *daemon) own() discovery.Peer {
	return discovery.Peer{ID: d.host.ID(), Name: d.cfg.Name, Workgroup: d.cfg.Workgroup, Version: d.cfg.Version, Since: d.started, Count: -1}
}

// enter is findBy for who knows whose share it is.
func (d *daemon) enter(ctx context.Context, p discovery.Peer, ref control.Ref, access func(context.Context, peer.ID, string) (remote.Access, error)) (place, error) {
	ref, version, _ := control.SplitVersion(ref)
	path, err := share.SplitPath(ref.Path)
	if err != nil {
		return place{}, err
	}
	at := place{Peer: p, Path: path, Ref: ref.ShareRef(), Version: version}
	at.Access, err = access(ctx, p.ID, ref.Share)
	return at, d.explain(ctx, p, ref, err)
}

// explain says what a refusal means to the user: a share that nobody told us of is not there, as far as we may know.
func (d *daemon) explain(ctx context.Context, p discovery.Peer, ref control.Ref, err error) error {
	label := ref.ShareRef().String()
	if peer.KindOf(err) != peer.Denied {
		return named(err, label)
	}
	listed, asked := d.lan.Shares(ctx, p, true)
	there := slices.ContainsFunc(listed, func(s share.Info) bool {
		return share.FoldKey(string(s.Name)) == share.FoldKey(ref.Share)
	})
	if !there && asked == nil {
		return &peer.Error{Path: label, Kind: peer.NotFound, Err: errors.New("no share of this name is listed"),
			Hint: `"peerd ls //` + ref.Peer + `" lists them; a hidden one opens with "peerd login ` + label + `"`}
	}
	return &peer.Error{Path: label, Kind: peer.Denied, Err: errors.New("this share wants a password"), Hint: `run "peerd login ` + label + `"`}
}

// named gives an error the name that the user has for what it is about.
func named(err error, label string) error {
	var e *peer.Error
	if !errors.As(err, &e) {
		return err
	}
	return &peer.Error{Op: e.Op, Path: label, Kind: e.Kind, Err: e.Err, Hint: e.Hint}
}

// ended says what an error of a transfer means to the user.
func (d *daemon) ended(at place, err error) error {
	var e *peer.Error
	if errors.As(err, &e) && e.Kind == peer.Denied && (e.Path == "" || control.IsRemote(e.Path)) {
		d.client.Forget(at.Peer.ID, at.Access.Name)
		return remote.Revoked(at.Label())
	}
	return err
}

// List yields peers, shares, or what is in a folder.
func (d *daemon) List(ctx context.Context, ref control.Ref, recursive bool) iter.Seq2[control.Entry, error] {
	switch {
	case ref.Peer == "":
		return d.listPeers(ctx, recursive)
	case ref.Share == "":
		return d.listPeer(ctx, ref, recursive)
	}
	return d.listFolder(ctx, ref, recursive)
}

func (d *daemon) listPeers(ctx context.Context, recursive bool) iter.Seq2[control.Entry, error] {
	return func(yield func(control.Entry, error) bool) {
		d.lan.Gather(ctx)
		peers := d.lan.View().Snapshot()
		names := make(map[peer.Name]int)
		for _, p := range peers {
			names[p.Name]++
		}
		for i, shares := range d.offered(ctx, peers) {
			ref := control.Ref{Peer: string(peers[i].Name)}
			if names[peers[i].Name] > 1 {
				ref.Peer = peers[i].ID.String() // the name alone would not do
			}
			if !yield(control.Entry{Ref: ref, Kind: control.KindPeer, Comment: string(peers[i].Name)}, nil) {
				return
			}
			if !d.yieldShares(ctx, peers[i], ref, shares, recursive, yield) {
				return
			}
		}
	}
}

func (d *daemon) listPeer(ctx context.Context, ref control.Ref, recursive bool) iter.Seq2[control.Entry, error] {
	return func(yield func(control.Entry, error) bool) {
		p, err := d.lookup(ctx, ref.Peer)
		if err != nil {
			yield(control.Entry{}, err)
			return
		}
		listed, err := d.lan.Shares(ctx, p, true)
		if !d.yieldShares(ctx, p, ref, d.lan.All(p, listed), recursive, yield) {
			return
		}
		if err != nil { // what is known of it was told
			yield(control.Entry{}, named(err, ref.String()))
		}
	}
}

func (d *daemon) yieldShares(ctx context.Context, p discovery.Peer, ref control.Ref, shares []share.Info, recursive bool, yield func(control.Entry, error) bool) bool {
	for _, s := range shares {
		right := d.lan.Right(p.ID, s)
		if p.ID == d.host.ID() {
			right = share.Full
		}
		at := ref.Join(string(s.Name))
		if !yield(control.Entry{Ref: at, Kind: control.KindShare, Right: control.Right(right.String()), Comment: s.Comment}, nil) {
			return false
		}
		if !recursive || right == share.None {
			continue
		}
		for e, err := range d.listFolder(ctx, at, true) {
			if err != nil {
				e = control.Entry{Ref: at, Kind: control.KindShare, Error: control.FromError(err)}
			}
			if !yield(e, nil) {
				return false
			}
		}
	}
	return true
}

func (d *daemon) listFolder(ctx context.Context, ref control.Ref, recursive bool) iter.Seq2[control.Entry, error] {
	return func(yield func(control.Entry, error) bool) {
		at, err := d.find(ctx, ref)
		if err != nil {
			yield(control.Entry{}, err)
			return
		}
		fs := d.client.FS(at.Access, at.Label())
		if !at.Path.IsRoot() {
			e, err := fs.Stat(ctx, at.Path)
			if err != nil || e.Kind == share.File {
				yield(copying.EntryOf(ref, e), err)
				return
			}
		}
		entries := fs.List(ctx, at.Path)
		if recursive {
			entries = fs.WalkOn(ctx, at.Path, 0)
		}
		for e, err := range entries {
			if err != nil {
				yield(control.Entry{}, err)
				return
			}
			if !yield(copying.EntryOf(control.Ref{Peer: ref.Peer, Share: ref.Share, Path: e.Path.String()}, e), nil) {
				return
			}
		}
	}
}

// Stat tells of one thing.
func (d *daemon) Stat(ctx context.Context, ref control.Ref) (control.Entry, error) {
	switch {
	case ref.Peer == "":
		return control.Entry{}, &peer.Error{Path: ref.String(), Kind: peer.Usage, Err: errors.New("it names nothing"), Hint: "write //PEER/SHARE/PATH"}
	case ref.Share == "":
		p, err := d.lookup(ctx, ref.Peer)
		return control.Entry{Ref: ref, Kind: control.KindPeer, Comment: string(p.Name)}, err
	}
	at, err := d.find(ctx, ref)
	if err != nil {
		return control.Entry{}, err
	}
	if at.Path.IsRoot() {
		return control.Entry{Ref: ref, Kind: control.KindShare, Right: control.Right(at.Access.Right.String())}, nil
	}
	e, err := copying.Stat(ctx, d.client.FS(at.Access, at.Label()), at)
	if err != nil {
		return control.Entry{}, err
	}
	out := copying.EntryOf(ref, e)
	out.Root = copying.RootOf(d.host.ID(), d.hashes, d.shelf, at, e)
	return out, nil
}

// Find yields what has a matching name.
func (d *daemon) Find(ctx context.Context, ref control.Ref, pattern string) iter.Seq2[control.Entry, error] {
	return func(yield func(control.Entry, error) bool) {
		for e, err := range d.List(ctx, ref, true) {
			if err != nil {
				yield(e, err)
				return
			}
			if (e.Error != nil || control.Match(pattern, e.Ref.Base())) && !yield(e, nil) {
				return
			}
		}
	}
}

// Cat writes a part of a file.
func (d *daemon) Cat(ctx context.Context, ref control.Ref, offset, length int64, w io.Writer) error {
	if offset < 0 {
		return &peer.Error{Path: ref.String(), Kind: peer.Usage, Err: errors.New("a file begins at byte 0")}
	}
	at, err := d.find(ctx, ref)
	if err != nil {
		return err
	}
	// Most files are small, and come at once: on a busy network each question costs as long as all that waits in its queues.
	out := &counter{w: w}
	to := int64(-1)
	if length >= 0 && length <= math.MaxInt64-offset {
		to = offset + length
	}
	err = d.read(ctx, at, time.Nanosecond, 0, 0, offset, to, out) // who is away now is told of at once
	if out.n == 0 && peer.KindOf(err) == peer.Denied && ctx.Err() == nil {
		// What was granted before ended; there may be a right even so, as of what is open to all or allowed to this device.
		if again, refused := d.find(ctx, ref); refused == nil {
			at = again
			err = d.read(ctx, at, time.Nanosecond, 0, 0, offset, to, out)
		}
	}
	if err == nil || out.n > 0 || ctx.Err() != nil || peer.KindOf(err) == peer.Denied || peer.KindOf(err) == peer.Unreachable {
		return err
	}
	e, err := copying.Stat(ctx, d.client.FS(at.Access, at.Label()), at)
	if err != nil {
		return err
	}
	if e.Kind != share.File {
		return &peer.Error{Path: ref.String(), Kind: peer.Usage, Err: errors.New("it is a folder"), Hint: `list it with "peerd ls"`}
	}
	return d.read(ctx, at, 0, min(1, e.Size/transfer.SmallFile), e.Size, offset, to, w)
}

// read writes a part of a file of about that size, which comes on a lane. 0 is the usual patience.
func (d *daemon) read(ctx context.Context, at place, patience time.Duration, lane, size, from, to int64, w io.Writer) error {
	f := d.fetch(ctx, at, 0, fetch.Options{Lanes: 1, First: int(lane), Patience: patience})
	defer f.Close()
	return d.ended(at, f.Read(ctx, at.Components(), size, from, to, w))
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

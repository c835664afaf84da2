// Package auditing has written down what is done to the shares of this peer, and shows it.
package auditing

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/audit"
	"github.com/peerd/peerd/peer/audit/journal"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/offer"
	"github.com/peerd/peerd/share/registry"
	shareserve "github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/watch"
)

// unaudited is how long files may be read while the audit can't be written; changed they are not at all.
const unaudited = time.Minute

// Book is the audit of this peer, and the part of the API that shows it; see [control.Audit].
type Book struct {
	log  *slog.Logger
	dir  string
	book *journal.Log
	seen *seen

	mu   sync.RWMutex
	name func(peer.ID) peer.Name // what a peer calls itself
	addr map[peer.ID]string      // where peers are connected from
}

// Open opens the audit in a folder, and has written down there what happens to offers.
func Open(dir string, key crypto.PrivKey, offers *offer.Offers, log *slog.Logger) (*Book, error) {
	book, err := journal.Open(dir, key, journal.Options{Log: log})
	if err != nil {
		return nil, err
	}
	before, err := openSeen(filepath.Join(dir, "seen"))
	if err != nil {
		log.Warn("the peers that were here before are met as if for the first time", "err", err)
	}
	b := &Book{log: log, dir: dir, book: book, seen: before, addr: make(map[peer.ID]string), name: func(id peer.ID) peer.Name { return peer.Name(peer.Short(id)) }}
	book.Add(audit.Event{Kind: audit.KindStart, Result: audit.OK})
	offers.Hooks = offer.Hooks{Changed: b.changed, Noticed: b.noticed, Braked: b.braked}
	offers.Registry.OnChange(b.shares)
	offers.Registry.OnBlock(b.blocked)
	return b, nil
}

// Meet has the book know peers by their names, and by where they are connected from.
func (b *Book) Meet(h *host.Host, name func(peer.ID) peer.Name) {
	b.mu.Lock()
	b.name = name
	b.mu.Unlock()
	h.OnConnect(func(id peer.ID, addr peer.Addr, _ bool) {
		text := addr.String()
		if ip, err := manet.ToNetAddr(addr); err == nil {
			text = ip.String()
		}
		b.mu.Lock()
		b.addr[id] = text
		b.mu.Unlock()
		b.met(id)
	})
	h.OnDisconnect(func(id peer.ID) {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.addr, id)
	})
}

// met writes down a peer that proved its ID here for the first time.
func (b *Book) met(id peer.ID) {
	first, err := b.seen.first(id)
	if err != nil {
		b.log.Debug("a peer will be met as if for the first time again", "err", err)
	}
	if first {
		b.about(id, audit.Event{Kind: audit.KindPeerSeen, Result: audit.OK})
	}
}

// Clash writes down that a peer proved that it calls itself like another that did, which may be this one.
func (b *Book) Clash(id, other peer.ID) {
	b.about(id, audit.Event{Kind: audit.KindPeerClash, Result: peer.Conflict.String(), Why: "another peer has this name: " + other.String()})
}

// Password writes down that the owner set a password, or took one away.
func (b *Book) Password(s registry.Share, right share.Right, set bool) {
	e := audit.Event{Kind: audit.KindPassword, Share: string(s.Name), ShareID: s.ID.String(), Right: right.String(), Epoch: s.Epochs.Of(right), Result: audit.OK, Why: "set"}
	if !set {
		e.Why = "taken away"
	}
	b.book.Add(e)
}

// Mounted writes down that what is named by a label was mounted in a place, or is not any more, or could not be.
func (b *Book) Mounted(label, at, why string, err error) {
	b.book.Add(audit.Event{Kind: audit.KindMount, Share: label, To: at, Result: audit.ResultOf(err), Why: why})
}

// about adds an event that is of a peer.
func (b *Book) about(id peer.ID, e audit.Event) {
	e.Peer = id
	e.Name, e.Addr = b.who(id)
	b.book.Add(e)
}

// who is a peer's own word for itself, and where it is connected from.
func (b *Book) who(id peer.ID) (name, addr string) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return string(b.name(id)), b.addr[id]
}

// Dir is the folder of the audit.
func (b *Book) Dir() string { return b.dir }

// Close writes the last record.
func (b *Book) Close() {
	b.book.Add(audit.Event{Kind: audit.KindStop, Result: audit.OK})
	if err := b.book.Close(); err != nil {
		b.log.Error("the audit did not close in order", "err", err)
	}
}

// may says why nothing that takes a right may happen while the audit can't be written.
func (b *Book) may(need share.Right) error {
	since, err := b.book.Failing()
	if err == nil || need < share.Full && time.Since(since) < unaudited {
		return nil
	}
	return &peer.Error{Op: "audit", Kind: peer.Other, Err: errors.New("the owner's peerd can't write down what is done, so nothing may be"),
		Hint: "the owner has to make room on the disk that peerd keeps its state on"}
}

// Gate is what a gate writes to.
func (b *Book) Gate() shareserve.Audit {
	return shareserve.Audit{Recorder: b.book, May: b.may, Who: b.who}
}

// kindOfVerb is the event that a change is.
func kindOfVerb(verb string) audit.Kind {
	switch verb {
	case "rm":
		return audit.KindDelete
	case "mv":
		return audit.KindRename
	case "cp":
		return audit.KindCopy
	case "mkdir":
		return audit.KindMkdir
	case "touch":
		return audit.KindTouch
	case "restore":
		return audit.KindRestore
	case "undo":
		return audit.KindUndo
	}
	return audit.KindWrite
}

// changed writes down a change.
func (b *Book) changed(s registry.Share, c change.Change) {
	e := audit.Event{
		Kind: kindOfVerb(c.Verb), Share: string(s.Name), ShareID: s.ID.String(), Path: c.Path.String(), Result: audit.OK,
		Bytes: c.After.Size, Before: shareserve.VersionText(c.Before.Version), After: shareserve.VersionText(c.After.Version),
	}
	if !c.To.IsRoot() {
		e.To = c.To.String()
	}
	if c.By.Peer != "" {
		e.Peer, e.Right = c.By.Peer, share.Full.String()
		e.Name, e.Addr = b.who(c.By.Peer)
	}
	b.book.Add(e)
}

// noticed writes down what the owner's own programs changed.
func (b *Book) noticed(s registry.Share, ev watch.Event, before share.Entry) {
	b.book.Add(audit.Event{
		Kind: audit.KindChange, Share: string(s.Name), ShareID: s.ID.String(), Path: ev.Entry.Path.String(), Result: audit.OK, Why: ev.Kind.String(),
		Before: shareserve.VersionText(before.Version), After: shareserve.VersionText(ev.Entry.Version),
	})
}

// braked tells the owner of a peer that changed too much.
func (b *Book) braked(s registry.Share, who peer.ID) {
	name, addr := b.who(who)
	b.book.Add(audit.Event{
		Kind: audit.KindBrake, Peer: who, Name: name, Addr: addr, Share: string(s.Name), ShareID: s.ID.String(), Result: audit.OK,
		Why: "it changed many files in a short time: it may only read now",
	})
	b.log.Warn(fmt.Sprintf(`%s changed much of the share %s in a short time and may only read it now; see "peerd audit --share %s --peer %s"; `+
		`"peerd share undo %s --peer %s --since 1h" puts back what was there, "peerd share resume %s %s" lets it write again`,
		peer.Quote(name), s.Name, s.Name, who, s.Name, who, s.Name, who), "peer", who)
}

// shares writes down what the owner does to the shares.
func (b *Book) shares(before, after *registry.Share) {
	add := func(s *registry.Share, kind audit.Kind, right share.Right, epoch uint64) {
		e := audit.Event{Kind: kind, Share: string(s.Name), ShareID: s.ID.String(), Epoch: epoch, Result: audit.OK}
		if right != share.None {
			e.Right = right.String()
		}
		b.book.Add(e)
	}
	switch {
	case before == nil:
		add(after, audit.KindShareAdd, share.None, 0)
	case after == nil:
		add(before, audit.KindShareRm, share.None, 0)
	default:
		raised := false
		for _, right := range []share.Right{share.Read, share.Full} {
			if now := after.Epochs.Of(right); now != before.Epochs.Of(right) {
				add(after, audit.KindEpoch, right, now)
				raised = true
			}
		}
		switch {
		case raised, suspended(before, after) != nil: // which braked tells
		case suspended(after, before) != nil:
			for _, id := range suspended(after, before) {
				b.resumed(after, id)
			}
		default:
			add(after, audit.KindShareSet, share.None, 0)
		}
	}
}

// suspended are those whose full right was not suspended before, and is after.
func suspended(before, after *registry.Share) (who []peer.ID) {
	for id := range after.Suspended {
		if _, was := before.Suspended[id]; !was {
			who = append(who, id)
		}
	}
	return who
}

// resumed writes down that the owner lets a peer write again.
func (b *Book) resumed(s *registry.Share, who peer.ID) {
	b.about(who, audit.Event{
		Kind: audit.KindBrake, Share: string(s.Name), ShareID: s.ID.String(), Result: audit.OK, Why: "the owner lets it write again",
	})
}

// blocked writes down who is blocked.
func (b *Book) blocked(who peer.ID, blocked bool) {
	e := audit.Event{Kind: audit.KindPeerBlocked, Result: audit.OK, Why: "blocked"}
	if !blocked {
		e.Why = "blocked no more"
	}
	b.about(who, e)
}

// AuditRecords yields what the audit holds.
func (b *Book) AuditRecords(ctx context.Context, filter control.AuditFilter) iter.Seq2[control.AuditRecord, error] {
	return func(yield func(control.AuditRecord, error) bool) {
		f := journal.Filter{Share: filter.Share, Peer: filter.Peer, Since: filter.Since.Time, Follow: filter.Follow}
		for _, k := range filter.Events {
			if known := audit.Kinds(); !slices.Contains(known, audit.Kind(k)) {
				yield(control.AuditRecord{}, &peer.Error{Path: k, Kind: peer.Usage, Err: errors.New("there is no such event"),
					Hint: fmt.Sprint("events are ", known)})
				return
			}
			f.Kinds = append(f.Kinds, audit.Kind(k))
		}
		if err := b.book.Flush(ctx); err != nil {
			b.log.Debug("the audit could not be written out", "err", err)
		}
		for r, err := range journal.Read(ctx, b.dir, f) {
			if err != nil && ctx.Err() != nil {
				return
			}
			if !yield(auditRecord(r), err) || err != nil {
				return
			}
		}
	}
}

func auditRecord(r audit.Record) control.AuditRecord {
	out := control.AuditRecord{
		Seq: r.Seq, Time: control.At(r.Time), Event: string(r.Kind), Name: r.Name, Addr: r.Addr, Share: r.Share, Path: r.Path, To: r.To,
		Right: control.Right(r.Right), Bytes: r.Bytes, Before: r.Before, After: r.After, Result: r.Result, Why: r.Why, Count: int(r.Count),
	}
	if r.Peer != "" {
		out.Peer = r.Peer.String()
	}
	return out
}

// AuditVerify looks at all of the audit.
func (b *Book) AuditVerify(ctx context.Context) (control.AuditReport, error) {
	if err := b.book.Flush(ctx); err != nil {
		return control.AuditReport{}, err
	}
	r, err := b.book.Verify(ctx)
	return control.AuditReport{
		Records: r.Records, Files: r.Files, From: control.At(r.From), To: control.At(r.To), Signed: r.Checkpoint.Seq,
	}, err
}

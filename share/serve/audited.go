package serve

import (
	"encoding/hex"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/audit"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/grant"
	"github.com/peerd/peerd/transfer"
)

// Recorder keeps what happens.
type Recorder interface{ Add(audit.Event) }

// Audit is where a gate has written down what happens at it, and who is who.
type Audit struct {
	Recorder Recorder
	// Who is a peer's own word for itself, and where it is connected from.
	Who func(peer.ID) (name, addr string)
	// May says why nothing may happen while the audit can't be written: nothing that takes the right.
	May func(need share.Right) error
}

// AuditTo has all that happens at the gate written down. It is called before anything is served.
func (g *Gate) AuditTo(a Audit) { g.audit = a }

// record completes an event with who it is about, and has it written down.
func (g *Gate) record(who peer.ID, e audit.Event) {
	if g.audit.Recorder == nil {
		return
	}
	e.Peer = who
	e.Name, e.Addr = g.audit.Who(who)
	g.audit.Recorder.Add(e)
}

// Record has written down what was done by the right of the pass.
func (p *Pass) Record(o Offer, e audit.Event) {
	e.Share, e.ShareID = string(o.Name), o.ID.String()
	e.Right, e.Epoch, e.Serial = p.grant.Right.String(), p.grant.Epoch, p.grant.Serial.String()
	p.gate.record(p.grant.Holder, e)
}

// Refuse has written down that a right was asked for that the pass does not give.
func (p *Pass) Refuse(path share.Path, why string) {
	if o, ok := p.gate.offers.ByID(p.grant.Share); ok {
		p.Record(o, audit.Event{Kind: audit.KindRefused, Path: path.String(), Result: peer.Denied.String(), Why: why})
	}
}

// refuse has a refusal written down, to a share of ours.
func (g *Gate) refuse(who peer.ID, id share.ID, why string) {
	if g.audit.Recorder == nil {
		return
	}
	if o, ok := g.offers.ByID(id); ok {
		g.record(who, audit.Event{Kind: audit.KindRefused, Share: string(o.Name), ShareID: id.String(), Result: peer.Denied.String(), Why: why})
	}
}

// byTicket is why somebody has a grant who showed a ticket.
const byTicket = "by a ticket"

// let has written down how a login ended, by a sealed grant or without one. How says what the grant was given for.
func (g *Gate) let(who peer.ID, kind audit.Kind, name string, sealed []byte, how string, err error) {
	if g.audit.Recorder == nil {
		return
	}
	e := audit.Event{Kind: kind, Share: name, Result: audit.ResultOf(err), Why: how}
	o, known := g.offers.Named(name)
	if gr, bad := grant.Open(sealed, g.self); bad == nil {
		e.Right, e.Epoch, e.Serial = gr.Right.String(), gr.Epoch, gr.Serial.String()
		o, known = g.offers.ByID(gr.Share)
	}
	switch {
	case known:
		e.Share, e.ShareID = string(o.Name), o.ID.String()
	case err != nil && kind == audit.KindGrant:
		return // whoever looks around asks for what is not here
	}
	if err != nil {
		e.Why = err.Error()
	}
	g.record(who, e)
}

// ticketed has written down that somebody who knew a password got a ticket.
func (g *Gate) ticketed(who peer.ID, sealed []byte) {
	if g.audit.Recorder == nil {
		return
	}
	t, err := grant.OpenTicket(sealed, g.self)
	if err != nil {
		return
	}
	if o, ok := g.offers.ByID(t.Share); ok {
		g.record(who, audit.Event{
			Kind: audit.KindTicket, Share: string(o.Name), ShareID: o.ID.String(), Right: t.Right.String(), Epoch: t.Epoch, Serial: t.Serial.String(),
			Result: audit.OK,
		})
	}
}

// Ended reports whether the pass no longer gives a right for another reason than its age: what ran by it was cut off.
func (p *Pass) Ended(need share.Right) bool {
	_, err := p.Holds(need)
	return peer.KindOf(err) == peer.Denied
}

// Cancelled has written down that what ran by the pass was cut off, and how much of it had passed.
func (p *Pass) Cancelled(o Offer, path share.Path, bytes int64, result error, why string) {
	p.Record(o, audit.Event{Kind: audit.KindCancelled, Path: path.String(), Bytes: bytes, Result: audit.ResultOf(result), Why: why})
}

// VersionText is a version as the audit has it, or "" for none.
func VersionText(v transfer.Version) string {
	if v == (transfer.Version{}) {
		return ""
	}
	return hex.EncodeToString(v[:])
}

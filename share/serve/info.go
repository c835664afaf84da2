package serve

import (
	"context"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/sharepb"
)

// InfoProtocol lets two peers introduce themselves: each sends one Hello.
const InfoProtocol = "/peerd/info/1"

// Bounds of a Hello.
const (
	MaxHello    = 256 << 10 // bytes
	MaxListed   = 1000      // shares told of
	maxAddrs    = 16
	infoTimeout = 10 * time.Second
)

// Porter answers introductions.
type Porter struct {
	offers Offers
	self   func() peer.Info
	met    func(peer.Info, peer.Stream)
}

// NewPorter makes a Porter that tells self of this peer, and met of every other that introduces itself.
func NewPorter(offers Offers, self func() peer.Info, met func(peer.Info, peer.Stream)) *Porter {
	return &Porter{offers: offers, self: self, met: met}
}

// Handle is the handler of [InfoProtocol].
func (p *Porter) Handle(_ context.Context, st peer.Stream) error {
	if err := st.SetDeadline(time.Now().Add(infoTimeout)); err != nil {
		return err
	}
	var theirs sharepb.Hello
	if err := wire.NewReaderSize(st, 4<<10).ReadMsg(&theirs, MaxHello); err != nil {
		return err
	}
	if err := wire.WriteMsg(st, p.Hello()); err != nil {
		return err
	}
	p.met(InfoFrom(&theirs, st.Peer()), st)
	return nil
}

// Hello is what this peer says of itself.
func (p *Porter) Hello() *sharepb.Hello {
	self := p.self()
	listed, revision := p.offers.Listed()
	h := &sharepb.Hello{
		Name: string(self.Name), Workgroup: self.Workgroup, Version: self.Version, Time: self.Time.UnixNano(), Revision: revision,
	}
	for _, a := range self.Addrs[:min(len(self.Addrs), maxAddrs)] {
		h.Addrs = append(h.Addrs, a.Bytes())
	}
	for _, s := range listed[:min(len(listed), MaxListed)] {
		h.Shares = append(h.Shares, &sharepb.Share{Id: s.ID[:], Name: string(s.Name), Comment: s.Comment, Open: uint32(s.Open)})
	}
	return h
}

// InfoFrom reads what another peer says of itself. What is no name is made one, what is no address is left out.
func InfoFrom(h *sharepb.Hello, id peer.ID) peer.Info {
	info := peer.Info{
		ID: id, Name: peer.CleanName(h.Name, peer.Name(peer.Short(id))), Time: time.Unix(0, h.Time),
		Workgroup: string(peer.CleanName(h.Workgroup, "")), Version: string(peer.CleanName(h.Version, "")),
	}
	for _, b := range h.Addrs[:min(len(h.Addrs), maxAddrs)] {
		if a, err := peer.AddrFromBytes(b); err == nil {
			info.Addrs = append(info.Addrs, a)
		}
	}
	return info
}

// SharesFrom reads the shares that another peer says it offers. Those that are none are left out.
func SharesFrom(h *sharepb.Hello) []share.Info {
	var out []share.Info
	for _, s := range h.Shares[:min(len(h.Shares), MaxListed)] {
		name, err := share.ParseName(s.Name)
		if err != nil || len(s.Id) != len(share.ID{}) || s.Open > uint32(share.Full) {
			continue
		}
		comment := s.Comment
		if peer.CheckText(comment, share.MaxComment) != nil {
			comment = ""
		}
		out = append(out, share.Info{ID: share.ID(s.Id), Name: name, Comment: comment, Open: share.Right(s.Open)})
	}
	return out
}

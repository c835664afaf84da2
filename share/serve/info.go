package serve

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

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
	MaxListed   = 1000      // shares told of, as far as MaxHello has room for them
	maxAddrs    = 16
	maxAddr     = 256 // bytes
	infoTimeout = 10 * time.Second
)

// Introduction is what a peer says of itself and its shares: its own words, all but the ID.
type Introduction struct {
	peer.Info
	Shares   []share.Info
	Revision uint64 // changes with Shares
}

// Porter answers introductions.
type Porter struct {
	offers Offers
	self   func() peer.Info
	met    func(Introduction)
}

// NewPorter makes a Porter that tells self of this peer, and met of every other that introduces itself.
func NewPorter(offers Offers, self func() peer.Info, met func(Introduction)) *Porter {
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
	in := IntroductionFrom(&theirs, st.Peer()) // a fraction of what a message can be made to take in memory
	theirs.Reset()
	if err := wire.WriteMsg(st, p.Hello(st.Peer())); err != nil {
		return err
	}
	p.met(in)
	return nil
}

// Hello is what this peer says of itself to another, who is told what it may do without a password.
func (p *Porter) Hello(to peer.ID) *sharepb.Hello {
	self := p.self()
	listed, revision := p.offers.Listed(to)
	h := &sharepb.Hello{
		Name: string(self.Name), Workgroup: self.Workgroup, Version: self.Version, Time: self.Time.UnixNano(), Revision: revision,
	}
	for _, a := range self.Addrs[:min(len(self.Addrs), maxAddrs)] {
		h.Addrs = append(h.Addrs, a.Bytes())
	}
	size := proto.Size(h)
	for _, s := range listed[:min(len(listed), MaxListed)] {
		m := &sharepb.Share{Id: s.ID[:], Name: string(s.Name), Comment: s.Comment, Open: uint32(s.Open)}
		if size += wire.FrameSize(m) + 1; size > MaxHello {
			break
		}
		h.Shares = append(h.Shares, m)
	}
	return h
}

// IntroductionFrom reads what the peer id says of itself. What is no name is made one; what is no address, no workgroup and
// no share is left out.
func IntroductionFrom(h *sharepb.Hello, id peer.ID) Introduction {
	in := Introduction{Info: peer.Info{
		ID: id, Name: peer.CleanName(h.Name, peer.Name(peer.Short(id))), Time: time.Unix(0, h.Time),
		Version: string(peer.CleanName(h.Version, "")),
	}, Shares: sharesFrom(h), Revision: h.Revision}
	if peer.CheckText(h.Workgroup, peer.MaxWorkgroup) == nil {
		in.Workgroup = h.Workgroup
	}
	for _, b := range h.Addrs[:min(len(h.Addrs), maxAddrs)] {
		if a, err := peer.AddrFromBytes(b); err == nil && len(b) <= maxAddr {
			in.Addrs = append(in.Addrs, a)
		}
	}
	return in
}

func sharesFrom(h *sharepb.Hello) []share.Info {
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

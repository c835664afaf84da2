package serve

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"io"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/tracker"
	"github.com/peerd/peerd/transfer/transferpb"
)

// SwarmProtocol tells what a source has of a file, as it grows, and who else has some of it.
const SwarmProtocol = "/peerd/swarm/1"

// TopicSize is the length of a topic in bytes.
const TopicSize = 16

// Partial is a [File] of which not every piece is here.
type Partial interface {
	File
	// Pieces are those that are here, in a set of the caller's own, and a channel that is closed when there are more; nil
	// when there never will be.
	Pieces() (transfer.Set, <-chan struct{})
	// Lacks reports whether piece i is not here.
	Lacks(i int) bool
}

// Secret is a [Pass] whose share this peer owns: it has the secret that the share's topics are made by.
type Secret interface{ Secret() []byte }

// Topic is what stands for a share, whose owner gave this secret, in front of those who may not read it.
func Topic(secret []byte) []byte {
	h := hmac.New(sha256.New, secret)
	_, _ = h.Write([]byte("peerd topic/1"))
	return h.Sum(nil)[:TopicSize]
}

// Rendezvous is the key under which those who give on files of a share are found by who knows the share's secret.
func Rendezvous(secret []byte) (key [sha256.Size]byte) {
	h := hmac.New(sha256.New, secret)
	_, _ = h.Write([]byte("peerd rendezvous/1"))
	h.Sum(key[:0])
	return key
}

// Topics shows this peer's own right to the share that a topic means, to somebody who would like to ask for its files.
type Topics interface {
	Grant(ctx context.Context, topic []byte) ([]byte, error)
}

// MaxAnnounced is how many files one stream may announce.
const MaxAnnounced = 256

// Bounds of a swarm's stream.
const (
	// newsPause is between two news of a source, and newsEach more of it for each source that there is: what comes meanwhile
	// goes together, and everybody tells everybody.
	newsPause = 10 * time.Millisecond
	newsEach  = 4 * time.Millisecond
	recheck   = 15 * time.Second // between two looks at the right, when there is no news
	maxAddr   = 256              // bytes of an address that is told on: the news of many must fit into one message
)

// Swarm is the handler of [SwarmProtocol].
func (s *Service) Swarm(ctx context.Context, st peer.Stream) error {
	c, ctx := s.session(ctx, st)
	defer c.guard.Close()
	var hello transferpb.SwarmHello
	if err := c.receive(&hello); err != nil {
		return err
	}
	if hello.Announce {
		return s.announced(ctx, c)
	}
	join := hello.Join
	if len(hello.Topic) > 0 {
		grant, err := s.topics.Grant(ctx, hello.Topic)
		if err != nil {
			return c.send(&transferpb.SwarmWelcome{Error: wire.FromError(err)})
		}
		if err := c.send(&transferpb.SwarmWelcome{Grant: grant}); err != nil {
			return err
		}
		join = new(transferpb.SwarmJoin)
		if err := c.receive(join); err != nil {
			return err
		}
	}
	err := s.member(ctx, c, join)
	if err == nil || errors.Is(err, errSend) {
		return err
	}
	return c.send(&transferpb.SwarmNews{Error: wire.FromError(err)})
}

// receive reads a message within the time that a request may take.
func (c *session) receive(m wireMessage) error {
	idle := idleTimeout
	if c.pass == nil {
		idle = firstTimeout
	}
	if err := c.stream.SetReadDeadline(time.Now().Add(idle)); err != nil {
		return err
	}
	return c.in.ReadMsg(m, MaxRequest)
}

// errUnknown is the answer of a source that has nothing of a file.
func errUnknown() error {
	return &peer.Error{Op: "join swarm", Kind: peer.NotFound, Err: errors.New("nothing of this file is here")}
}

// member tells a member of a file's swarm its news, for as long as it listens and may.
func (s *Service) member(ctx context.Context, c *session, join *transferpb.SwarmJoin) error {
	f, file, err := c.open(ctx, join)
	if err != nil {
		return err
	}
	defer f.Close()
	m := s.table.Join(time.Now(), file, c.member(join), join.Gives)
	defer func() { m.Leave(time.Now()) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		c.notes(m)
	}()
	return (&herald{session: c, file: f, member: m}).run(ctx)
}

// open opens the file that somebody joins the swarm of, in the version that it names.
func (c *session) open(ctx context.Context, join *transferpb.SwarmJoin) (File, transfer.File, error) {
	var file transfer.File
	if err := c.admit(join.GetFile()); err != nil {
		return nil, file, err
	}
	if len(join.Version) != len(file.Version) {
		return nil, file, &peer.Error{Op: "join swarm", Kind: peer.Usage, Err: errors.New("it names no version")}
	}
	file = transfer.File{Owner: c.pass.Owner(), Share: c.share, Path: join.File.Path, Version: transfer.Version(join.Version)}
	f, err := c.pass.Open(ctx, file.Path, file.Version)
	if err != nil {
		return nil, file, err
	}
	st, err := f.State()
	if err == nil && st.Version != file.Version {
		err = errChanged("join swarm")
	}
	if err != nil {
		f.Close()
		return nil, file, err
	}
	return f, file, nil
}

// member is who joins, and where it says that it may be reached.
func (c *session) member(join *transferpb.SwarmJoin) tracker.Source {
	who := tracker.Source{Peer: c.stream.Peer()}
	for _, b := range join.Addrs[:min(len(join.Addrs), tracker.MaxAddrs)] {
		if a, err := peer.AddrFromBytes(b); err == nil && len(b) <= maxAddr {
			who.Addrs = append(who.Addrs, a)
		}
	}
	return who
}

// announced takes note of a peer that has files of a share. What is no file of this moment is passed over.
func (s *Service) announced(ctx context.Context, c *session) error {
	for range MaxAnnounced {
		var join transferpb.SwarmJoin
		if err := c.receive(&join); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		f, file, err := c.open(ctx, &join)
		switch {
		case err == nil:
			f.Close()
			s.table.Add(time.Now(), file, c.member(&join))
		case peer.KindOf(err) == peer.Denied:
			return err
		}
	}
	return nil
}

// notes reads what a member says until it says no more.
func (c *session) notes(m *tracker.Member) {
	var note transferpb.SwarmNote
	for c.stream.SetReadDeadline(time.Time{}) == nil && c.in.ReadMsg(&note, MaxRequest) == nil {
		if note.Done {
			m.Done(time.Now())
		}
	}
}

// herald tells one member.
type herald struct {
	*session
	file   File
	member *tracker.Member
	told   transfer.Set
	all    bool
	named  map[peer.ID]bool
	index  uint32
	of     uint32
	secret bool

	changed <-chan struct{} // closed once the others are to be looked at again
	look    time.Time       // or then
}

func (h *herald) run(ctx context.Context) error {
	h.named = make(map[peer.ID]bool)
	ended := h.guard.Ended()
	for {
		if err := h.pass.Check(); err != nil {
			return err
		}
		news, grown := h.news(time.Now())
		if news != nil {
			if err := h.send(news); err != nil {
				return err
			}
		}
		timer := time.NewTimer(time.Until(h.look))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-ended:
			ended = nil
		case <-grown:
		case <-h.changed:
		case <-timer.C:
		}
		timer.Stop()
		pause := time.NewTimer(newsPause + time.Duration(len(h.named))*newsEach)
		select {
		case <-pause.C:
		case <-ended:
			pause.Stop()
			ended = nil
		case <-ctx.Done():
			pause.Stop()
			return nil
		}
	}
}

// news is what was not told yet, or nil, and what tells that there are more pieces.
func (h *herald) news(now time.Time) (n *transferpb.SwarmNews, grown <-chan struct{}) {
	n = new(transferpb.SwarmNews)
	something := h.others(n, now)
	if p, ok := h.file.(Partial); ok {
		var set transfer.Set
		if set, grown = p.Pieces(); h.told.Size() == 0 {
			n.Set, _ = set.AppendBinary(nil)
			something = true
		} else {
			for i := range set.All() {
				if !h.told.Has(i) {
					n.Pieces, something = append(n.Pieces, uint32(i)), true
				}
			}
		}
		h.told = set
	} else if !h.all {
		h.all, n.All, something = true, true, true
	}
	if !something {
		n = nil
	}
	return n, grown
}

// others adds what is new of those who fetch the file too, and reports whether there is anything. Pieces come much more often.
func (h *herald) others(n *transferpb.SwarmNews, now time.Time) (something bool) {
	if !h.stirred() && now.Before(h.look) {
		return false
	}
	var all tracker.News
	all, h.changed = h.member.News(now)
	h.look = now.Add(recheck)
	if m := all.More; !m.IsZero() && m.Before(h.look) {
		h.look = m
	}
	for _, s := range all.Sources {
		if !h.named[s.Peer] {
			h.named[s.Peer], something = true, true
			m := &transferpb.SwarmSource{Peer: []byte(s.Peer)}
			for _, a := range s.Addrs {
				m.Addrs = append(m.Addrs, a.Bytes())
			}
			n.Sources = append(n.Sources, m)
		}
	}
	if owner, ok := h.pass.(Secret); ok {
		if !h.secret {
			h.secret, n.Secret, something = true, owner.Secret(), true
		}
		if index, of := uint32(all.Index), uint32(all.Of); index != h.index || of != h.of {
			h.index, h.of = index, of
			n.Index, n.Of, something = index, of, true
		}
	}
	return something
}

// stirred reports whether something changed with the others since they were looked at.
func (h *herald) stirred() bool {
	select {
	case <-h.changed:
		return true
	default:
		return h.changed == nil
	}
}

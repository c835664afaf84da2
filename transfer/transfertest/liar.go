package transfertest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/manifest"
	"github.com/peerd/peerd/transfer/serve"
	"github.com/peerd/peerd/transfer/transferpb"
)

// maxRequest is the largest request that a [Liar] reads, in bytes.
const maxRequest = 64 << 10

// Liar is a source of one file, whatever name is asked for. Without twists it is honest.
type Liar struct {
	Content []byte
	ModTime time.Time
	// Manifest changes the messages of a manifest before they are sent.
	Manifest func([]*transferpb.ManifestReply) []*transferpb.ManifestReply
	// Get changes an answer, and may give other bytes to send in place of all of it.
	Get func(q *transferpb.GetRequest, r *transferpb.GetReply, body []byte) (*transferpb.GetReply, []byte)
	// RawManifest and RawGet, if set, are called in place of answering at all.
	RawManifest, RawGet peer.Handler
}

// Handlers are what the source answers.
func (l *Liar) Handlers() map[string]peer.Handler {
	return map[string]peer.Handler{serve.ManifestProtocol: l.manifest, serve.GetProtocol: l.get}
}

func (l *Liar) state() *transferpb.State {
	sum := sha256.Sum256(l.Content)
	return &transferpb.State{Size: int64(len(l.Content)), ModTime: l.ModTime.UnixNano(), Version: sum[:len(transfer.Version{})]}
}

// State is what the source says of the file.
func (l *Liar) State() transfer.State {
	return transfer.State{Size: int64(len(l.Content)), ModTime: l.ModTime, Version: transfer.Version(l.state().Version)}
}

func (l *Liar) manifest(ctx context.Context, s peer.Stream) error {
	in := wire.NewReader(s)
	for {
		var req transferpb.ManifestRequest
		if err := in.ReadMsg(&req, maxRequest); err != nil {
			return nil // the reader is done
		}
		if l.RawManifest != nil {
			return l.RawManifest(ctx, s)
		}
		replies, err := l.replies()
		if err != nil {
			return err
		}
		if l.Manifest != nil {
			replies = l.Manifest(replies)
		}
		if n := len(replies) - 1; req.Count > 0 && replies[0].GetState() != nil {
			// All that follows, as if it were known.
			replies = append(replies[:1], replies[min(1+int(req.First), n):]...)
		}
		for _, r := range replies {
			if err := wire.WriteMsg(s, r); err != nil {
				return err
			}
		}
	}
}

// replies are the true messages of the manifest.
func (l *Liar) replies() ([]*transferpb.ManifestReply, error) {
	layout, err := transfer.LayoutOf(int64(len(l.Content)))
	if err != nil {
		return nil, err
	}
	m, err := manifest.Build(bytes.NewReader(l.Content), layout, func(int, transfer.Hash) error { return nil })
	if err != nil {
		return nil, err
	}
	replies := []*transferpb.ManifestReply{{What: &transferpb.ManifestReply_State{State: l.state()}}}
	for _, h := range m.Pieces {
		replies = append(replies, &transferpb.ManifestReply{What: &transferpb.ManifestReply_Hashes{Hashes: h[:]}})
	}
	replies = append(replies, &transferpb.ManifestReply{What: &transferpb.ManifestReply_Root{Root: m.Root[:]}})
	return replies, nil
}

// ManifestTape is the true manifest as it is sent.
func (l *Liar) ManifestTape() ([]byte, error) {
	replies, err := l.replies()
	if err != nil {
		return nil, err
	}
	var out []byte
	for _, r := range replies {
		if out, err = wire.AppendMsg(out, r); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (l *Liar) get(ctx context.Context, s peer.Stream) error {
	in := wire.NewReader(s)
	for {
		var req transferpb.GetRequest
		if err := in.ReadMsg(&req, maxRequest); err != nil {
			return nil // the reader is done
		}
		if l.RawGet != nil {
			return l.RawGet(ctx, s)
		}
		reply, body := l.answer(&req)
		if l.Get != nil {
			reply, body = l.Get(&req, reply, body)
		}
		out, err := wire.AppendMsg(nil, reply)
		if err != nil {
			return err
		}
		if _, err := s.Write(append(out, body...)); err != nil {
			return err
		}
	}
}

func (l *Liar) answer(req *transferpb.GetRequest) (*transferpb.GetReply, []byte) {
	if req.Whole {
		root := manifest.Whole(l.Content)
		return &transferpb.GetReply{Length: uint64(len(l.Content)), State: l.state(), Root: root[:]}, l.Content
	}
	layout := transfer.Layout{Size: int64(len(l.Content)), Bits: transfer.PieceBits(int64(len(l.Content)))}
	off := layout.Offset(int(req.Piece))
	body := l.Content[off : off+layout.Length(int(req.Piece))]
	return &transferpb.GetReply{Length: uint64(len(body))}, bytes.Clone(body)
}

package auditing

import (
	"sync"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/audit"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/transfer"
)

// Judging passes on what p, which may be nil, is to hear of fetching from a share, whose label says where it is. Of each source that is
// asked for no more it writes down once that it gave wrong bytes.
func (b *Book) Judging(p transfer.Progress, label string, of share.ID) transfer.Progress {
	if p == nil {
		p = nobody{}
	}
	return &judging{Progress: p, banned: make(map[peer.ID]bool), tell: func(id peer.ID) {
		b.about(id, audit.Event{
			Kind: audit.KindBadPiece, Share: label, ShareID: of.String(), Result: peer.Integrity.String(), Why: "it gave wrong bytes and is asked for no more",
		})
	}}
}

type judging struct {
	transfer.Progress
	tell func(peer.ID)

	mu     sync.Mutex
	banned map[peer.ID]bool
}

// Bad is told once for each file that a source is asked for no more.
func (j *judging) Bad(from peer.ID, banned bool) {
	if banned {
		j.mu.Lock()
		again := j.banned[from]
		j.banned[from] = true
		j.mu.Unlock()
		if !again {
			j.tell(from)
		}
	}
	j.Progress.Bad(from, banned)
}

// nobody is told of no progress.
type nobody struct{}

func (nobody) Got(peer.ID, string, int64) {}
func (nobody) Had(string, int64)          {}
func (nobody) Bad(peer.ID, bool)          {}

package history

import (
	"context"
	"strings"
	"time"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/transfer"
)

// Claim is what somebody says who puts a file that does not fit what is at its path: that this came there by its own earlier puts.
type Claim struct {
	Version transfer.Version            // of what is at the path
	Fits    func(transfer.Version) bool // what the put expects there
	By      By
	State   func(size int64, modTime time.Time) string // begins the names in staging of a state of the file
	Own     bool                                       // it is so; set by [Store.Judge]
}

// maxLook is how many changes are looked at, newest first, for who placed what is at a path.
const maxLook = 1 << 14

// Judge finds out which claims are true, by path. One whose puts are long ago may count as not true.
func (s *Store) Judge(ctx context.Context, claims map[share.Path]*Claim) {
	if len(claims) == 0 {
		return
	}
	open, looked := make(map[share.Path]transfer.Version, len(claims)), 0
	for p, c := range claims {
		open[p] = c.Version
	}
	for r, err := range s.Records(ctx, 0, true) {
		if looked++; err != nil || looked > maxLook || len(open) == 0 {
			return
		}
		now, ok := open[r.Path]
		if !ok {
			continue
		}
		c := claims[r.Path]
		// A recovered change has what is there by now, which a program of the owner may have written since: then the state is another.
		if r.Verb != "put" || r.After.Version != now || r.By.Peer != c.By.Peer || !strings.HasPrefix(r.Staged, c.State(r.After.Size, r.After.ModTime)) {
			delete(open, r.Path)
			continue
		}
		if c.Own = c.Fits(r.Before.Version); c.Own {
			delete(open, r.Path)
		} else {
			open[r.Path] = r.Before.Version
		}
	}
}

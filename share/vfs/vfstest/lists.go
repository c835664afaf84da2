package vfstest

import (
	"context"
	"iter"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/remote"
)

// Lists is of [vfs.Remote].
func (r *remoteShare) Lists(ctx context.Context, folders <-chan share.Path, most int) iter.Seq2[remote.Listed, error] {
	return func(yield func(remote.Listed, error) bool) {
		for {
			select {
			case <-ctx.Done():
				yield(remote.Listed{}, ctx.Err())
				return
			case p, more := <-folders:
				if !more {
					return
				}
				l := remote.Listed{Path: p}
				for e, err := range r.List(ctx, p) {
					if l.Err = err; err == nil {
						l.Entries = append(l.Entries, e)
					}
				}
				if len(l.Entries) > most {
					yield(l, r.fail("list", p, peer.Other, "too much"))
					return
				}
				if !yield(l, nil) {
					return
				}
			}
		}
	}
}

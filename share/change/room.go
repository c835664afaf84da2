package change

import (
	"context"
	"fmt"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change/history"
)

// Retention says how long versions are kept; see [history.Retention].
type Retention = history.Retention

// Limits are how much room changes may take.
type Limits struct {
	MaxBytes  int64 // of the share's files and versions together; 0: no limit
	Bytes     int64 // of its files as they are now, which whoever watches the share knows
	Reserve   int64 // bytes of the disk that stay free; 0: the smaller of 1 GiB and a twentieth of the disk, negative: none
	Retention Retention
	NoExec    bool // nobody makes a file executable
}

// Room reports whether there is room for so many bytes more, before they are fetched; staged is how many of them are on the
// disk already. If not, the error is a [peer.Full] that says what is full.
func (e *Editor) Room(ctx context.Context, need, staged int64) error {
	return fail("make room", share.Path{}, e.room(ctx, need-staged, need, 0))
}

// room asks for bytes of the free disk, for so many bytes more of files and versions together, and for so many of versions.
func (e *Editor) room(ctx context.Context, add, grow, keep int64) error {
	l := e.opt.Limits()
	free, total, known := e.disk.Space()
	if spare := l.spare(total); known && grow > 0 && free-add < spare {
		return &peer.Error{Kind: peer.Full, Err: fmt.Errorf("it needs %d bytes, and of the %d that are free on the owner's disk %d are kept in reserve",
			add, free, spare), Hint: "make room there and try again"}
	}
	if l.MaxBytes > 0 && grow > 0 {
		old, _, err := e.history.Usage(ctx)
		if err != nil {
			return err
		}
		if l.Bytes+old+grow > l.MaxBytes {
			return &peer.Error{Kind: peer.Full, Err: fmt.Errorf("it needs %d bytes, and files (%d) and old versions (%d) may take %d together in this share",
				grow, l.Bytes, old, l.MaxBytes), Hint: "the owner can raise the share's quota"}
		}
	}
	if known && keep > 0 {
		return e.history.Room(ctx, keep, e.versionLimit(l, total), l.Retention)
	}
	return nil
}

// spare is how many bytes of a disk of a size stay free.
func (l Limits) spare(disk int64) int64 {
	if l.Reserve == 0 {
		return min(1<<30, disk/20)
	}
	return max(0, l.Reserve)
}

// Space is how many bytes the share may hold, with what else is on its disk unless it has a limit of its own, and how many more; both
// are 0 where the system does not tell.
func (e *Editor) Space(ctx context.Context) (total, free int64, err error) {
	l := e.opt.Limits()
	free, total, known := e.disk.Space()
	if !known {
		return 0, 0, nil
	}
	free = max(0, free-l.spare(total))
	if l.MaxBytes > 0 {
		old, _, err := e.history.Usage(ctx)
		if err != nil {
			return 0, 0, fail("look for room", share.Path{}, err)
		}
		free = min(free, max(0, l.MaxBytes-l.Bytes-old))
		total = min(total, l.Bytes+old+free)
	}
	return total, free, nil
}

func (e *Editor) versionLimit(l Limits, total int64) int64 {
	return total / 100 * int64(l.Retention.Defaults().Percent)
}

// Usage is what the share's versions take, in bytes, and how many there are.
func (e *Editor) Usage(ctx context.Context) (bytes int64, count int, err error) {
	bytes, count, err = e.history.Usage(ctx)
	return bytes, count, fail("count versions", share.Path{}, err)
}

// Sweep drops versions by their age and number, and what was left in staging, and tells how many bytes that freed. It is meant to
// be called about once an hour.
func (e *Editor) Sweep(ctx context.Context) (freed int64, err error) {
	l := e.opt.Limits()
	limit := int64(1<<63 - 1)
	if _, total, ok := e.disk.Space(); ok {
		limit = e.versionLimit(l, total)
	}
	freed, err = e.history.Sweep(ctx, l.Retention, limit)
	if err == nil && e.stagers.Load() == 0 {
		var staged int64
		staged, err = e.sweepStaging(ctx)
		freed += staged
	}
	return freed, fail("sweep", share.Path{}, err)
}

package history

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share/change/disk"
)

// usage is what all versions together take.
type usage struct {
	bytes int64
	count int
}

// sized is a version's data.
type sized struct {
	mark
	size int64
}

// each looks at the data of all versions, one small folder at a time.
func (s *Store) each(ctx context.Context, look func(f disk.Folder, of []sized) error) error {
	top, buckets, err := s.list(ctx, versions, data)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	top.Close()
	for _, b := range buckets {
		if err := s.eachIn(ctx, b, look); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) eachIn(ctx context.Context, bucket string, look func(f disk.Folder, of []sized) error) error {
	f, names, err := s.list(ctx, versions, data, bucket)
	if err != nil {
		return err
	}
	defer f.Close()
	var of []sized
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		m, ok := parseMark(name)
		if !ok {
			continue
		}
		st, err := f.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		of = append(of, sized{m, st.Size})
	}
	return look(f, of)
}

// Usage is what all versions take, in bytes, and how many there are. It counts them the first time.
func (s *Store) Usage(ctx context.Context) (bytes int64, count int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.usage == nil {
		u := &usage{}
		err := s.each(ctx, func(_ disk.Folder, of []sized) error {
			for _, v := range of {
				u.bytes, u.count = u.bytes+v.size, u.count+1
			}
			return nil
		})
		if err != nil {
			return 0, 0, err
		}
		s.usage = u
	}
	return s.usage.bytes, s.usage.count, nil
}

// Count takes note of versions that were kept, or with negative numbers, that went.
func (s *Store) Count(bytes int64, count int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.usage != nil {
		s.usage.bytes, s.usage.count = s.usage.bytes+bytes, s.usage.count+count
	}
}

// Recount forgets what was counted, after something went wrong.
func (s *Store) Recount() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.usage = nil
}

// Room sees to it that versions of so many bytes more stay within limit, for which the oldest go, but none that is safe from
// it. Without room it fails as [peer.Full].
func (s *Store) Room(ctx context.Context, need, limit int64, r Retention) error {
	have, _, err := s.Usage(ctx)
	if err != nil || have+need <= limit {
		return err
	}
	if _, err = s.shrink(ctx, limit-need, r); err != nil {
		return err
	}
	if have, _, err = s.Usage(ctx); err != nil || have+need <= limit {
		return err
	}
	return &peer.Error{Kind: peer.Full,
		Err:  fmt.Errorf("old versions take %d of at most %d bytes, and those of the last %v are not given up", have, limit, r.Defaults().Safe),
		Hint: "the owner can allow them more of the disk"}
}

// shrink drops the oldest versions until all take no more than limit bytes.
func (s *Store) shrink(ctx context.Context, limit int64, r Retention) (freed int64, err error) {
	have, _, err := s.Usage(ctx)
	if err != nil || have <= limit {
		return 0, err
	}
	safe := s.now().Add(-r.Defaults().Safe)
	var old []sized
	err = s.each(ctx, func(_ disk.Folder, of []sized) error {
		for _, v := range of {
			if v.id.Time().Before(safe) {
				old = append(old, v)
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	slices.SortFunc(old, func(a, b sized) int { return cmp.Compare(a.id, b.id) })
	for _, v := range old {
		if have-freed <= limit {
			break
		}
		f, err := s.disk.Own(false, versions, data, v.bucket())
		if err != nil {
			return freed, err
		}
		err = s.drop(f, v)
		f.Close()
		if err != nil {
			return freed, err
		}
		freed += v.size
	}
	return freed, nil
}

func (s *Store) drop(f disk.Folder, v sized) error {
	err := f.Remove(v.name())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		s.Count(-v.size, -1)
	}
	return err
}

// Sweep drops the versions that r lets go, those beyond limit bytes, and records that are of no use any more.
func (s *Store) Sweep(ctx context.Context, r Retention, limit int64) (freed int64, err error) {
	now := s.now()
	err = s.each(ctx, func(f disk.Folder, of []sized) error {
		for len(of) > 0 { // sorted by name: path by path
			n := 1
			for n < len(of) && of[n].hash == of[0].hash {
				n++
			}
			b, err := s.thin(f, of[:n], r, now)
			if freed += b; err != nil {
				return err
			}
			of = of[n:]
		}
		return nil
	})
	if err != nil {
		return freed, err
	}
	b, err := s.shrink(ctx, limit, r)
	if freed += b; err != nil {
		return freed, err
	}
	return freed, s.sweepLog(ctx, r.Defaults(), now)
}

func (s *Store) thin(f disk.Folder, of []sized, r Retention, now time.Time) (freed int64, err error) {
	vs := make([]Version, len(of))
	for i, v := range of {
		vs[i] = Version{v.id, v.by}
	}
	drop := r.Thin(now, vs)
	for _, v := range of {
		if !slices.Contains(drop, v.id) {
			continue
		}
		if err := s.drop(f, v); err != nil {
			return freed, err
		}
		freed += v.size
	}
	return freed, nil
}

// sweepLog drops the hours of the log whose versions are all gone, once they are of no use for undoing either.
func (s *Store) sweepLog(ctx context.Context, r Retention, now time.Time) error {
	hours, err := s.hours(ctx)
	if err != nil {
		return err
	}
	for _, h := range hours {
		start, err := time.Parse("20060102-15", h)
		if err != nil || now.Sub(start) < max(r.Daily, r.Safe)+2*time.Hour {
			continue
		}
		if used, err := s.used(ctx, h); err != nil {
			return err
		} else if used && now.Sub(start) < r.Weekly {
			continue
		}
		if err := s.dropHour(ctx, h); err != nil {
			return err
		}
	}
	return nil
}

// used reports whether a version is left of those that an hour's records tell of.
func (s *Store) used(ctx context.Context, hour string) (used bool, err error) {
	s.segmentsOf(ctx, hour, false, func(rs []Record, serr error) bool {
		err = serr
		for _, r := range rs {
			if r.Keeps() && !used && err == nil {
				used, err = s.has(r)
			}
		}
		return !used && err == nil
	})
	return used, err
}

func (s *Store) dropHour(ctx context.Context, hour string) error {
	f, names, err := s.list(ctx, versions, segments, hour)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, name := range names {
		if err := f.Remove(name); err != nil {
			return err
		}
	}
	top, err := s.disk.Own(false, versions, segments)
	if err != nil {
		return err
	}
	defer top.Close()
	return top.Rmdir(hour)
}

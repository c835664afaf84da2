// Package history keeps what changes of a share replaced, and what was changed, by whom and when, in the share's own folder:
//
//	.peerd/tmp/                        staging, see share/change
//	.peerd/versions/pending/ID         changes that are being made, a line of JSON each
//	.peerd/versions/log/HOUR/ID        changes that were made; ID is that of the first of a group, HOUR its head
//	.peerd/versions/data/HH/HASH-ID-BY the old file itself; HASH is that of its path, HH the head of it
//
// So an old version costs no copy, the versions of a path are found by reading one small folder, and all changes since a moment
// by reading the log from there on.
package history

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/peerd/peerd/share/change/disk"
)

// Folders below [share.Reserved].
const (
	staging  = "tmp"
	versions = "versions"
	pending  = "pending"
	segments = "log"
	data     = "data"
)

// maxSegment bounds what is read of a segment, in bytes: a thousand changes with the longest paths.
const maxSegment = 64 << 20

// Store is the history of one share. Begin, End and Done are called by one goroutine at a time, the rest by any.
type Store struct {
	disk disk.Disk
	now  func() time.Time

	mu    sync.Mutex
	last  ID
	usage *usage // nil until it was counted
}

// Open finds the newest change. It makes nothing.
func Open(ctx context.Context, d disk.Disk, now func() time.Time) (*Store, error) {
	s := &Store{disk: d, now: now}
	for rs, err := range s.segments(ctx, 0, true) {
		if err != nil {
			return nil, err
		}
		for _, r := range rs {
			s.last = max(s.last, r.ID)
		}
		break
	}
	return s, nil
}

// Next makes an ID that is above all others.
func (s *Store) Next() ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = max(s.last+1, idOf(s.now()))
	return s.last
}

// Begin writes down what a group of changes is about to do. It lasts with the next sync of the disk.
func (s *Store) Begin(rs []Record) error { return s.write(rs, rs[0].ID.String(), pending) }

// End writes down what of a group was done; first is the ID that Begin had first. It replaces what a crash left of the same.
func (s *Store) End(first ID, rs []Record) error {
	if len(rs) == 0 {
		return nil
	}
	return s.write(rs, first.String(), segments, first.hour())
}

// Done ends a group, once what End wrote lasts.
func (s *Store) Done(first ID) error {
	f, err := s.disk.Own(false, versions, pending)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Remove(first.String())
}

func (s *Store) write(rs []Record, name string, folder ...string) error {
	b, err := encode(rs)
	if err != nil {
		return err
	}
	f, err := s.disk.Own(true, append([]string{versions}, folder...)...)
	if err != nil {
		return err
	}
	defer f.Close()
	err = f.Create(name, b)
	if errors.Is(err, fs.ErrExist) {
		if err = f.Remove(name); err == nil {
			err = f.Create(name, b)
		}
	}
	return err
}

// Group is changes that were begun together.
type Group struct {
	First   ID
	Records []Record
}

// Pending gives the groups that were begun and not ended, oldest first.
func (s *Store) Pending(ctx context.Context) (groups []Group, err error) {
	f, names, err := s.list(ctx, versions, pending)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for _, name := range names {
		id, err := ParseID(name)
		if err != nil {
			continue
		}
		b, err := read(f, name)
		if err != nil {
			return nil, err
		}
		g := Group{First: id}
		if g.Records, err = decode(b); err != nil {
			g.Records = nil // what can't be read was not made to last, so nothing of its group was done
		}
		groups = append(groups, g)
		s.mu.Lock()
		s.last = max(s.last, id+ID(len(g.Records)))
		s.mu.Unlock()
	}
	return groups, nil
}

// list opens a folder of our own with its names in order. The error is fs.ErrNotExist where nothing was ever kept.
func (s *Store) list(ctx context.Context, folder ...string) (disk.Folder, []string, error) {
	f, err := s.disk.Own(false, folder...)
	if err != nil {
		return nil, nil, err
	}
	names, err := f.Names(ctx)
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	slices.Sort(names)
	return f, names, nil
}

func read(f disk.Folder, name string) ([]byte, error) {
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.NewSectionReader(file, 0, maxSegment))
}

// segments gives the groups of the log that hold changes since from, in order or newest first. A group may begin earlier.
func (s *Store) segments(ctx context.Context, from ID, newest bool) iter.Seq2[[]Record, error] {
	return func(yield func([]Record, error) bool) {
		hours, err := s.hours(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		first := hourBefore(from)
		hours = slices.DeleteFunc(hours, func(h string) bool { return h < first })
		if newest {
			slices.Reverse(hours)
		}
		for _, h := range hours {
			if !s.segmentsOf(ctx, h, newest, yield) {
				return
			}
		}
	}
}

// hourBefore is the hour folder before that of an ID: a group that began in it may reach beyond its end.
func hourBefore(id ID) string {
	if id.Time().Unix() < 3600 {
		return ""
	}
	return (id - 3600<<16).hour()
}

// hours are the folders of the log in order.
func (s *Store) hours(ctx context.Context) ([]string, error) {
	f, names, err := s.list(ctx, versions, segments)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	f.Close()
	return names, nil
}

func (s *Store) segmentsOf(ctx context.Context, hour string, newest bool, yield func([]Record, error) bool) bool {
	f, names, err := s.list(ctx, versions, segments, hour)
	if errors.Is(err, fs.ErrNotExist) { // swept meanwhile
		return true
	}
	if err != nil {
		return yield(nil, err)
	}
	defer f.Close()
	if newest {
		slices.Reverse(names)
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return yield(nil, err)
		}
		if _, err := ParseID(name); err != nil {
			continue
		}
		b, err := read(f, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return yield(nil, err)
		}
		rs, _ := decode(b) // a line that a failing disk spoilt must not hide the others
		if newest {
			slices.Reverse(rs)
		}
		if !yield(rs, nil) {
			return false
		}
	}
	return true
}

// Records gives all changes since from, or newest first. An error ends it.
func (s *Store) Records(ctx context.Context, from ID, newest bool) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for rs, err := range s.segments(ctx, from, newest) {
			if err != nil {
				yield(Record{}, err)
				return
			}
			for _, r := range rs {
				if r.ID >= from && !yield(r, nil) {
					return
				}
			}
		}
	}
}

// IDAt is the smallest ID of a moment.
func IDAt(t time.Time) ID {
	if t.Unix() <= 0 {
		return 0
	}
	return idOf(t)
}

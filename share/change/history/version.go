package history

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strconv"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change/disk"
)

// mark is the name of a version's data.
type mark struct {
	hash string // of its path, in hex
	id   ID
	by   uint16 // tells those who replaced it apart, mostly; 0 is the owner
}

func markOf(p share.Path, id ID, by By) mark { return mark{hashOf(p), id, tag(by)} }

func hashOf(p share.Path) string {
	sum := sha256.Sum256([]byte(p.String()))
	return hex.EncodeToString(sum[:16])
}

func tag(by By) uint16 {
	if by.Peer == "" {
		return 0
	}
	sum := sha256.Sum256([]byte(by.Peer))
	return max(1, uint16(sum[0])<<8|uint16(sum[1]))
}

func (m mark) bucket() string { return m.hash[:2] }

func (m mark) name() string { return fmt.Sprintf("%s-%s-%04x", m.hash, m.id, m.by) }

func parseMark(name string) (m mark, ok bool) {
	if len(name) != 32+1+20+1+4 {
		return m, false
	}
	m.hash = name[:32]
	id, err := ParseID(name[33:53])
	by, berr := strconv.ParseUint(name[54:], 16, 16)
	m.id, m.by = id, uint16(by)
	return m, err == nil && berr == nil && m.name() == name
}

// Place opens the folder that a record's version belongs in, made if need be, and gives its name there.
func (s *Store) Place(r Record) (disk.Folder, string, error) {
	m := markOf(r.Path, r.ID, r.By)
	f, err := s.disk.Own(true, versions, data, m.bucket())
	return f, m.name(), err
}

// Of gives the versions of one path, newest first.
func (s *Store) Of(ctx context.Context, p share.Path) iter.Seq2[Kept, error] {
	return func(yield func(Kept, error) bool) {
		marks, err := s.marks(ctx, p)
		if err != nil {
			yield(Kept{}, err)
			return
		}
		for _, m := range marks {
			k, err := s.describe(ctx, p, m)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if !yield(k, err) || err != nil {
				return
			}
		}
	}
}

// Below gives the versions of all paths under a folder, and of that itself, newest first.
func (s *Store) Below(ctx context.Context, dir share.Path) iter.Seq2[Kept, error] {
	return func(yield func(Kept, error) bool) {
		for r, err := range s.Records(ctx, 0, true) {
			if err != nil {
				yield(Kept{}, err)
				return
			}
			if _, below := r.Path.Below(dir); !below || !r.Keeps() {
				continue
			}
			there, err := s.has(r)
			if err != nil {
				yield(Kept{}, err)
				return
			}
			if there && !yield(r.kept(), nil) {
				return
			}
		}
	}
}

func (s *Store) has(r Record) (bool, error) {
	m := markOf(r.Path, r.ID, r.By)
	f, err := s.disk.Own(false, versions, data, m.bucket())
	if err == nil {
		_, err = f.Stat(m.name())
		f.Close()
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// marks are the versions of one path that there are, newest first.
func (s *Store) marks(ctx context.Context, p share.Path) (ms []mark, err error) {
	hash := hashOf(p)
	f, names, err := s.list(ctx, versions, data, hash[:2])
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	f.Close()
	for _, name := range slices.Backward(names) {
		if m, ok := parseMark(name); ok && m.hash == hash {
			ms = append(ms, m)
		}
	}
	return ms, nil
}

// describe tells of a version by its record, or by its file alone if that was lost.
func (s *Store) describe(ctx context.Context, p share.Path, m mark) (Kept, error) {
	for _, hour := range []string{m.id.hour(), hourBefore(m.id)} {
		f, names, err := s.list(ctx, versions, segments, hour)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return Kept{}, err
		}
		defer f.Close()
		i, found := slices.BinarySearch(names, m.id.String())
		if !found {
			i--
		}
		if i < 0 {
			continue
		}
		b, err := read(f, names[i])
		if err != nil {
			return Kept{}, err
		}
		rs, _ := decode(b)
		for _, r := range rs {
			if r.ID == m.id && r.Path == p {
				return r.kept(), nil
			}
		}
	}
	f, err := s.disk.Own(false, versions, data, m.bucket())
	if err != nil {
		return Kept{}, err
	}
	defer f.Close()
	st, err := f.Stat(m.name())
	st.Path = p
	return Kept{Entry: st.Entry, ID: m.id}, err
}

// Find opens the folder that holds a version's data, and gives its name there and what is known of it.
func (s *Store) Find(ctx context.Context, p share.Path, id ID) (disk.Folder, string, Kept, error) {
	marks, err := s.marks(ctx, p)
	if err != nil {
		return nil, "", Kept{}, err
	}
	for _, m := range marks {
		if m.id != id {
			continue
		}
		k, err := s.describe(ctx, p, m)
		if err != nil {
			return nil, "", Kept{}, err
		}
		f, err := s.disk.Own(false, versions, data, m.bucket())
		return f, m.name(), k, err
	}
	return nil, "", Kept{}, &peer.Error{Kind: peer.NotFound, Path: p.String() + "@" + id.String(), Hint: "see the list of its versions"}
}

// Nearest is the version of a path that holds what it was when version id was kept: that one, or the last before it if that
// was thinned out. It is 0 if there is none.
func (s *Store) Nearest(ctx context.Context, p share.Path, id ID) (ID, error) {
	marks, err := s.marks(ctx, p)
	for _, m := range marks {
		if m.id <= id {
			return m.id, err
		}
	}
	return 0, err
}

// After is the first version of a path that was kept after a change: what that change left there, if it was replaced since.
// It is 0 if there is none.
func (s *Store) After(ctx context.Context, p share.Path, id ID) (after ID, err error) {
	marks, err := s.marks(ctx, p)
	for _, m := range marks {
		if m.id <= id {
			break
		}
		after = m.id
	}
	return after, err
}

// Staging opens the folder that new files are fetched into.
func (s *Store) Staging() (disk.Folder, error) { return s.disk.Own(true, staging) }

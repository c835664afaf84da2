package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/grant"
	"github.com/peerd/peerd/share/registry/diskfile"
)

const (
	sealName    = "registry.seal"
	sealVersion = 1
	// sealKeeps is for how long the epochs of a share that is no more are kept: longer than what was granted can live.
	sealKeeps = 2 * grant.MaxTicketLife
)

// seal is what tells the registry's file that this program wrote last from any other: an older one from a backup, a copy, one
// that somebody edited. It also has what may not come back with an older one.
type seal struct {
	Version int                  `json:"version"`
	File    *diskfile.Stamp      `json:"file,omitempty"` // the file that was written last
	Next    *diskfile.Stamp      `json:"next,omitempty"` // one that is about to take its place
	Shares  map[string]sealShare `json:"shares"`         // by ID; also those that are no more
	Blocked []fileMark           `json:"blocked,omitempty"`
}

// sealShare is the rights of a share: its highest epochs, and what was said of devices last.
type sealShare struct {
	Read      uint64     `json:"read"`
	Full      uint64     `json:"full"`
	Gone      bool       `json:"gone,omitempty"`
	Peers     []filePeer `json:"peers,omitempty"`
	Denied    []fileMark `json:"denied,omitempty"`
	Suspended []fileMark `json:"suspended,omitempty"`
}

// sealer keeps the seal. It is used by one goroutine at a time.
type sealer struct {
	files files
	log   *slog.Logger
	last  seal
}

func (s *sealer) path() string { return filepath.Join(s.files.dir, sealName) }

// open reads the seal. One that can't be read is as good as none: rights end, and nothing else is lost.
func (s *sealer) open() {
	s.files.sweep(s.files.dir, func(name string) bool { return strings.HasPrefix(name, sealName+diskfile.TempMark) }, s.log)
	s.last = seal{Version: sealVersion}
	b, err := readLimited(s.path())
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var have seal
	if err == nil {
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.DisallowUnknownFields()
		err = dec.Decode(&have)
	}
	if err == nil && have.Version != sealVersion {
		err = fmt.Errorf("it is of version %d, this peerd knows version %d", have.Version, sealVersion)
	}
	if err != nil {
		s.log.Warn("registry: the seal can't be read", "file", s.path(), "error", err)
		return
	}
	s.last = have
}

func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// foreign says why the registry's file, which holds b, is not the one that was written last; "" if it is.
func (s *sealer) foreign(b []byte) string {
	now, err := diskfile.StampOf(s.files.path(), b)
	switch last, next := s.last.File, s.last.Next; {
	case err != nil:
		return err.Error()
	case next != nil && next.Sum == now.Sum && next.Inode == now.Inode:
		return "" // a crash came before the last word
	case last == nil:
		return "there is no seal of it"
	case last.Sum != now.Sum:
		return "it holds something else"
	case *last != now:
		return "it was copied, or touched by something else"
	}
	return ""
}

// save writes the registry's file and the seal, so that at every moment one fits the other: first the seal learns which file
// comes, then that takes its place, then the seal is told that it did.
func (s *sealer) save(c content, now time.Time) error {
	tmp, b, err := s.prepare(c, now)
	if err == nil {
		err = diskfile.Place(tmp, s.files.path())
	}
	if err != nil {
		return s.files.failed("save", err)
	}
	if err := s.finish(b); err != nil { // the file is in its place and known by what was said before
		s.log.Warn("registry: the seal was not brought up to date", "file", s.path(), "error", err)
	}
	return nil
}

// prepare writes the file beside its place, and a seal that fits it as well as the one that is there.
func (s *sealer) prepare(c content, now time.Time) (tmp string, b []byte, err error) {
	if b, err = encode(c); err != nil {
		return "", nil, err
	}
	if tmp, err = diskfile.Temp(s.files.path(), b); err != nil {
		return "", nil, err
	}
	next, err := diskfile.StampOf(tmp, b)
	if err == nil {
		next.Changed = 0 // it changes with the name
		sealed := s.last.after(c, now)
		sealed.Next = &next
		err = s.write(sealed)
	}
	if err != nil {
		os.Remove(tmp)
		return "", nil, err
	}
	return tmp, b, nil
}

// finish tells the seal that a file which holds b has its place.
func (s *sealer) finish(b []byte) error {
	now, err := diskfile.StampOf(s.files.path(), b)
	if err != nil {
		return err
	}
	sealed := s.last
	sealed.File, sealed.Next = &now, nil
	return s.write(sealed)
}

func (s *sealer) write(sealed seal) error {
	b, err := json.MarshalIndent(sealed, "", " ")
	if err == nil {
		err = diskfile.Write(s.path(), append(b, '\n'))
	}
	if err == nil {
		s.last = sealed
	}
	return err
}

// after is the seal once the registry holds c.
func (s seal) after(c content, now time.Time) seal {
	out := s
	out.Shares, out.Blocked = maps.Clone(s.Shares), blockedMarks(c.blocked)
	if out.Shares == nil {
		out.Shares = make(map[string]sealShare)
	}
	here := make(map[string]bool)
	for _, it := range c.items {
		if it.Ephemeral {
			continue
		}
		f := fileOf(it)
		was := out.Shares[f.ID]
		out.Shares[f.ID] = sealShare{Read: max(was.Read, it.Epochs.Read), Full: max(was.Full, it.Epochs.Full),
			Peers: f.Peers, Denied: f.Denied, Suspended: f.Suspended}
		here[f.ID] = true
	}
	for id, was := range out.Shares {
		switch {
		case here[id]:
		case !was.Gone: // its end counts as the last that was granted
			was.Read, was.Full, was.Gone = grant.NextEpoch(was.Read, now), grant.NextEpoch(was.Full, now), true
			out.Shares[id] = was
		case time.Unix(int64(min(max(was.Read, was.Full), 1<<40)), 0).Add(sealKeeps).Before(now):
			delete(out.Shares, id)
		}
	}
	return out
}

// safe is a registry of which nobody knows where it comes from: all that was granted ends, and of what it and the seal say of
// devices the stricter counts.
func (s seal) safe(c content, now time.Time) content {
	out := content{blocked: maps.Clone(c.blocked)}
	for _, m := range s.Blocked {
		if id, err := m.id(); err == nil && len(out.blocked) < MaxBlocked {
			put(&out.blocked, id, Block{Name: m.Name, Since: m.Since})
		}
	}
	for _, it := range c.items {
		it.Share = it.clone()
		was, known := s.Shares[it.ID.String()]
		it.Epochs.Read = grant.NextEpoch(max(it.Epochs.Read, was.Read), now)
		it.Epochs.Full = grant.NextEpoch(max(it.Epochs.Full, was.Full), now)
		if known {
			was.restrict(&it.Share)
		}
		out.items = append(out.items, it)
	}
	return out
}

// restrict takes from devices what the seal does not give them.
func (was sealShare) restrict(s *Share) {
	sealed := make(map[string]string)
	for _, p := range was.Peers {
		sealed[p.Peer] = p.Right
	}
	for id, right := range s.Peers {
		if r, err := share.ParseRight(sealed[id.String()]); err != nil || r == share.None {
			delete(s.Peers, id)
		} else {
			s.Peers[id] = min(right, r)
		}
	}
	union(&s.Denied, was.Denied)
	union(&s.Suspended, was.Suspended)
	for id := range s.Denied {
		delete(s.Peers, id)
	}
}

// union adds marks, as far as there is room.
func union(m *map[peer.ID]time.Time, more []fileMark) {
	for _, x := range more {
		if id, err := x.id(); err == nil && len(*m) < MaxPeers {
			put(m, id, x.Since)
		}
	}
}

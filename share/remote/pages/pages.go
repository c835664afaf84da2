// Package pages looks at what another peer lists before it is believed: names that can be, of the depth that was asked for,
// in order, and no more of them than any folder has.
package pages

import (
	"errors"
	"slices"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/sharepb"
)

// Full is how a path in the share is called in messages.
type Full func(share.Path) string

// Lie is the error of an answer that can't be true.
func Lie(full Full, p share.Path, what string) error {
	return &peer.Error{Path: full(p), Kind: peer.Integrity, Err: errors.New("the peer's answer can't be true: " + what)}
}

// Answer checks the pages that answer one request, in the order in which they come.
type Answer struct {
	Verb sharepb.Verb // that was asked
	Base share.Path   // what it was asked of
	Most int          // entries that are believed
	Full Full

	Pages int            // so far
	Space *sharepb.Space // of the last page
	seen  int
	last  []string // the path of the last entry
}

// Page gives the entries of the next page, or an error of kind Integrity, which ends the answer.
func (a *Answer) Page(m *sharepb.Page) ([]share.Entry, error) {
	a.Pages++
	a.seen += len(m.Entries)
	a.Space = m.Space
	switch {
	case (m.Space != nil) != (a.Verb == sharepb.Verb_VERB_SPACE && m.Error == nil), m.GetSpace().GetFree() < 0, m.GetSpace().GetFree() > m.GetSpace().GetTotal():
		return nil, Lie(a.Full, a.Base, "its sums make no sense")
	case a.seen > a.Most:
		return nil, Lie(a.Full, a.Base, "it lists more than any folder has")
	case len(m.Entries) > serve.PageEntries:
		return nil, Lie(a.Full, a.Base, "a page of its list is too long")
	case len(m.Entries) == 0 && m.Error == nil && !m.End:
		return nil, Lie(a.Full, a.Base, "a page of its list is empty")
	}
	entries := make([]share.Entry, len(m.Entries))
	for i, e := range m.Entries {
		var err error
		if entries[i], err = a.entry(e); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// entry checks what a peer tells of. A name that no peer should send is an error: the rest is not worth more. Nor is it
// when entries come in another order than [share.FS] says, which also keeps each from coming twice.
func (a *Answer) entry(m *sharepb.Entry) (share.Entry, error) {
	path, err := share.ParsePath(slices.Concat(a.Base.Components(), m.Path))
	if err != nil {
		return share.Entry{}, &peer.Error{Kind: peer.Integrity, Err: err, Hint: "the peer sends names that can't be"}
	}
	fits := false
	switch depth := len(m.Path); a.Verb {
	case sharepb.Verb_VERB_STAT:
		fits = depth == 0 && a.seen == 1
	case sharepb.Verb_VERB_LIST:
		fits = depth == 1
	case sharepb.Verb_VERB_WALK:
		fits = depth > 0
	}
	if !fits {
		return share.Entry{}, Lie(a.Full, path, "an entry of its list makes no sense")
	}
	if a.last != nil && slices.Compare(a.last, m.Path) >= 0 {
		return share.Entry{}, Lie(a.Full, path, "its list is out of order")
	}
	a.last = m.Path
	return Entry(a.Full, path, m)
}

// Entry is an entry of a path, if it makes sense.
func Entry(full Full, path share.Path, m *sharepb.Entry) (share.Entry, error) {
	e := share.Entry{Path: path, Kind: share.EntryKind(m.Kind), Size: m.Size, ModTime: time.Unix(0, m.ModTime), Exec: m.Exec}
	if (e.Kind != share.File && e.Kind != share.Dir) || m.Size < 0 || len(m.Version) != len(e.Version) {
		return share.Entry{}, Lie(full, path, "an entry of its list makes no sense")
	}
	copy(e.Version[:], m.Version)
	if m.Lock != nil {
		id, err := peer.ParseID(m.Lock.Peer)
		if err != nil {
			return share.Entry{}, Lie(full, path, "somebody works on it who can't be")
		}
		e.Lock = &share.Lock{Peer: id, Name: peer.CleanName(m.Lock.Name, peer.Name(peer.Short(id))), Since: time.Unix(0, m.Lock.Since)}
	}
	return e, nil
}

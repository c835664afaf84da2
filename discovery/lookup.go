package discovery

import (
	"fmt"
	"strings"

	"github.com/peerd/peerd/peer"
)

// Lookup finds the one peer of the workgroup that a user means: by name (letter case as typed, else without regard to
// it), by ID, by the beginning of an ID, or by its end as screens show it, the latter two of at least peer.ShortLen
// characters. It fails with peer.NotFound, or with peer.Usage where the text fits several, who are listed in the error.
func (v *View) Lookup(who string) (Peer, error) {
	if id, err := peer.ParseID(who); err == nil {
		if p, ok := v.Get(id); ok {
			return p, nil
		}
		return Peer{}, v.unknown(who)
	}
	found := fitting(v.Snapshot(), who)
	switch len(found) {
	case 0:
		return Peer{}, v.unknown(who)
	case 1:
		return found[0], nil
	}
	var list []string
	for _, p := range found[:min(len(found), 5)] {
		list = append(list, fmt.Sprintf("%s (%s)", peer.Quote(string(p.Name)), peer.Short(p.ID)))
	}
	if len(found) > len(list) {
		list = append(list, fmt.Sprintf("%d more", len(found)-len(list)))
	}
	return Peer{}, &peer.Error{Path: "//" + who, Kind: peer.Usage,
		Err:  fmt.Errorf("it may be any of %s", strings.Join(list, ", ")),
		Hint: "name the peer by the ID in brackets"}
}

// fitting gives those that a text names. A name never hides a peer whose ID fits, and the other way round: a stranger
// could call itself like the ID of somebody else.
func fitting(all []Peer, who string) []Peer {
	exact := false
	for _, p := range all {
		exact = exact || string(p.Name) == who
	}
	var found []Peer
	for _, p := range all {
		named := string(p.Name) == who || !exact && strings.EqualFold(string(p.Name), who)
		if named || len(who) >= peer.ShortLen && fitsID(p.ID, who) {
			found = append(found, p)
		}
	}
	return found
}

func fitsID(id peer.ID, part string) bool {
	s := id.String()
	return strings.HasPrefix(s, part) || strings.HasSuffix(s, part)
}

func (v *View) unknown(who string) error {
	e := &peer.Error{Path: "//" + who, Kind: peer.NotFound, Err: fmt.Errorf("no such peer in workgroup %s", peer.Quote(v.workgroup)),
		Hint: `run "peerd peers" to see who is there, or "peerd doctor" for why somebody is not`}
	for _, p := range v.Others() {
		if p.ID.String() == who || strings.EqualFold(string(p.Name), who) {
			e.Hint = fmt.Sprintf("a peer of that name is in workgroup %s", peer.Quote(p.Workgroup))
		}
	}
	return e
}

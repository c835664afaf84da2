package registry

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
)

// MaxBlocked is how many peers are blocked at most.
const MaxBlocked = 1024

// Standing is what the owner of a share says of one device, beside what the slots say of everybody.
type Standing struct {
	Allowed   share.Right // without a password
	Denied    bool        // whatever it knows and was granted
	Suspended bool        // it reads at most
}

// Standing is what is said of a device.
func (s Share) Standing(who peer.ID) Standing {
	_, denied := s.Denied[who]
	_, suspended := s.Suspended[who]
	return Standing{Allowed: s.Peers[who], Denied: denied, Suspended: suspended}
}

// Allow gives a device a right that needs no password, in place of one that it was given before, and denies it no more. What
// it was granted beyond that by an earlier Allow ends.
func (r *Registry) Allow(id share.ID, who peer.ID, right share.Right, now time.Time) (Share, error) {
	return r.Set(id, func(s *Share) {
		delete(s.Denied, who)
		put(&s.Peers, who, right)
	}, now)
}

// Deny takes from a device what it was allowed, and refuses it whatever it knows, until it is allowed again or
// [Registry.Undeny]. Nobody else's grants end.
func (r *Registry) Deny(id share.ID, who peer.ID, now time.Time) (Share, error) {
	return r.Set(id, func(s *Share) {
		delete(s.Peers, who)
		mark(&s.Denied, who, now)
	}, now)
}

// Undeny makes a device that was denied one like any other. One that is not denied is [peer.NotFound].
func (r *Registry) Undeny(id share.ID, who peer.ID, now time.Time) (Share, error) {
	found := false
	s, err := r.Set(id, func(s *Share) {
		_, found = s.Denied[who]
		delete(s.Denied, who)
	}, now)
	if err == nil && !found {
		err = &peer.Error{Op: "undo deny", Path: who.String(), Kind: peer.NotFound, Err: errors.New("the peer is not denied")}
	}
	return s, err
}

// Suspend leaves a device the right to read at most, whatever it was granted, until [Registry.Resume].
func (r *Registry) Suspend(id share.ID, who peer.ID, now time.Time) error {
	_, err := r.Set(id, func(s *Share) { mark(&s.Suspended, who, now) }, now)
	return err
}

// Resume ends what Suspend began: what was granted counts again. A device that is not suspended is [peer.NotFound].
func (r *Registry) Resume(id share.ID, who peer.ID, now time.Time) (Share, error) {
	found := false
	s, err := r.Set(id, func(s *Share) {
		_, found = s.Suspended[who]
		delete(s.Suspended, who)
	}, now)
	if err == nil && !found {
		err = &peer.Error{Op: "resume", Path: who.String(), Kind: peer.NotFound, Err: errors.New("the peer is not suspended")}
	}
	return s, err
}

func put[V any](m *map[peer.ID]V, who peer.ID, v V) {
	if *m == nil {
		*m = make(map[peer.ID]V)
	}
	(*m)[who] = v
}

// mark notes a time of which the first counts.
func mark(m *map[peer.ID]time.Time, who peer.ID, now time.Time) {
	if _, ok := (*m)[who]; !ok {
		put(m, who, now.UTC().Truncate(time.Second))
	}
}

// Block is a peer that this one has nothing to do with.
type Block struct {
	Name  peer.Name // what it called itself, if that is known
	Since time.Time
}

// Block has nothing to do with a peer any more. One that is blocked already stays as it is.
func (r *Registry) Block(who peer.ID, name peer.Name, now time.Time) error {
	return r.setBlocked(who, func(all map[peer.ID]Block) error {
		if _, ok := all[who]; ok {
			return nil
		}
		if len(all) >= MaxBlocked {
			return &peer.Error{Op: "block", Path: who.String(), Kind: peer.Usage, Err: fmt.Errorf("%d peers are blocked already", len(all))}
		}
		all[who] = Block{Name: name, Since: now.UTC().Truncate(time.Second)}
		return nil
	})
}

// Unblock takes Block back. A peer that is not blocked is [peer.NotFound].
func (r *Registry) Unblock(who peer.ID) error {
	return r.setBlocked(who, func(all map[peer.ID]Block) error {
		if _, ok := all[who]; !ok {
			return &peer.Error{Op: "unblock", Path: who.String(), Kind: peer.NotFound, Err: errors.New("the peer is not blocked"), Hint: `run "peerd block"`}
		}
		delete(all, who)
		return nil
	})
}

func (r *Registry) setBlocked(who peer.ID, edit func(map[peer.ID]Block) error) error {
	r.change.Lock()
	defer r.change.Unlock()
	if err := checkID(who); err != nil {
		return err
	}
	all := r.Blocked()
	if err := edit(all); err != nil {
		return err
	}
	if err := r.save(content{r.snapshot(), all}); err != nil {
		return err
	}
	r.mu.Lock()
	r.blocked = all
	listeners := slices.Collect(maps.Keys(r.blocking))
	r.mu.Unlock()
	_, now := all[who]
	for _, l := range listeners {
		(*l)(who, now)
	}
	return nil
}

// Blocked are the peers that this one has nothing to do with, in a map of the caller's own.
func (r *Registry) Blocked() map[peer.ID]Block {
	r.mu.RLock()
	defer r.mu.RUnlock()
	all := maps.Clone(r.blocked)
	if all == nil {
		all = make(map[peer.ID]Block)
	}
	return all
}

// IsBlocked reports whether a peer is blocked.
func (r *Registry) IsBlocked(who peer.ID) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, ok := r.blocked[who]
	return ok
}

// OnBlock has f called after each peer that is blocked or no more, in the way of [Registry.OnChange].
func (r *Registry) OnBlock(f func(who peer.ID, blocked bool)) (stop func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blocking[&f] = true
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.blocking, &f)
	}
}

// checkID refuses what is no ID of a peer, which is an Ed25519 key.
func checkID(id peer.ID) error {
	if _, err := id.ExtractPublicKey(); err != nil || id.Validate() != nil {
		return &peer.Error{Op: "parse peer ID", Path: id.String(), Kind: peer.Usage, Err: errors.New("it is no ID of a peer")}
	}
	return nil
}

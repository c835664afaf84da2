package registry

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"path/filepath"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/grant"
	"github.com/peerd/peerd/share/setting"
)

// Limits of a share.
const (
	MaxComment = 256  // bytes
	MaxPeers   = 1024 // peers that a share allows, and those that it denies, and those that it suspends
)

// Mode is what a slot asks for.
type Mode uint8

// The modes. A slot is closed unless its owner opens it.
const (
	ModeNone     Mode = iota // nobody gets the right by it
	ModeOpen                 // everybody does
	ModePassword             // who knows the password does
)

var modeText = [...]string{ModeNone: "none", ModeOpen: "open", ModePassword: "password"}

func (m Mode) String() string {
	if int(m) < len(modeText) {
		return modeText[m]
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// ParseMode reads the text form of a mode.
func ParseMode(s string) (Mode, error) {
	if i := slices.Index(modeText[:], s); i >= 0 {
		return Mode(i), nil
	}
	return ModeNone, &peer.Error{Op: "parse mode", Path: s, Kind: peer.Usage, Hint: "it is one of none, open, password"}
}

// slots are the rights that have one.
var slots = [...]share.Right{share.Read, share.Full}

// Slots are the modes of a share's two slots.
type Slots struct{ Read, Full Mode }

func (s *Slots) at(right share.Right) *Mode {
	if right == share.Full {
		return &s.Full
	}
	return &s.Read
}

// Of is the mode of the slot of a right; there is none for [share.None].
func (s Slots) Of(right share.Right) Mode {
	if right == share.None {
		return ModeNone
	}
	return *s.at(right)
}

// Open is the right that anybody has.
func (s Slots) Open() share.Right {
	switch {
	case s.Full == ModeOpen:
		return share.Full
	case s.Read == ModeOpen:
		return share.Read
	}
	return share.None
}

// Secret is what proves the password of a slot, made by package auth: the record goes to the registry's file, the keys to a
// file of their own.
type Secret struct{ Keys, Record []byte }

// Secrets are those of a share's slots; an empty one is none.
type Secrets struct{ Read, Full Secret }

func (s Secrets) of(right share.Right) Secret {
	if right == share.Full {
		return s.Full
	}
	return s.Read
}

func (s Secrets) with(right share.Right, sec Secret) Secrets {
	if right == share.Full {
		s.Full = sec
	} else {
		s.Read = sec
	}
	return s
}

// Share is a folder that this peer offers.
type Share struct {
	ID      share.ID
	Name    share.Name
	Dir     string // absolute, without symbolic links
	Comment string // at most [MaxComment] bytes
	Hidden  bool   // beside names that hide themselves, see [Share.Visible]
	Slots   Slots
	// Peers have a right without a password, whatever the slots say.
	Peers map[peer.ID]share.Right
	// Denied have none, whatever they know, and Suspended read at most; since when.
	Denied, Suspended map[peer.ID]time.Time
	Settings          setting.Settings
	Epochs            grant.Epochs
	// Mount says that Dir was a mount point when it was shared, so that it counts only while something is mounted there.
	Mount     bool
	Ephemeral bool // for this run only: never saved
	Created   time.Time
}

// Visible reports whether other peers may learn that there is this share.
func (s Share) Visible() bool { return !s.Hidden && !s.Name.Hidden() }

// Info is what others are told of the share, if it is [Share.Visible].
func (s Share) Info() share.Info {
	return share.Info{ID: s.ID, Name: s.Name, Comment: s.Comment, Open: s.Slots.Open()}
}

func (s Share) clone() Share {
	s.Peers, s.Denied, s.Suspended = maps.Clone(s.Peers), maps.Clone(s.Denied), maps.Clone(s.Suspended)
	return s
}

func (s *Share) bump(right share.Right, now time.Time) {
	e := &s.Epochs.Read
	if right == share.Full {
		e = &s.Epochs.Full
	}
	*e = grant.NextEpoch(*e, now)
}

// check says what is wrong with a share, apart from where its folder is.
func (s Share) check(proofs [2]proof) error {
	_, err := share.ParseName(string(s.Name))
	switch {
	case err != nil:
		return err
	case s.ID == share.ID{}:
		err = errors.New("it has no ID")
	case s.Epochs.Read == 0 || s.Epochs.Full == 0:
		err = errors.New("it has no epoch")
	case !filepath.IsAbs(s.Dir):
		err = errors.New("its folder is no absolute path")
	case !utf8.ValidString(s.Dir):
		err = errors.New("its folder has a name that is not UTF-8")
	case s.Comment != "" && peer.CheckText(s.Comment, MaxComment) != nil:
		err = fmt.Errorf("its comment: %w", peer.CheckText(s.Comment, MaxComment))
	case max(len(s.Peers), len(s.Denied), len(s.Suspended)) > MaxPeers:
		err = fmt.Errorf("it names more than %d peers", MaxPeers)
	}
	for i, right := range slots {
		if mode := s.Slots.Of(right); mode > ModePassword || mode == ModePassword && !proofs[i].set() {
			err = fmt.Errorf("its %s slot wants a password and none is set", right)
		}
	}
	for id, right := range s.Peers {
		if _, denied := s.Denied[id]; denied || right != share.Read && right != share.Full {
			err = errors.New("it names a peer without a right, or one that is denied as well")
		}
	}
	for _, ids := range []iter.Seq[peer.ID]{maps.Keys(s.Peers), maps.Keys(s.Denied), maps.Keys(s.Suspended)} {
		for id := range ids {
			if idErr := checkID(id); idErr != nil {
				err = idErr
			}
		}
	}
	if err != nil {
		return &peer.Error{Op: "share", Path: string(s.Name), Kind: peer.Usage, Err: err}
	}
	return nil
}

// lost gives the rights that came to an end by a slot from one state of a share to the next. What is said of a device ends
// no right of others, so it is looked at whenever the device asks.
func lost(before, after Share) (rights []share.Right) {
	for _, right := range slots {
		was, is := before.Slots.Of(right), after.Slots.Of(right)
		if was != ModeNone && is != ModeOpen && was != is {
			rights = append(rights, right)
		}
	}
	return rights
}

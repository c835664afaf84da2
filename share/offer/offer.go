// Package offer makes the folders of a registry into what is served: their files, confined, and what checks their passwords.
package offer

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/zeebo/blake3"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/auth"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/local"
	"github.com/peerd/peerd/share/registry"
	"github.com/peerd/peerd/share/serve"
)

// Offers are the shares of this peer. It is safe for concurrent use.
type Offers struct {
	Registry *registry.Registry
	log      *slog.Logger

	mu      sync.Mutex
	folders map[share.ID]*local.FS
}

var _ serve.Offers = (*Offers)(nil)

// New serves what reg names.
func New(reg *registry.Registry, log *slog.Logger) *Offers {
	o := &Offers{Registry: reg, log: log, folders: make(map[share.ID]*local.FS)}
	reg.OnChange(func(before, _ *registry.Share) {
		if before != nil {
			o.mu.Lock()
			defer o.mu.Unlock()
			delete(o.folders, before.ID)
		}
	})
	return o
}

// Named finds a share by its name.
func (o *Offers) Named(name string) (serve.Offer, bool) { return o.offer(o.Registry.Get(name)) }

// ByID finds a share by its ID.
func (o *Offers) ByID(id share.ID) (serve.Offer, bool) { return o.offer(o.Registry.ByID(id)) }

// Listed are the shares that are not hidden.
func (o *Offers) Listed() ([]share.Info, uint64) {
	var out []share.Info
	for _, s := range o.Registry.List() {
		if s.Visible() {
			out = append(out, s.Info())
		}
	}
	return out, o.Registry.Revision()
}

func (o *Offers) offer(s registry.Share, err error) (serve.Offer, bool) {
	if err != nil {
		return serve.Offer{}, false
	}
	fs, err := o.folder(s)
	if err != nil {
		o.log.Error("a share can't be served", "share", s.Name, "err", err)
		return serve.Offer{}, false
	}
	return serve.Offer{
		Info: s.Info(), Hidden: !s.Visible(), Epochs: s.Epochs, FS: fs,
		Credentials: func() (auth.Credentials, error) { return o.credentials(s.ID) },
	}, true
}

// folder gives the files of a share, the same for all who ask.
func (o *Offers) folder(s registry.Share) (*local.FS, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if fs := o.folders[s.ID]; fs != nil {
		return fs, nil
	}
	name := string(s.Name)
	fs, err := local.New(s.Dir, local.Options{Mount: s.Mount, Skipped: func(path string, why error) {
		o.log.Debug("left out of a share", "share", name, "path", peer.Quote(path), "why", why)
	}})
	if err == nil {
		o.folders[s.ID] = fs
	}
	return fs, err
}

// credentials reads what checks a share's passwords.
func (o *Offers) credentials(id share.ID) (auth.Credentials, error) {
	read, err := o.credential(id, share.Read)
	if err != nil {
		return auth.Credentials{}, err
	}
	full, err := o.credential(id, share.Full)
	return auth.Credentials{Read: read, Full: full}, err
}

func (o *Offers) credential(id share.ID, right share.Right) (auth.Credential, error) {
	sec, err := o.Registry.Secret(id, right)
	if err != nil {
		return auth.Credential{}, err
	}
	keys, err := auth.ParseServerKeys(sec.Keys)
	if err != nil {
		return auth.Credential{}, err
	}
	record, err := auth.ParseRecord(sec.Record)
	return auth.Credential{Keys: keys, Record: record}, err
}

// AddForRun offers a folder, without links in its path, until the program ends, open for reading. A folder that is offered so
// for good already stays as it is.
func (o *Offers) AddForRun(owner peer.ID, name share.Name, dir string) (registry.Share, error) {
	if have, err := o.Registry.Get(string(name)); err == nil && have.Dir == dir && have.Slots.Open() >= share.Read {
		return have, nil
	}
	// The same folder has the same ID in every run, so that what others fetched a part of stays the same share to them.
	sum := blake3.Sum256([]byte("peerd share for one run\x00" + string(owner) + "\x00" + dir + "\x00" + string(name)))
	id := share.ID(sum[:len(share.ID{})])
	sec, err := NewSecrets(id, "", "")
	if err != nil {
		return registry.Share{}, err
	}
	return o.Registry.Add(registry.Share{
		ID: id, Name: name, Dir: dir, Ephemeral: true, Slots: registry.Slots{Read: registry.ModeOpen},
	}, sec, time.Now())
}

// NewSecrets makes what checks the passwords of a new share. Both slots always get something, so that nobody can tell
// which of them has a password.
func NewSecrets(id share.ID, read, full string) (registry.Secrets, error) {
	var sec registry.Secrets
	var err error
	if sec.Read, err = NewSecret(id, auth.Read, read); err != nil {
		return sec, err
	}
	sec.Full, err = NewSecret(id, auth.Full, full)
	return sec, err
}

// NewSecret makes what checks one password; the empty one is a password that nobody has.
func NewSecret(id share.ID, slot auth.Slot, text string) (registry.Secret, error) {
	keys := auth.NewServerKeys()
	var record auth.Record
	var err error
	if text == "" {
		record, err = auth.RegisterUnset(keys, id, slot)
	} else {
		var p auth.Password
		if p, err = auth.NewPassword(text); err == nil {
			record, err = auth.Register(keys, id, slot, p)
		}
	}
	if err != nil {
		return registry.Secret{}, err
	}
	return registry.Secret{Keys: keys.Bytes(), Record: record.Bytes()}, nil
}

// CheckPassword refuses a password that can be guessed, or that opens the share's other slot already.
func (o *Offers) CheckPassword(text string, s *registry.Share, slot auth.Slot) error {
	p, err := auth.NewPassword(text)
	if err != nil {
		return err
	}
	var known []string
	if s != nil {
		known = []string{string(s.Name), s.Comment}
	}
	if err := auth.CheckChosen(p, known...); err != nil {
		return err
	}
	if s == nil {
		return nil
	}
	other, right := auth.Read, share.Read
	if slot == auth.Read {
		other, right = auth.Full, share.Full
	}
	if s.Slots.Of(right) != registry.ModePassword {
		return nil
	}
	c, err := o.credential(s.ID, right)
	if err != nil {
		return err
	}
	if auth.Matches(c, s.ID, other, p) {
		return &peer.Error{Op: "set password", Kind: peer.Usage, Err: errors.New("the share's other password is the same"), Hint: "choose another"}
	}
	return nil
}

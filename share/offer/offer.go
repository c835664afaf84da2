// Package offer makes the folders of a registry into what is served: their files, confined, and what checks their passwords.
package offer

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/zeebo/blake3"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/auth"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/registry"
	"github.com/peerd/peerd/share/serve"
)

// Offers are the shares of this peer. It is safe for concurrent use.
type Offers struct {
	Registry *registry.Registry
	Self     peer.ID // whose shares these are, which may do all there is; set before anything is served
	Hooks    Hooks   // set before anything is served
	log      *slog.Logger

	ctx   context.Context // ends with Close
	end   context.CancelFunc
	tasks sync.WaitGroup

	mu     sync.Mutex
	shared map[share.ID]*files
}

var _ serve.Offers = (*Offers)(nil)

// New serves what reg names, until Close.
func New(reg *registry.Registry, log *slog.Logger) *Offers {
	o := &Offers{Registry: reg, log: log, shared: make(map[share.ID]*files)}
	o.ctx, o.end = context.WithCancel(context.Background())
	reg.OnChange(func(before, after *registry.Share) {
		if before == nil {
			return
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		switch f := o.shared[before.ID]; {
		case f == nil:
		case after == nil:
			f.close()
			delete(o.shared, before.ID)
		case after.Settings != before.Settings:
			clear(f.brakes)
		}
	})
	return o
}

// Start finishes what a crash left half done in the shares that others may change, and watches them. What is away is left for when
// somebody asks for it.
func (o *Offers) Start() {
	for _, s := range o.Registry.List() {
		if s.Slots.Full == registry.ModeNone && !slices.Contains(slices.Collect(maps.Values(s.Peers)), share.Full) {
			continue
		}
		o.tasks.Go(func() {
			if _, err := o.Edit(serve.Offer{Info: s.Info()}); err != nil {
				o.log.Warn("a share can't be changed", "share", s.Name, "err", err)
			}
		})
	}
}

// Close ends the watching of shares. Nothing is served by then.
func (o *Offers) Close() {
	o.end()
	o.tasks.Wait()
}

// Named finds a share by its name.
func (o *Offers) Named(name string) (serve.Offer, bool) { return o.offer(o.Registry.Get(name)) }

// ByID finds a share by its ID.
func (o *Offers) ByID(id share.ID) (serve.Offer, bool) { return o.offer(o.Registry.ByID(id)) }

// Listed are the shares that are not hidden, as a device is told of them.
func (o *Offers) Listed(to peer.ID) ([]share.Info, uint64) {
	var out []share.Info
	for _, s := range o.Registry.List() {
		if s.Visible() {
			info := s.Info()
			info.Open, _ = o.standing(s, to).Free(info.Open)
			out = append(out, info)
		}
	}
	return out, o.Registry.Revision()
}

func (o *Offers) offer(s registry.Share, err error) (serve.Offer, bool) {
	if err != nil {
		return serve.Offer{}, false
	}
	f, err := o.files(s)
	if err != nil {
		o.log.Error("a share can't be served", "share", s.Name, "err", err)
		return serve.Offer{}, false
	}
	return serve.Offer{
		Info: s.Info(), Hidden: !s.Visible(), Epochs: s.Epochs, FS: f.fs, Old: o.old(s.ID),
		Credentials: func() (auth.Credentials, error) { return o.credentials(s.ID) },
		Standing:    func(who peer.ID) serve.Standing { return o.standing(s, who) },
		Space:       func(ctx context.Context, who peer.ID) (int64, int64, error) { return o.space(ctx, s, who) },
	}, true
}

// standing is what is said of a device in a share. One that is blocked is denied everywhere.
func (o *Offers) standing(s registry.Share, who peer.ID) serve.Standing {
	if who == o.Self && who != "" {
		return serve.Standing{Allowed: share.Full}
	}
	st := serve.Standing(s.Standing(who))
	st.Denied = st.Denied || o.Registry.IsBlocked(who)
	return st
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
	sec, err := NewSecrets(id, auth.Password{}, auth.Password{})
	if err != nil {
		return registry.Share{}, err
	}
	return o.Registry.Add(registry.Share{
		ID: id, Name: name, Dir: dir, Ephemeral: true, Slots: registry.Slots{Read: registry.ModeOpen},
	}, sec, time.Now())
}

// NewSecrets makes what checks the passwords of a new share. Both slots always get something, so that nobody can tell
// which of them has a password.
func NewSecrets(id share.ID, read, full auth.Password) (registry.Secrets, error) {
	var sec registry.Secrets
	var err error
	if sec.Read, err = NewSecret(id, auth.Read, read); err != nil {
		return sec, err
	}
	sec.Full, err = NewSecret(id, auth.Full, full)
	return sec, err
}

// NewSecret makes what checks one password; the zero one is a password that nobody has.
func NewSecret(id share.ID, slot auth.Slot, p auth.Password) (registry.Secret, error) {
	keys := auth.NewServerKeys()
	var record auth.Record
	var err error
	if p.IsZero() {
		record, err = auth.RegisterUnset(keys, id, slot)
	} else {
		record, err = auth.Register(keys, id, slot, p)
	}
	if err != nil {
		return registry.Secret{}, err
	}
	return registry.Secret{Keys: keys.Bytes(), Record: record.Bytes()}, nil
}

// CheckPassword refuses a password that can be guessed, or that opens the share's other slot already.
func (o *Offers) CheckPassword(p auth.Password, s *registry.Share, slot auth.Slot) error {
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

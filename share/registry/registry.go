// Package registry knows which folders this peer offers, under which names, and what opens them: per right a slot that is
// closed, open, or has a password, and an epoch that revokes what was granted before. Nothing is open unless its owner says so.
//
// It is one file, registry.json, with a folder keys/ beside it. What proves a password (OPAQUE records) is in the file, the
// keys that it needs are apart, so that the file alone, or a backup of it, is no start for guessing. Both are opaque here.
//
// A second file, registry.seal, tells the registry that was written last from any other. All that was granted ends where another
// is found: what came back from a backup brings no right back.
package registry

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/grant"
	"github.com/peerd/peerd/share/mounted"
)

// Options are what a registry needs to know of its surroundings.
type Options struct {
	// Own are the folders where peerd keeps keys, state, caches and sockets; none may lie in a share, nor a share in one.
	Own []string
	// Home is the user's home folder, which is never shared as a whole; by default os.UserHomeDir.
	Home string
	// Mounts are the folders where this computer shows what others share. None may lie in a share, nor a share in one: what a
	// login opened here would be open to all whom the share lets in. By default there are none.
	Mounts func() []string
	// Secret is what [Registry.Revision] is made with, of this node alone and the same at every start. By default it is random.
	Secret []byte
	// Log is told of leftovers that were removed, and of rights that ended. By default nobody is.
	Log *slog.Logger
	// Now is the time when a registry is opened or saved; by default [time.Now].
	Now func() time.Time
}

// Registry is the shares of this peer. It may be used from several goroutines.
type Registry struct {
	files files
	opt   Options

	change sync.Mutex // held over a change and its listeners, so that those see changes in order
	seal   sealer     // guarded by change

	mu        sync.RWMutex      // guards what follows
	items     []item            // sorted by fold key of the name
	blocked   map[peer.ID]Block // replaced, never changed
	listeners map[*func(before, after *Share)]bool
	blocking  map[*func(who peer.ID, blocked bool)]bool
}

// item is a share with what proves its passwords. Items are replaced, never changed.
type item struct {
	Share
	proofs [2]proof // read, full
}

// proof is the material of one slot: its record, and where its keys are.
type proof struct {
	record []byte
	file   string // the name of the keys' file in keys/
	keys   []byte // the keys themselves, for a share of this run
}

func (p proof) set() bool { return len(p.record) > 0 }

// Open loads the registry in the folder dir, which is made if it is missing. A file that can't be read is an error that says
// what to do, and is left as it is.
func Open(dir string, opt Options) (*Registry, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Home == "" {
		opt.Home, _ = os.UserHomeDir() // without one there is nothing to watch for
	}
	if opt.Mounts == nil {
		opt.Mounts = func() []string { return nil }
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if len(opt.Secret) == 0 {
		opt.Secret = make([]byte, 32)
		rand.Read(opt.Secret) // never fails (crypto/rand)
	}
	opt.Own = append(slices.Clone(opt.Own), dir)
	r := &Registry{files: files{dir}, opt: opt, listeners: map[*func(_, _ *Share)]bool{}, blocking: map[*func(peer.ID, bool)]bool{}}
	c, raw, err := r.files.load(opt.Log)
	if err != nil {
		return nil, err
	}
	for _, it := range c.items {
		if err := r.load(it); err != nil {
			return nil, r.files.broken(err)
		}
	}
	r.blocked = c.blocked
	r.seal = sealer{files: r.files, log: opt.Log}
	r.seal.open()
	return r, r.checkSeal(raw)
}

// checkSeal ends all that was granted if the file, which holds raw, is not the one that was written last.
func (r *Registry) checkSeal(raw []byte) error {
	why := ""
	if raw != nil {
		why = r.seal.foreign(raw)
	}
	switch {
	case why != "":
		r.opt.Log.Warn("registry: this file is not the one that peerd wrote last, so all logins and grants of before are over",
			"file", r.files.path(), "why", why)
		safe := r.seal.last.safe(content{r.items, r.blocked}, r.opt.Now())
		r.items, r.blocked = safe.items, safe.blocked
		return r.save(safe)
	case r.seal.last.Next != nil && raw != nil: // a crash came before the last word
		return r.seal.finish(raw)
	}
	return nil
}

// load takes an item from the file, after the same checks as a new one: somebody may have edited it. Its folder need not be
// there at the moment.
func (r *Registry) load(it item) error {
	if err := it.check(it.proofs); err != nil {
		return err
	}
	if err := r.checkPlace(it.Dir); err != nil {
		return err
	}
	if on := mounted.On(it.Dir); on != "" {
		r.opt.Log.Warn("registry: a share is away while other computers' shares are mounted in its place", "share", it.Name, "mounted", on)
	}
	if _, err := r.item(it.ID); err == nil {
		return fmt.Errorf("two shares have the ID %s", it.ID)
	}
	if err := r.clash(it.Share); err != nil {
		return err
	}
	r.items = with(r.items, it)
	return nil
}

// Add offers the folder s.Dir under s.Name, with sec for the slots. ID (unless the caller made one with [NewID], to bind
// secrets to it), Created, Epochs and Mount are filled in and Dir is resolved; the share is given back as it stands.
//
// A name that is taken is a [peer.Conflict], a folder that must not be shared [peer.Usage], with the reason.
func (r *Registry) Add(s Share, sec Secrets, now time.Time) (Share, error) {
	r.change.Lock()
	defer r.change.Unlock()
	if s.ID == (share.ID{}) {
		s.ID = NewID()
	}
	s = s.clone()
	s.Epochs, s.Created = grant.Epochs{}, now.UTC().Truncate(time.Second)
	s.bump(share.Read, now)
	s.bump(share.Full, now)
	if _, err := r.ByID(s.ID); err == nil {
		return Share{}, &peer.Error{Op: "share", Path: string(s.Name), Kind: peer.Conflict, Err: errors.New("there is a share with this ID")}
	}
	if err := r.place(&s); err != nil {
		return Share{}, err
	}
	it := item{Share: s}
	for i, right := range slots {
		it.proofs[i] = it.proof(right, sec.of(right))
	}
	if err := r.put(nil, it, sec); err != nil {
		return Share{}, err
	}
	return s.clone(), nil
}

// Set changes a share: edit is given a copy, and may change all but ID, Created, Epochs, Mount and Ephemeral. Where a slot was
// closed or got a password, all that was granted of its right is lost: the epoch of the right rises. edit must not use the
// registry.
func (r *Registry) Set(id share.ID, edit func(*Share), now time.Time) (Share, error) {
	r.change.Lock()
	defer r.change.Unlock()
	before, err := r.item(id)
	if err != nil {
		return Share{}, err
	}
	s := before.clone()
	edit(&s)
	s.ID, s.Created, s.Epochs, s.Mount, s.Ephemeral = before.ID, before.Created, before.Epochs, before.Mount, before.Ephemeral
	for _, right := range lost(before.Share, s) {
		s.bump(right, now)
	}
	if s.Dir != before.Dir {
		if err := r.place(&s); err != nil {
			return Share{}, err
		}
	}
	if err := r.put(&before, item{Share: s.clone(), proofs: before.proofs}, Secrets{}); err != nil {
		return Share{}, err
	}
	return s, nil
}

// SetSecret gives a slot a new password or none that anybody knows, sets its mode and raises its epoch. All of it is on the
// disk before SetSecret returns, and a crash leaves either the old or the new state.
func (r *Registry) SetSecret(id share.ID, slot share.Right, sec Secret, mode Mode, now time.Time) (Share, error) {
	i := slices.Index(slots[:], slot)
	if i < 0 || len(sec.Keys) == 0 || len(sec.Record) == 0 {
		return Share{}, &peer.Error{Op: "set password", Kind: peer.Usage, Err: errors.New("no such slot, or nothing to put there")}
	}
	r.change.Lock()
	defer r.change.Unlock()
	before, err := r.item(id)
	if err != nil {
		return Share{}, err
	}
	after := item{Share: before.clone(), proofs: before.proofs}
	*after.Slots.at(slot) = mode
	after.bump(slot, now)
	after.proofs[i] = after.proof(slot, sec)
	if err := r.put(&before, after, Secrets{}.with(slot, sec)); err != nil {
		return Share{}, err
	}
	return after.clone(), nil
}

// Remove ends a share and removes what proves its passwords. Files in its folder are not touched.
func (r *Registry) Remove(id share.ID) error {
	r.change.Lock()
	defer r.change.Unlock()
	before, err := r.item(id)
	if err != nil {
		return err
	}
	return r.commit(&before, nil)
}

// put checks and saves a share, its new secrets first.
func (r *Registry) put(before *item, after item, sec Secrets) error {
	if err := after.check(after.proofs); err != nil {
		return err
	}
	if err := r.clash(after.Share); err != nil {
		return err
	}
	if !after.Ephemeral {
		for i, right := range slots {
			s := sec.of(right)
			if len(s.Keys) == 0 {
				continue
			}
			if err := r.files.writeKeys(after.proofs[i].file, s.Keys); err != nil {
				return err
			}
		}
	}
	return r.commit(before, &after)
}

// commit makes after take the place of before, on the disk and then in memory, and tells of it. Either may be nil.
func (r *Registry) commit(before, after *item) error {
	items := r.snapshot()
	if before != nil {
		items = without(items, before.ID)
	}
	if after != nil {
		items = with(items, *after)
	}
	if (before == nil || !before.Ephemeral) && (after == nil || !after.Ephemeral) {
		if err := r.save(content{items, r.Blocked()}); err != nil {
			return err
		}
		r.files.sweepKeys(items, r.opt.Log)
	}
	r.mu.Lock()
	r.items = items
	listeners := slices.Collect(maps.Keys(r.listeners))
	r.mu.Unlock()
	for _, l := range listeners {
		(*l)(before.copy(), after.copy())
	}
	return nil
}

// List gives all shares, sorted by name without regard to case.
func (r *Registry) List() []Share {
	var list []Share
	for _, it := range r.snapshot() {
		list = append(list, it.clone())
	}
	return list
}

// Get finds a share by its name, without regard to case.
func (r *Registry) Get(name string) (Share, error) {
	for _, it := range r.snapshot() {
		if share.FoldKey(string(it.Name)) == share.FoldKey(name) {
			return it.clone(), nil
		}
	}
	return Share{}, &peer.Error{Path: name, Kind: peer.NotFound, Err: errors.New("no such share here"), Hint: `run "peerd share ls"`}
}

// ByID finds a share.
func (r *Registry) ByID(id share.ID) (Share, error) {
	it, err := r.item(id)
	if err != nil {
		return Share{}, err
	}
	return it.clone(), nil
}

// Secret gives what was set for a slot, whatever its mode: a slot without a password may have material that no password
// fits. Without any it is [peer.NotFound].
func (r *Registry) Secret(id share.ID, slot share.Right) (Secret, error) {
	it, err := r.item(id)
	if err != nil {
		return Secret{}, err
	}
	i := slices.Index(slots[:], slot)
	if i < 0 || !it.proofs[i].set() {
		return Secret{}, &peer.Error{Op: "read secret", Path: string(it.Name), Kind: peer.NotFound, Err: fmt.Errorf("the %s slot has none", slot)}
	}
	p := it.proofs[i]
	keys := p.keys
	if !it.Ephemeral {
		if keys, err = r.files.readKeys(p.file); err != nil {
			return Secret{}, &peer.Error{Op: "read secret", Path: string(it.Name), Kind: peer.Other, Err: err,
				Hint: fmt.Sprintf("set the password again: peerd share passwd %q %s", it.Name, slot)}
		}
	}
	return Secret{Keys: slices.Clone(keys), Record: slices.Clone(p.record)}, nil
}

// Revision is another number whenever what other peers may see of the shares is another: names, comments, what is open to all
// and to each of them; not what is hidden. It is made from just that, so it is the same after a restart, and with
// the secret, so that nobody can try out who is allowed or denied.
func (r *Registry) Revision() uint64 {
	h := hmac.New(sha256.New, r.opt.Secret)
	for _, it := range r.snapshot() {
		if info := it.Info(); it.Visible() {
			fmt.Fprintf(h, "%s %q %q %s\n", info.ID, info.Name, info.Comment, info.Open)
			for _, who := range slices.Sorted(maps.Keys(it.Peers)) {
				fmt.Fprintf(h, "%s %s\n", who, it.Peers[who])
			}
			for _, who := range slices.Sorted(maps.Keys(it.Denied)) {
				fmt.Fprintf(h, "%s denied\n", who)
			}
		}
	}
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// OnChange has f called after each change, one call at a time and in order: before is nil for a new share, after for one that
// is gone. It is called by the goroutine that made the change, which waits for it; f may read the registry but must not change
// it. stop ends it; a call that runs may then still go on.
func (r *Registry) OnChange(f func(before, after *Share)) (stop func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listeners[&f] = true
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.listeners, &f)
	}
}

func (r *Registry) save(c content) error { return r.seal.save(c, r.opt.Now()) }

func (r *Registry) snapshot() []item {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.items
}

func (r *Registry) item(id share.ID) (item, error) {
	items := r.snapshot()
	if i := slices.IndexFunc(items, func(it item) bool { return it.ID == id }); i >= 0 {
		return items[i], nil
	}
	return item{}, &peer.Error{Path: id.String(), Kind: peer.NotFound, Err: errors.New("no such share here")}
}

// clash says which other share has the name already.
func (r *Registry) clash(s Share) error {
	for _, it := range r.snapshot() {
		switch {
		case it.ID == s.ID:
		case share.FoldKey(string(it.Name)) == share.FoldKey(string(s.Name)):
			return &peer.Error{Op: "share", Path: string(s.Name), Kind: peer.Conflict,
				Err: fmt.Errorf("there is a share %s already", it.Name), Hint: "give the new one another name"}
		}
	}
	return nil
}

func with(items []item, it item) []item {
	items = append(slices.Clone(items), it)
	slices.SortFunc(items, func(a, b item) int {
		return strings.Compare(share.FoldKey(string(a.Name)), share.FoldKey(string(b.Name)))
	})
	return items
}

func without(items []item, id share.ID) []item {
	return slices.DeleteFunc(slices.Clone(items), func(it item) bool { return it.ID == id })
}

// proof makes what is kept of a secret: each gets a file of its own, so that the registry's file is what decides which
// counts.
func (it item) proof(slot share.Right, s Secret) proof {
	switch {
	case len(s.Record) == 0:
		return proof{}
	case it.Ephemeral:
		return proof{record: slices.Clone(s.Record), keys: slices.Clone(s.Keys)}
	}
	return proof{record: slices.Clone(s.Record), file: fmt.Sprintf("%s.%s.%d", it.ID, slot, it.Epochs.Of(slot))}
}

func (it *item) copy() *Share {
	if it == nil {
		return nil
	}
	s := it.clone()
	return &s
}

// NewID makes a share's ID.
func NewID() (id share.ID) {
	rand.Read(id[:]) // never fails (crypto/rand)
	return id
}

// place resolves and checks the folder of a share.
func (r *Registry) place(s *Share) error {
	if filepath.IsAbs(s.Dir) { // before anybody looks there
		if err := r.checkMounts(mounted.Resolve(s.Dir)); err != nil {
			return err
		}
	}
	dir, err := resolve(s.Dir)
	if err != nil {
		return err
	}
	if err := r.checkPlace(dir); err != nil {
		return err
	}
	if err := r.checkMounts(dir); err != nil {
		return err
	}
	s.Dir, s.Mount = dir, isMount(dir)
	return nil
}

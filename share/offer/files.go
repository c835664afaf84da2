package offer

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/local"
	"github.com/peerd/peerd/share/registry"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/serve/edit"
	"github.com/peerd/peerd/share/setting"
	"github.com/peerd/peerd/share/watch"
)

// Hooks are told what happens to the files of shares. They may be called from any goroutine, and must not use the Offers. Any
// may be nil.
type Hooks struct {
	// Changed is told of each change that somebody made through peerd, once it lasts.
	Changed func(s registry.Share, c change.Change)
	// Noticed is told of each change that the owner's own programs made, in a share that is watched.
	Noticed func(s registry.Share, ev watch.Event, before share.Entry)
	// Braked is told of a peer that changed too much too quickly, and has the full right no more.
	Braked func(s registry.Share, who peer.ID)
}

// events is how many of its last events a share keeps for those that watch it.
const events = 4096

// sweepEvery is how often versions are thinned out.
const sweepEvery = time.Hour

// files are those of one share, as long as its folder is the same.
type files struct {
	dir   string
	mount bool
	fs    *local.FS
	feed  *watch.Feed

	mu      sync.Mutex
	editor  *change.Editor // nil until somebody changes something
	watcher *watch.Watcher // nil until somebody watches, or changes something
	brakes  map[peer.ID]*edit.Brake
	days    map[peer.ID]day
	ctx     context.Context
	cancel  context.CancelFunc
}

// close ends the watching of a folder that is not shared any more.
func (f *files) close() { f.cancel() }

// files gives the files of a share, the same for all who ask.
func (o *Offers) files(s registry.Share) (*files, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if f := o.shared[s.ID]; f != nil {
		if f.dir == s.Dir && f.mount == s.Mount {
			return f, nil
		}
		f.close()
	}
	name := string(s.Name)
	fs, err := local.New(s.Dir, local.Options{Mount: s.Mount, Skipped: func(path string, why error) {
		o.log.Debug("left out of a share", "share", name, "path", peer.Quote(path), "why", why)
	}})
	if err != nil {
		return nil, err
	}
	f := &files{dir: s.Dir, mount: s.Mount, fs: fs, feed: watch.NewFeed(events), brakes: make(map[peer.ID]*edit.Brake), days: make(map[peer.ID]day)}
	f.ctx, f.cancel = context.WithCancel(o.ctx)
	o.shared[s.ID] = f
	return f, nil
}

// Edit gives what changes a share's files, and tells of changes.
func (o *Offers) Edit(offer serve.Offer) (edit.Share, error) {
	s, err := o.Registry.ByID(offer.ID)
	if err != nil {
		return edit.Share{}, err
	}
	f, err := o.files(s)
	if err != nil {
		return edit.Share{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	o.watch(s.ID, f)
	if f.editor == nil {
		if f.editor, err = o.editor(s, f); err != nil {
			return edit.Share{}, err
		}
	}
	return edit.Share{Editor: f.editor, Feed: f.feed, Watcher: f.watcher}, nil
}

// watch starts to watch a share, unless it is watched. f.mu is held.
func (o *Offers) watch(id share.ID, f *files) {
	if f.watcher != nil || f.ctx.Err() != nil {
		return
	}
	f.watcher = watch.New(f.fs, f.dir, f.feed, watch.Options{Log: o.log, Changed: func(ev watch.Event, before share.Entry) {
		if s, err := o.Registry.ByID(id); err == nil && o.Hooks.Noticed != nil {
			o.Hooks.Noticed(s, ev, before)
		}
	}})
	o.tasks.Go(func() {
		if err := f.watcher.Run(f.ctx); err != nil && !errors.Is(err, context.Canceled) {
			o.log.Error("a share is not watched any more", "share", id, "err", err)
		}
	})
}

// editor opens what changes a share, and finishes what a crash left. f.mu is held.
func (o *Offers) editor(s registry.Share, f *files) (*change.Editor, error) {
	disk, err := local.NewDisk(s.Dir, local.Options{Mount: s.Mount})
	if err != nil {
		return nil, err
	}
	id, watcher := s.ID, f.watcher
	ed, err := change.Open(f.ctx, disk, change.Options{
		Limits: func() change.Limits {
			s, err := o.Registry.ByID(id)
			if err != nil {
				return change.Limits{}
			}
			l := limits(s)
			if watcher != nil {
				_, l.Bytes, _ = watcher.Totals()
			}
			return l
		},
		Changed: func(c change.Change) { o.changed(id, f, c) },
		Log:     o.log,
	})
	if err != nil {
		return nil, err
	}
	o.tasks.Go(func() { o.sweep(f.ctx, ed) })
	return ed, nil
}

// sweep thins out versions every now and then.
func (o *Offers) sweep(ctx context.Context, ed *change.Editor) {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if freed, err := ed.Sweep(ctx); err != nil && ctx.Err() == nil {
			o.log.Warn("old versions could not be thinned out", "err", err)
		} else if freed > 0 {
			o.log.Debug("old versions are thinned out", "bytes", freed)
		}
	}
}

// changed tells of a change that somebody made, and stops who makes too many.
func (o *Offers) changed(id share.ID, f *files, c change.Change) {
	now := time.Now()
	if f.watcher != nil {
		f.watcher.Note(edit.Noted(c, now))
	}
	s, err := o.Registry.ByID(id)
	if err != nil {
		return
	}
	if o.Hooks.Changed != nil {
		o.Hooks.Changed(s, c)
	}
	if c.By.Peer == "" || c.By.Peer == o.Self || c.Before.Kind != share.File && c.After.Kind != share.File && c.Verb != "mv" {
		return
	}
	if !o.tooMuch(s, f, c, now) {
		return
	}
	if err := o.Registry.Suspend(id, c.By.Peer, now); err != nil {
		o.log.Error("a peer that changes too much can't be stopped", "peer", c.By.Peer, "err", err)
		return
	}
	if o.Hooks.Braked != nil {
		o.Hooks.Braked(s, c.By.Peer)
	}
}

// tooMuch reports whether this change is the one that is too much.
func (o *Offers) tooMuch(s registry.Share, f *files, c change.Change, now time.Time) bool {
	if s.Standing(c.By.Peer).Suspended {
		return false
	}
	held := math.MaxInt32 // while the share is still looked through
	if f.watcher != nil {
		if files, _, ok := f.watcher.Totals(); ok {
			held = files
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	b := f.brakes[c.By.Peer]
	if b == nil {
		b = edit.NewBrake(brake(s))
		f.brakes[c.By.Peer] = b
	}
	if !brakes(b, c, now, held) {
		return false
	}
	delete(f.brakes, c.By.Peer) // who is let in again starts anew
	return true
}

// brakes tells a brake of a change, and reports whether it is too much. What the peer leaves there is its own from then on.
func brakes(b *edit.Brake, c change.Change, now time.Time, held int) bool {
	if c.Verb == "touch" {
		if b.Own(c.Before.Version, now) {
			b.Made(c.After.Version, now)
		}
		return false
	}
	tooMuch := c.Before.Kind == share.File && b.Touch(c.Before.Version, now, held)
	if c.Verb == "mv" {
		tooMuch = b.Touch(c.Moved, now, held) || tooMuch
	}
	if c.After.Kind == share.File {
		b.Made(c.After.Version, now)
	}
	return tooMuch
}

// Watched tells how well the shares are watched that are.
func (o *Offers) Watched(id share.ID) (watch.State, bool) {
	o.mu.Lock()
	f := o.shared[id]
	o.mu.Unlock()
	if f == nil {
		return watch.State{}, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watcher == nil {
		return watch.State{}, false
	}
	return f.watcher.State(), true
}

// Versions is how much room the old versions of a share take.
func (o *Offers) Versions(ctx context.Context, id share.ID) (bytes int64, count int, err error) {
	o.mu.Lock()
	f := o.shared[id]
	o.mu.Unlock()
	if f == nil {
		return 0, 0, nil
	}
	f.mu.Lock()
	ed := f.editor
	f.mu.Unlock()
	if ed == nil {
		return 0, 0, nil
	}
	return ed.Usage(ctx)
}

// old opens an old version of a file.
func (o *Offers) old(id share.ID) func(context.Context, share.Path, string) (share.OpenFile, error) {
	return func(ctx context.Context, p share.Path, version string) (share.OpenFile, error) {
		v, err := change.ParseVersionID(version)
		if err != nil {
			return nil, err
		}
		sh, err := o.Edit(serve.Offer{Info: share.Info{ID: id}})
		if err != nil {
			return nil, err
		}
		return sh.Editor.OpenVersion(ctx, p, v)
	}
}

// limits is how much room a share may take, and how long it keeps versions.
func limits(s registry.Share) change.Limits {
	r := s.Settings.Retention()
	l := change.Limits{MaxBytes: s.Settings.Quota, Reserve: s.Settings.Reserve, NoExec: s.Settings.NoExec, Retention: change.Retention{PerPath: r.Count, Percent: r.Share, Weekly: r.Age}}
	if r.Count == setting.Unlimited {
		l.Retention.PerPath = math.MaxInt
	}
	if r.Age == setting.Unlimited {
		l.Retention.Weekly = math.MaxInt64
	}
	usual := change.Retention{}.Defaults()
	l.Retention.Daily, l.Retention.Hourly = min(usual.Daily, l.Retention.Weekly), min(usual.Hourly, l.Retention.Weekly)
	return l
}

// brake is when a peer changes too much of a share.
func brake(s registry.Share) edit.BrakeLimits {
	b := s.Settings.Limit()
	if b.Off {
		return edit.BrakeLimits{}
	}
	return edit.BrakeLimits{Files: b.Files, Percent: b.Percent, Window: b.Window}
}

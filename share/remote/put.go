package remote

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/sharepb"
)

// PutItem is a file or folder to put. Number is the same whenever the same file is put again, is not 0, and tells it from all
// others of the put.
type PutItem struct {
	Number  uint64
	Path    share.Path // in the share
	Dir     bool       // one that is there already is fine
	Size    int64
	ModTime time.Time
	Base    change.Base // what is expected at Path
	Exec    *bool       // whether it may be run; nil leaves that to the owner, who gives it to no new file
	Open    serve.Opener
}

// PutReport is told how a put goes, by one goroutine.
type PutReport interface {
	// Put tells what became of an item: its error is in Changed.
	Put(number uint64, c Changed)
	// Sums are how many bytes the owner has verified, and how many of them it had already.
	Sums(bytes, had int64)
}

// Put has the owner fetch files and put them in their places. It returns when all of them are done with; one that fails does not
// stop the others.
func (f *FS) Put(ctx context.Context, up *serve.Upload, items iter.Seq2[PutItem, error], report PutReport) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s, end, err := f.change(ctx, &sharepb.Change{
		Verb: sharepb.Verb_VERB_PUT, Upload: &sharepb.Upload{Id: up.ID[:], Token: up.Token},
	})
	if err != nil {
		return f.located(err, share.Path{})
	}
	defer end()
	p := &putting{session: s, up: up, report: report, open: make(map[uint64]PutItem)}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		if err := p.items(ctx, items); err != nil {
			cancel(err)
		}
	}()
	err = p.results(ctx)
	own := context.Cause(ctx)
	cancel(nil)
	end()
	<-sent
	if own != nil { // it is the reason for the other
		err = own
	}
	return f.located(err, share.Path{})
}

// putting is one put that runs.
type putting struct {
	*session
	up     *serve.Upload
	report PutReport

	mu    sync.Mutex
	open  map[uint64]PutItem // named and not answered, without what opens them
	all   bool               // every item was named
	bytes int64              // of all files that were named
}

// items names what is put.
func (p *putting) items(ctx context.Context, items iter.Seq2[PutItem, error]) error {
	send := func(m *sharepb.PutItem) error {
		if err := p.st.SetWriteDeadline(time.Now().Add(slow)); err != nil {
			return err
		}
		return wire.WriteMsg(p.st, m)
	}
	for it, err := range items {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !it.Dir {
			p.up.Add(it.Number, it.Open)
		}
		it.Open = nil
		p.mu.Lock()
		p.open[it.Number] = it
		p.bytes += it.Size
		p.mu.Unlock()
		if send(&sharepb.PutItem{
			Number: it.Number, Path: it.Path.Components(), Dir: it.Dir, Size: it.Size, ModTime: it.ModTime.UnixNano(), Base: basePB(it.Base), Exec: it.Exec,
		}) != nil {
			return nil // who reads the answer sees why
		}
	}
	p.mu.Lock()
	p.all = true
	p.mu.Unlock()
	_ = send(&sharepb.PutItem{})
	return nil
}

// standstill is how often an owner may say that nothing is new before it is taken for a liar: it has to say so every 5 seconds.
const standstill = 1000

// again is how often the bytes of a put may be fetched anew, since files change meanwhile.
const again = 4

// results takes what the owner says.
func (p *putting) results(ctx context.Context) error {
	var bytes, had uint64
	for still := 0; ; {
		m, err := p.next(ctx, silence)
		switch {
		case errors.Is(err, errDone):
			p.mu.Lock()
			defer p.mu.Unlock()
			if !p.all || len(p.open) > 0 {
				return p.fs.lie(share.Path{}, "it is done, and some files are not")
			}
			return nil
		case err != nil:
			return err
		case m.Number != 0:
			if err := p.result(m); err != nil {
				return err
			}
			still = 0
			continue
		}
		p.mu.Lock()
		most := uint64(p.bytes) * again
		p.mu.Unlock()
		switch {
		case m.Entry != nil || m.Error != nil || m.Bytes < bytes || m.Had < had || m.Had > m.Bytes || m.Bytes > most:
			return p.fs.lie(share.Path{}, "its sums make no sense")
		case m.Bytes > bytes || m.Had > had:
			still = 0
		default:
			if still++; still > standstill {
				return p.fs.lie(share.Path{}, "it never ends")
			}
		}
		bytes, had = m.Bytes, m.Had
		p.report.Sums(int64(bytes), int64(had))
	}
}

// result takes what became of one item.
func (p *putting) result(m *sharepb.Changed) error {
	p.mu.Lock()
	it, named := p.open[m.Number]
	delete(p.open, m.Number)
	p.mu.Unlock()
	if !named {
		return p.fs.lie(share.Path{}, "it tells of a file that was not put")
	}
	p.up.Drop(m.Number)
	c, err := p.fs.changed(m)
	if err != nil {
		return err
	}
	if c.Err == nil && (c.Removed || !at(c, it.Path) || it.Dir && c.Conflict || !it.Dir && c.Entry.Kind != share.File) {
		return p.fs.lie(it.Path, "it put it elsewhere")
	}
	p.report.Put(m.Number, c)
	if peer.KindOf(c.Err) == peer.Denied {
		return c.Err
	}
	return nil
}

// at reports whether a change was made at a path, or as a conflict copy beside it.
func at(c Changed, p share.Path) bool {
	if c.Conflict {
		return c.Entry.Path != p && c.Entry.Path.Dir() == p.Dir() && !c.Entry.Path.IsRoot()
	}
	return c.Entry.Path == p
}

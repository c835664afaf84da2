package remote

import (
	"context"
	"sync"
	"time"

	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/sharepb"
)

// Window is bytes of a file that is still written, behind those of the window before it.
type Window struct {
	Size int64 // more than transfer.SmallFile, and no more than 64 MiB
	Open serve.Opener
}

// onTheWay is how many windows the owner is told of before it has the first of them.
const onTheWay = 4

// Ahead has the owner fetch what there is of a file that is still written, window by window. When the file is put under that
// number, no more of it is fetched than is missing, or was written anew; nothing gets a name before. It returns nil once the file
// is put, else when ctx ends, or with why the owner fetches no more. next waits for a window until its ctx ends; without one
// nothing more comes until the file is put.
func (f *FS) Ahead(ctx context.Context, up *serve.Upload, number uint64, p share.Path, next func(context.Context) (Window, bool)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, end, err := f.change(ctx, &sharepb.Change{
		Verb: sharepb.Verb_VERB_AHEAD, Path: p.Components(), Upload: &sharepb.Upload{Id: up.ID[:], Token: up.Token, Number: number},
	})
	if err != nil {
		return f.located(err, p)
	}
	defer end()
	a := &ahead{session: s, up: up, path: p, open: make(map[uint64]bool), free: make(chan struct{}, onTheWay)}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		a.windows(ctx, next)
	}()
	err = a.answers(ctx)
	cancel()
	end()
	<-sent
	return f.located(err, p)
}

// ahead is one file that is sent while it is written.
type ahead struct {
	*session
	up   *serve.Upload
	path share.Path
	free chan struct{} // holds a token for each window on its way

	mu   sync.Mutex
	open map[uint64]bool // windows on their way
}

// windows names the windows.
func (a *ahead) windows(ctx context.Context, next func(context.Context) (Window, bool)) {
	for number := uint64(1); ; number++ {
		w, ok := next(ctx)
		if !ok {
			return
		}
		select {
		case a.free <- struct{}{}:
		case <-ctx.Done():
			return
		}
		a.mu.Lock()
		a.open[number] = true
		a.mu.Unlock()
		a.up.Add(number, w.Open)
		if a.st.SetWriteDeadline(time.Now().Add(slow)) != nil || wire.WriteMsg(a.st, &sharepb.PutItem{Number: number, Size: w.Size}) != nil {
			return // who reads the answer sees why
		}
	}
}

// answers takes what the owner says, until it fetches no more.
func (a *ahead) answers(ctx context.Context) error {
	for {
		m, err := a.next(ctx, slow)
		if err == errDone {
			return nil
		}
		if err != nil {
			return err
		}
		a.mu.Lock()
		named := a.open[m.Number]
		delete(a.open, m.Number)
		a.mu.Unlock()
		if !named {
			return a.fs.lie(a.path, "it tells of what it was not sent")
		}
		a.up.Drop(m.Number)
		<-a.free
	}
}

// Package line keeps streams to peers open between exchanges, so that one small question costs one round trip: no new stream, and no
// grant that the other side looks at again.
package line

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/share"
)

// patience is how long somebody waits for a line.
const patience = 20 * time.Second

// Line is a stream that carries exchange after exchange, one at a time.
type Line struct {
	peer.Stream
	In    *wire.Reader
	Share share.ID // that the last grant was shown for
	Grant string   // that was shown last; "" on a new line
	kept  *time.Timer
}

// Shows reports whether a grant has to be shown once more, or for the first time, and takes note that it is.
func (l *Line) Shows(id share.ID, grant []byte) bool {
	if l.Share == id && l.Grant == string(grant) {
		return false
	}
	l.Share, l.Grant = id, string(grant)
	return true
}

// Lines are the lines of one protocol. It is safe for concurrent use.
type Lines struct {
	opener   peer.Opener
	protocol string
	most     int
	idle     time.Duration

	mu    sync.Mutex
	peers map[peer.ID]*lines
}

// lines are those to one peer.
type lines struct {
	places chan struct{} // one is in it for each line that is in use
	users  int           // who have a line, or wait for one
	free   []*Line       // the one that was used last is the last
}

// New makes Lines, of which each peer has at most so many at a time: who wants another waits. One that nobody uses ends after idle,
// which is less than the other side waits for a question.
func New(opener peer.Opener, protocol string, most int, idle time.Duration) *Lines {
	return &Lines{opener: opener, protocol: protocol, most: most, idle: idle, peers: make(map[peer.ID]*lines)}
}

// Open gives a line to a peer: a new one, or unless fresh one that was kept. The caller gives it to Close. used says that it was
// kept, so that it may turn out to be dead after all.
func (ls *Lines) Open(ctx context.Context, id peer.ID, fresh bool) (l *Line, used bool, err error) {
	ls.mu.Lock()
	p := ls.peers[id]
	if p == nil {
		p = &lines{places: make(chan struct{}, ls.most)}
		ls.peers[id] = p
	}
	p.users++
	ls.mu.Unlock()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case p.places <- struct{}{}:
	case <-ctx.Done():
		err = ctx.Err()
	case <-late.C:
		err = &peer.Error{Op: "ask", Kind: peer.Busy, Err: errors.New("too much is asked of the peer already"), Hint: "try again"}
	}
	if err != nil {
		ls.leave(id, p)
		return nil, false, err
	}
	for {
		if l = ls.take(p); l == nil {
			break
		}
		if !fresh && l.quiet() {
			return l, true, nil
		}
		l.Reset()
	}
	var st peer.Stream
	st, err = ls.opener.Open(ctx, id, ls.protocol, 0)
	if err != nil {
		<-p.places
		ls.leave(id, p)
		return nil, false, err
	}
	return &Line{Stream: st, In: wire.NewReader(st)}, false, nil
}

// take gives a line that is kept, or nil.
func (ls *Lines) take(p *lines) *Line {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	n := len(p.free)
	if n == 0 {
		return nil
	}
	l := p.free[n-1]
	p.free = p.free[:n-1]
	l.kept.Stop()
	return l
}

// quiet reports whether the other side has neither ended the line nor said anything on it that nobody asked for.
func (l *Line) quiet() bool {
	if l.In.Buffered() > 0 || l.SetReadDeadline(time.Unix(1, 0)) != nil {
		return false
	}
	n, err := l.Read(make([]byte, 1))
	return n == 0 && errors.Is(err, os.ErrDeadlineExceeded)
}

// leave counts somebody less, and forgets a peer that nobody has to do with.
func (ls *Lines) leave(id peer.ID, p *lines) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if p.users--; p.users == 0 && len(p.free) == 0 {
		delete(ls.peers, id)
	}
}

// Close takes a line back, which is kept for another exchange, or ended.
func (ls *Lines) Close(l *Line, keep bool) {
	if !keep {
		l.Reset()
	}
	id := l.Peer()
	ls.mu.Lock()
	p := ls.peers[id]
	if keep {
		p.free = append(p.free, l)
		l.kept = time.AfterFunc(ls.idle, func() { ls.end(id, p, l) })
	}
	ls.mu.Unlock()
	<-p.places
	ls.leave(id, p)
}

// end ends a line that nobody used for long.
func (ls *Lines) end(id peer.ID, p *lines, l *Line) {
	ls.mu.Lock()
	for i, f := range p.free {
		if f == l {
			p.free = append(p.free[:i], p.free[i+1:]...)
			p.users++
			defer l.Reset()
			defer ls.leave(id, p)
			break
		}
	}
	ls.mu.Unlock()
}

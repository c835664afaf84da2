package loop

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
)

// room is how many bytes of a direction wait for their reader at most.
const room = 1 << 20

var errReset = errors.New("the stream was reset")

// pipe is one direction of a stream.
type pipe struct {
	mu      sync.Mutex
	changed *sync.Cond
	data    []byte // data[from:] waits
	from    int
	ended   bool // nothing more comes
	reset   bool
	read    deadline
	write   deadline
}

// deadline is when one who waits gives up.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func newPipe() *pipe {
	p := new(pipe)
	p.changed = sync.NewCond(&p.mu)
	return p
}

// set changes a deadline, which wakes those that wait.
func (p *pipe) set(d *deadline, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.at = at; !at.IsZero() {
		d.timer = time.AfterFunc(time.Until(at), p.wake)
	}
	p.changed.Broadcast()
}

func (p *pipe) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changed.Broadcast()
}

func (d *deadline) over() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// take reads.
func (p *pipe) take(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.reset:
			return 0, errReset
		case p.read.over():
			return 0, os.ErrDeadlineExceeded
		case len(b) == 0:
			return 0, nil
		case p.from < len(p.data):
			n := copy(b, p.data[p.from:])
			if p.from += n; p.from == len(p.data) {
				p.data, p.from = p.data[:0], 0
			}
			p.changed.Broadcast()
			return n, nil
		case p.ended:
			return 0, io.EOF
		}
		p.changed.Wait()
	}
}

// give writes.
func (p *pipe) give(b []byte) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.reset:
			return n, errReset
		case p.ended:
			return n, io.ErrClosedPipe
		case p.write.over():
			return n, os.ErrDeadlineExceeded
		case n == len(b):
			return n, nil
		}
		if p.from > 0 && len(p.data) >= room {
			p.data, p.from = p.data[:copy(p.data, p.data[p.from:])], 0
		}
		if free := room - len(p.data); free > 0 {
			k := min(free, len(b)-n)
			p.data = append(p.data, b[n:n+k]...)
			n += k
			p.changed.Broadcast()
			continue
		}
		p.changed.Wait()
	}
}

// finish says that nothing more is written; with reset, that nothing of it is to be read either.
func (p *pipe) finish(reset bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	if reset {
		p.reset, p.data, p.from = true, nil, 0
	}
	for _, d := range []*deadline{&p.read, &p.write} {
		if reset && d.timer != nil {
			d.timer.Stop()
		}
	}
	p.changed.Broadcast()
}

// wrap makes a peer.Error of what ends a stream, as those of other peers are.
func (s *stream) wrap(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	kind := peer.Unreachable
	if err == errReset {
		kind = peer.Other
	}
	return &peer.Error{Op: op, Path: s.self.String(), Kind: kind, Err: err}
}

// Read reads what the other end wrote.
func (s *stream) Read(b []byte) (int, error) {
	n, err := s.in.take(b)
	return n, s.wrap("read", err)
}

// Write writes to the other end.
func (s *stream) Write(b []byte) (int, error) {
	n, err := s.out.give(b)
	return n, s.wrap("write", err)
}

// CloseWrite says that nothing more is written.
func (s *stream) CloseWrite() error {
	s.out.finish(false)
	return nil
}

// Close ends both directions; what was written still arrives.
func (s *stream) Close() error {
	s.out.finish(false)
	s.in.finish(true)
	return nil
}

// Reset ends both directions at once.
func (s *stream) Reset() error {
	s.out.finish(true)
	s.in.finish(true)
	return nil
}

// SetDeadline bounds reads and writes.
func (s *stream) SetDeadline(t time.Time) error {
	s.in.set(&s.in.read, t)
	s.out.set(&s.out.write, t)
	return nil
}

// SetReadDeadline bounds reads.
func (s *stream) SetReadDeadline(t time.Time) error {
	s.in.set(&s.in.read, t)
	return nil
}

// SetWriteDeadline bounds writes.
func (s *stream) SetWriteDeadline(t time.Time) error {
	s.out.set(&s.out.write, t)
	return nil
}

package lane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/serve"
	"github.com/peerd/peerd/transfer/transferpb"
)

// stuckAfter is how long requests may take to go out: a lane where they take longer is waited for by none.
const stuckAfter = 100 * time.Millisecond

// conversation is one stream's worth of a lane. The asking goroutine appends to owed, the reading one takes from it.
type conversation struct {
	f       *Lanes
	stream  peer.Stream
	owed    []Job // guarded by f.mu, like all below
	bytes   int64
	writing time.Time // since when requests are being sent; zero if none are
	broken  bool
}

// converse asks and reads on one stream until it breaks, and gives back what is still owed.
func (f *Lanes) converse(lane int, s *Scratch) ([]Job, error) {
	st, err := f.src.Opener.Open(f.ctx, f.src.Peer, serve.GetProtocol, lane)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(f.ctx, func() { st.Reset() })
	defer stop()
	c := &conversation{f: f, stream: st}
	f.mu.Lock()
	f.talks = append(f.talks, c)
	f.mu.Unlock()
	asked := make(chan error, 1)
	go func() {
		err := c.ask()
		if err != nil {
			st.Reset()
		}
		c.leave()
		asked <- err
	}()
	err = c.read(s)
	st.Reset()
	c.leave()
	if askErr := <-asked; askErr != nil && (err == nil || peer.KindOf(askErr) == peer.Denied) {
		err = askErr
	}
	return c.owed, err
}

// leave has nothing asked for here any more.
func (c *conversation) leave() {
	f := c.f
	f.mu.Lock()
	defer f.mu.Unlock()
	c.broken = true
	f.talks = slices.DeleteFunc(f.talks, func(o *conversation) bool { return o == c })
	f.wake.Broadcast()
}

// take waits for a job and room in the window for it, and owes it.
func (c *conversation) take(wait bool) Job {
	f := c.f
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.ctx.Err() == nil && !c.broken {
		if f.queued() && len(c.owed) < maxPending && (c.bytes == 0 || c.bytes+f.queue[0].Cost() <= window && !c.ahead()) {
			j := f.queue[0]
			f.queue = f.queue[1:]
			c.owed = append(c.owed, j)
			c.bytes += j.Cost()
			f.wake.Broadcast()
			return j
		}
		if !wait {
			return nil
		}
		f.wake.Wait()
	}
	return nil
}

// ahead reports whether a piece that is next is left to another lane, which owes less: who reads in order would wait for the one lane
// while the other has nothing to bring. Of what is less than a piece much is asked for with one write. f.mu is held.
func (c *conversation) ahead() bool {
	return c.f.queue[0].Cost() >= transfer.MinPiece && slices.ContainsFunc(c.f.talks, func(o *conversation) bool {
		return o.bytes+uneven < c.bytes && len(o.owed) < maxPending && !o.stuck()
	})
}

// stuck reports whether what was asked for last does not get out. Who waits for that looks again when something comes. f.mu is held.
func (c *conversation) stuck() bool { return !c.writing.IsZero() && time.Since(c.writing) > stuckAfter }

// write sends requests.
func (c *conversation) write(b []byte) error {
	if err := c.stream.SetWriteDeadline(time.Now().Add(Stall)); err != nil {
		return err
	}
	c.since(time.Now())
	_, err := c.stream.Write(b)
	c.since(time.Time{})
	return err
}

func (c *conversation) since(t time.Time) {
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	c.writing = t
}

// batch is how many bytes of requests go out in one write.
const batch = 32 << 10

// ask sends requests until the conversation breaks.
func (c *conversation) ask() error {
	var out, shown []byte
	for {
		j := c.take(len(out) == 0)
		if j == nil || len(out) >= batch {
			if len(out) > 0 {
				if err := c.write(out); err != nil {
					return err
				}
				out = out[:0]
			} else if j == nil {
				return nil
			}
			if j == nil {
				continue
			}
		}
		grant, err := c.f.src.Grant(c.f.ctx)
		if err != nil {
			return err
		}
		req := &transferpb.GetRequest{File: &transferpb.File{Share: c.f.src.Share[:]}}
		if string(grant) != string(shown) {
			req.File.Grant, shown = grant, grant
		}
		j.Request(req)
		if out, err = wire.AppendMsg(out, req); err != nil {
			return err
		}
	}
}

// next waits for something owed.
func (c *conversation) next() Job {
	f := c.f
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(c.owed) == 0 && f.ctx.Err() == nil {
		f.wake.Wait()
	}
	if f.ctx.Err() != nil {
		return nil
	}
	return c.owed[0]
}

// settle takes the first job off what is owed.
func (c *conversation) settle(j Job) {
	f := c.f
	f.opts.Heard.Store(time.Now().UnixNano())
	f.mu.Lock()
	defer f.mu.Unlock()
	c.owed = c.owed[1:]
	c.bytes -= j.Cost()
	f.wake.Broadcast()
}

// maxReply is the largest header of an answer, in bytes.
const maxReply = 8 << 10

// read takes answers until the stream breaks or the lanes end.
func (c *conversation) read(s *Scratch) error {
	f := c.f
	in := wire.NewReaderSize(Alive(c.stream), readBuffer)
	var reply transferpb.GetReply
	for {
		j := c.next()
		if j == nil {
			return nil
		}
		if err := Read(in, &reply, maxReply, f.src.Label); err != nil {
			return err
		}
		if reply.Length > transfer.MaxFile || (reply.Error != nil && reply.Length > 0) {
			return f.nonsense(fmt.Errorf("an answer of %d bytes", reply.Length))
		}
		var from io.Reader = in
		if f.opts.Pace != nil {
			from = &paced{in, f}
		}
		body := &io.LimitedReader{R: from, N: int64(reply.Length)}
		if err := j.Receive(&reply, body, s); err != nil {
			return err
		}
		if body.N > 0 {
			return f.nonsense(fmt.Errorf("an answer has %d bytes too many", body.N))
		}
		c.settle(j)
	}
}

// paced is a stream that is read no faster than [Options.Pace] lets it.
type paced struct {
	io.Reader
	f *Lanes
}

func (p *paced) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	if n > 0 {
		if err := p.f.opts.Pace(p.f.ctx, n); err != nil {
			return n, err
		}
	}
	return n, err
}

// nonsense is the error of a source that does not speak as it must. It is final.
func (f *Lanes) nonsense(err error) error { return Nonsense(f.src.Label, err) }

// Nonsense is the error of a source, called label, that does not speak as it must. It is final.
func Nonsense(label string, err error) error {
	return &peer.Error{Path: label, Kind: peer.Integrity, Err: fmt.Errorf("the source's answer makes no sense: %w", err)}
}

// Read reads a message of a source. One that can't be read was not cut short by the network, which proves what it carries:
// it is a lie.
func Read(in *wire.Reader, m proto.Message, limit int, label string) error {
	err := in.ReadMsg(m, limit)
	if errors.Is(err, wire.ErrMalformed) || errors.Is(err, wire.ErrTooLong) {
		return Nonsense(label, err)
	}
	return err
}

// Alive makes silence of more than [Stall] on a stream an error.
func Alive(s peer.Stream) peer.Stream { return &alive{s} }

type alive struct{ peer.Stream }

func (a *alive) Read(b []byte) (int, error) {
	if err := a.SetReadDeadline(time.Now().Add(Stall)); err != nil {
		return 0, err
	}
	return a.Stream.Read(b)
}

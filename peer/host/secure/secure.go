// Package secure is what runs on a TCP connection: TLS 1.3 and yamux, both go-libp2p's, on a connection that is watched for
// the other side's death and that is written to and read from in large units.
package secure

import (
	"context"
	"io"
	"net"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/sec"
	yamuxer "github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/libp2p/go-yamux/v5"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host/limit"
	"github.com/peerd/peerd/peer/wire"
)

// Sizes in bytes.
const (
	// maxFrame is the largest yamux frame, and what one write below TLS carries: a piece of 256 KiB and what is said before it.
	maxFrame = 260 << 10
	// wireBuffer holds a frame cut into TLS records of 16 KiB, each with 22 bytes around it (RFC 8446 section 5.2).
	wireBuffer = maxFrame + 8<<10
	// pieceBuffer does for a piece of 64 KiB, as files of up to 32 MiB have them: who gives to and takes from many has one for each.
	pieceBuffer = 72 << 10
	// records is what TLS adds to the longest frame that a pieceBuffer is lent for, and more: its first records are small.
	records = 4 << 10
	// gatherFrom is the length from which TLS may cut one write into several records. Its first records are small.
	gatherFrom = 1 << 10
)

// New makes the security transport of a peer with that key, and the muxer to be used on it. A connection of which the
// other side does not answer for deadAfter fails.
func New(key crypto.PrivKey, deadAfter time.Duration) (sec.SecureTransport, []upgrader.StreamMuxer, error) {
	muxers := []upgrader.StreamMuxer{{ID: yamuxer.ID, Muxer: newMuxer(deadAfter)}}
	t, err := libp2ptls.New(libp2ptls.ID, key, muxers)
	if err != nil {
		return nil, nil, err
	}
	return &security{t, wire.NewBuffers(pieceBuffer, wireBuffer), deadAfter}, muxers, nil
}

// newMuxer makes yamux with frames as large as our writes. Windows start small and grow on paths that need it, since only
// the 256 KiB that a stream starts with, and what it grows by, is counted against the limits of memory. How long the path
// is must be measured under load, and so more often than by default.
func newMuxer(deadAfter time.Duration) network.Multiplexer {
	cfg := yamux.DefaultConfig()
	cfg.AcceptBacklog = limit.PeerStreams
	cfg.MaxIncomingStreams = limit.PeerStreams
	cfg.MaxMessageSize = maxFrame
	cfg.MaxStreamWindowSize = limit.MaxWindow
	cfg.MeasureRTTInterval = 10 * time.Second
	cfg.ReadBufSize = 0 // TLS buffers
	cfg.LogOutput = io.Discard
	cfg.ConnectionWriteTimeout = deadAfter
	// Where the kernel watches the connection, pings would only kill slow ones: a ping waits behind the data under way.
	cfg.EnableKeepAlive = !kernelWatches
	cfg.KeepAliveInterval = deadAfter / 2
	return (*yamuxer.Transport)(cfg)
}

// security is libp2p's TLS over connections that are watched, and written to and read from in large units: crypto/tls
// makes a system call of every record of 16 KiB, and wakes the other side as often.
type security struct {
	*libp2ptls.Transport
	buffers   lender
	deadAfter time.Duration
}

func (s *security) SecureInbound(ctx context.Context, raw net.Conn, id peer.ID) (sec.SecureConn, error) {
	below := s.below(raw)
	c, err := s.Transport.SecureInbound(ctx, below, id)
	if err != nil {
		return nil, err
	}
	return &gatheredConn{c, below}, nil
}

func (s *security) SecureOutbound(ctx context.Context, raw net.Conn, id peer.ID) (sec.SecureConn, error) {
	below := s.below(raw)
	c, err := s.Transport.SecureOutbound(ctx, below, id)
	if err != nil {
		return nil, err
	}
	return &gatheredConn{c, below}, nil
}

func (s *security) below(raw net.Conn) *belowTLS {
	watch(raw, s.deadAfter)
	return &belowTLS{Conn: raw, buffers: s.buffers}
}

// gatheredConn is a TLS connection of which each large write reaches the network as one.
type gatheredConn struct {
	sec.SecureConn
	below *belowTLS
}

// Read is for yamux, which wants all of b before it does anything: a frame's header, or what is left of a frame.
func (c *gatheredConn) Read(b []byte) (int, error) {
	c.below.wanted = len(b)
	c.below.frame = max(c.below.frame, len(b))
	return c.SecureConn.Read(b)
}

func (c *gatheredConn) Write(b []byte) (int, error) {
	if len(b) < gatherFrom {
		return c.SecureConn.Write(b)
	}
	c.below.gather(len(b))
	n, err := c.SecureConn.Write(b)
	if flushErr := c.below.flush(); err == nil {
		err = flushErr
	}
	return n, err
}

// lender is [wire.Buffers].
type lender interface {
	Get(n int) *[]byte
	Put(*[]byte)
}

// belowTLS is the connection that TLS runs on. Buffers are borrowed while bytes flow, so an idle connection has none.
type belowTLS struct {
	net.Conn
	buffers lender

	writing sync.Mutex
	out     *[]byte // nil writes through
	outLen  int

	// One goroutine reads at a time.
	in           *[]byte // nil when nothing is left in it
	inPos, inLen int
	more         bool // the last read was filled, so there is likely more
	wanted       int  // bytes within TLS that its reader waits for
	frame        int  // the most that was wanted so far
	record       record
	wakeAt       int // bytes from which the kernel wakes the reader, as last set
}

// gather keeps what is written until flush. It will be n bytes, and what TLS adds.
func (c *belowTLS) gather(n int) {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.out = c.buffers.Get(n + records)
}

// flush writes what was gathered.
func (c *belowTLS) flush() error {
	c.writing.Lock()
	defer c.writing.Unlock()
	err := c.writeOut()
	c.buffers.Put(c.out)
	c.out = nil
	return err
}

func (c *belowTLS) writeOut() error {
	if c.outLen == 0 {
		return nil
	}
	_, err := c.Conn.Write((*c.out)[:c.outLen])
	c.outLen = 0
	return err
}

func (c *belowTLS) Write(b []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.out == nil {
		return c.Conn.Write(b)
	}
	if c.outLen+len(b) > len(*c.out) {
		if err := c.writeOut(); err != nil {
			return 0, err
		}
	}
	if len(b) > len(*c.out) {
		return c.Conn.Write(b)
	}
	c.outLen += copy((*c.out)[c.outLen:], b)
	return len(b), nil
}

func (c *belowTLS) Read(b []byte) (int, error) {
	if c.in == nil {
		if !c.more || c.wakeAt > 1 { // or the kernel would wait for what came already
			c.sleepTillWhole()
		}
		// Waiting for what may never come needs no buffer of ours.
		if !c.more {
			n, err := c.Conn.Read(b)
			c.record.pass(b[:n])
			c.more = n == len(b)
			return n, err
		}
		in := c.buffers.Get(c.frame + records)
		n, err := c.Conn.Read(*in)
		c.more = n == len(*in)
		if n == 0 {
			c.buffers.Put(in)
			return 0, err
		}
		c.record.pass((*in)[:n])
		c.in, c.inPos, c.inLen = in, 0, n
	}
	n := copy(b, (*c.in)[c.inPos:c.inLen])
	if c.inPos += n; c.inPos == c.inLen {
		c.buffers.Put(c.in)
		c.in = nil
	}
	return n, nil
}

// sleepTillWhole has the kernel wake the reader no sooner than what it waits for is there, or at least much of it: yamux can do
// nothing with a part of a frame, nor TLS with one of a record, and on a slow link every packet would wake two threads for a
// fortieth of a piece.
func (c *belowTLS) sleepTillWhole() {
	at := min(c.record.until(c.wanted), longestSleep)
	if at < worthSleeping {
		at = 1
	}
	if at != c.wakeAt {
		wakeFrom(c.Conn, at)
		c.wakeAt = at
	}
}

// It pays to tell the kernel from some bytes on, since those of a packet come at once; and on a fast link decryption should not
// wait for all of a long frame.
const (
	worthSleeping = 1 << 10
	longestSleep  = 128 << 10
)

// Lengths of TLS 1.3 in bytes (RFC 8446 sections 5.1 and 5.2): what comes before a record, the last two of which are its length;
// what a record has besides its content, of the cipher suites that go-libp2p's TLS uses; and the longest content.
const (
	recordHeader = 5
	recordTag    = 1 + 16
	recordMax    = 16 << 10
)

// record follows the records of a TLS stream.
type record struct {
	size   int // of the record at hand, as its header says
	rest   int // bytes of the record at hand that did not come yet
	header [recordHeader]byte
	have   int // bytes of the header
}

// pass takes note of what came.
func (r *record) pass(b []byte) {
	for len(b) > 0 {
		n := min(r.rest, len(b))
		r.rest -= n
		b = b[n:]
		if len(b) == 0 {
			return
		}
		n = copy(r.header[r.have:], b)
		b = b[n:]
		if r.have += n; r.have == recordHeader {
			r.size = int(r.header[3])<<8 | int(r.header[4])
			r.rest = r.size
			r.have = 0
		}
	}
}

// until is how many bytes must come, at the least, for a reader to have that many more from within the records.
func (r *record) until(wanted int) int {
	n := 0
	if r.rest > 0 {
		n = r.rest
		wanted -= r.size - recordTag
	}
	if wanted > 0 {
		records := (wanted + recordMax - 1) / recordMax
		n += wanted + records*(recordHeader+recordTag) - r.have
	}
	return n
}

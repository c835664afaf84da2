package secure

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/sec"

	"github.com/peerd/peerd/peer/wire"
)

// recordConn cuts each write into records, as TLS does.
type recordConn struct {
	sec.SecureConn // nil: only these are called
	below          *belowTLS
}

func (c recordConn) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = c.below.Write(b[n:min(n+16<<10, len(b))])
		n += m
	}
	return n, err
}

func (c recordConn) Read(b []byte) (int, error) { return c.below.Read(b) }

// counting counts what is lent.
type counting struct {
	lender
	small, large atomic.Int32
}

func (c *counting) Get(n int) *[]byte {
	b := c.lender.Get(n)
	if len(*b) > pieceBuffer {
		c.large.Add(1)
	} else {
		c.small.Add(1)
	}
	return b
}

// countConn counts the writes that reach the network.
type countConn struct {
	net.Conn
	writes int
}

func (c *countConn) Write(b []byte) (int, error) { c.writes++; return c.Conn.Write(b) }

func TestBelowTLSGathers(t *testing.T) {
	near, far := tcpPair(t)
	count := &countConn{Conn: near}
	buffers := wire.NewBuffers(pieceBuffer, wireBuffer)
	below := &belowTLS{Conn: count, buffers: buffers}
	out := &gatheredConn{recordConn{below: below}, below}
	in := &belowTLS{Conn: far, buffers: buffers}

	var want bytes.Buffer
	done := make(chan []byte)
	go func() {
		var got bytes.Buffer
		buf := make([]byte, 17<<10)
		for {
			n, err := in.Read(buf[:1+rand.IntN(len(buf))])
			got.Write(buf[:n])
			if err != nil {
				break
			}
		}
		done <- got.Bytes()
	}()
	sizes := []int{1, gatherFrom - 1, gatherFrom, 16 << 10, 100_000, maxFrame, maxFrame + 12, wireBuffer, wireBuffer + 1, 1 << 20}
	for i := range 200 {
		b := make([]byte, sizes[i%len(sizes)])
		for j := range b {
			b[j] = byte(rand.Uint32())
		}
		want.Write(b)
		before := count.writes
		if n, err := out.Write(b); n != len(b) || err != nil {
			t.Fatal(n, err)
		}
		if n := count.writes - before; n > 1+len(b)/wireBuffer+1 {
			t.Errorf("a write of %d bytes became %d", len(b), n)
		}
		if below.out != nil {
			t.Fatal("a buffer is kept between writes")
		}
	}
	near.Close()
	if got := <-done; !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%d bytes arrived changed, of %d", len(got), want.Len())
	}
	if in.in != nil {
		t.Error("a buffer is kept after the last read")
	}
}

func TestBelowTLSWaitsWithoutBuffer(t *testing.T) {
	near, far := tcpPair(t)
	taken := &counting{lender: wire.NewBuffers(pieceBuffer, wireBuffer)}
	in := &belowTLS{Conn: near, buffers: taken}
	if _, err := far.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(in, make([]byte, 3)); err != nil { // filled: there may be more
		t.Fatal(err)
	}
	if taken.small.Load()+taken.large.Load() > 0 {
		t.Error("an idle connection took a buffer")
	}
	b := make([]byte, 100)
	if n, err := in.Read(b); err != nil || string(b[:n]) != "lo" {
		t.Fatal(n, err)
	}
	near.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := in.Read(b); err == nil || in.in != nil {
		t.Errorf("a buffer is kept while waiting; %v", err)
	}
}

func tcpPair(t *testing.T) (net.Conn, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

// Whatever way the bytes are cut, what is left of the record at hand is known.
func TestRecordIsFollowed(t *testing.T) {
	var stream []byte
	var ends []int
	for range 200 {
		n := rand.IntN(17 << 10)
		stream = append(stream, 23, 3, 3, byte(n>>8), byte(n))
		stream = append(stream, make([]byte, n)...)
		ends = append(ends, len(stream))
	}
	var r record
	for at, next := 0, 0; at < len(stream); {
		n := min(1+rand.IntN(40<<10), len(stream)-at)
		r.pass(stream[at : at+n])
		at += n
		for next < len(ends) && ends[next] <= at {
			next++
		}
		begin := 0
		if next > 0 {
			begin = ends[next-1]
		}
		want := 0
		if in := at - begin; in >= recordHeader {
			want = ends[next] - at
		}
		if r.rest != want {
			t.Fatalf("after %d bytes %d are missing, not %d", at, r.rest, want)
		}
	}
}

// TestUntil: of what a reader waits for as many bytes are said to come as do, in records as long as may be or shorter.
func TestUntil(t *testing.T) {
	const more = recordHeader + recordTag
	for name, tc := range map[string]struct {
		at     record
		wanted int
		want   int
	}{
		"nothing":                           {record{}, 0, 0},
		"the rest of a record":              {record{size: 1000, rest: 300}, 0, 300},
		"what the record has":               {record{size: 1000, rest: 300}, 1000 - recordTag, 300},
		"a byte more":                       {record{size: 1000, rest: 300}, 1001 - recordTag, 300 + more + 1},
		"of a new record":                   {record{}, 12, more + 12},
		"whose header has begun":            {record{have: 3}, 12, more + 12 - 3},
		"of one that was the last":          {record{size: 1000}, 12, more + 12},
		"as much as a record holds":         {record{}, recordMax, more + recordMax},
		"and a byte more, which is another": {record{}, recordMax + 1, 2*more + recordMax + 1},
	} {
		if got := tc.at.until(tc.wanted); got != tc.want {
			t.Errorf("%s: %d bytes, want %d", name, got, tc.want)
		}
	}
}

// Frames that are no longer than a piece of 64 KiB take small buffers, longer ones large ones, at both ends.
func TestBuffersFit(t *testing.T) {
	const (
		header  = 12 // of yamux, which reads it first, and then the rest
		longest = pieceBuffer - records
	)
	for frame, large := range map[int]bool{header: false, 64 << 10: false, longest: false, longest + header + 1: true, maxFrame: true} {
		near, far := tcpPair(t)
		var lent [2]counting
		for i := range lent {
			lent[i].lender = wire.NewBuffers(pieceBuffer, wireBuffer)
		}
		out, in := &belowTLS{Conn: near, buffers: &lent[0]}, &belowTLS{Conn: far, buffers: &lent[1]}
		from, to := &gatheredConn{recordConn{below: out}, out}, &gatheredConn{recordConn{below: in}, in}
		got := make([]byte, frame)
		for range 3 {
			written := make(chan error, 1)
			go func() {
				_, err := from.Write(make([]byte, frame))
				written <- err
			}()
			for _, part := range [][]byte{got[:header], got[header:]} {
				if _, err := io.ReadFull(to, part); err != nil {
					t.Fatal(err)
				}
			}
			if err := <-written; err != nil {
				t.Fatal(err)
			}
		}
		for i, end := range []string{"written", "read"} {
			if n := lent[i].large.Load(); (n > 0) != large {
				t.Errorf("frames of %d bytes were %s with %d large buffers", frame, end, n)
			}
		}
	}
}

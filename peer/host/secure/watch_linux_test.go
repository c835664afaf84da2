package secure

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/peerd/peerd/peer/wire"
)

// The kernel is told how much of the record at hand is missing, and what ends a connection in its midst is read all the same.
func TestReaderSleepsTillRecordIsWhole(t *testing.T) {
	near, far := tcpPair(t)
	if err := far.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	in := &belowTLS{Conn: far, buffers: wire.NewBuffers(pieceBuffer, wireBuffer)}
	body := bytes.Repeat([]byte{7}, 8000)
	send := func(b []byte) {
		t.Helper()
		if _, err := near.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	read := func(n int) {
		t.Helper()
		if _, err := io.ReadFull(in, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	head := []byte{23, 3, 3, 8000 >> 8, 8000 & 255}
	send(append(head, body[:1000]...))
	read(recordHeader + 1000)
	in.sleepTillWhole()
	if n := lowWater(t, far); n != 7000 {
		t.Errorf("the reader wakes from %d bytes on, of 7000", n)
	}
	send(body[1000:])
	read(7000)
	in.sleepTillWhole()
	if n := lowWater(t, far); n != 1 {
		t.Errorf("between two records the reader wakes from %d bytes on", n)
	}
	in.wanted = 8000 - recordTag + 500 // a frame that ends in the record after this one
	send(append(head, body[:1000]...))
	read(recordHeader + 1000)
	in.sleepTillWhole()
	if n := lowWater(t, far); n != 7000+recordHeader+recordTag+500 {
		t.Errorf("the reader of a frame wakes from %d bytes on", n)
	}
	send(body[1000:])
	in.wanted = 0
	read(7000)
	in.wanted = 1 << 20
	in.sleepTillWhole()
	if n := lowWater(t, far); n != longestSleep {
		t.Errorf("the reader of a long frame wakes from %d bytes on", n)
	}
	in.wanted = 0
	send(append(head, body[:1500]...))
	near.Close()
	if b, err := io.ReadAll(in); err != nil || len(b) != recordHeader+1500 {
		t.Errorf("%d bytes at the end, %v", len(b), err)
	}
}

// What yamux asks a connection for is what it waits for, and what its reader sleeps for.
func TestReaderSleepsTillFrameIsWhole(t *testing.T) {
	near, far := tcpPair(t)
	if err := far.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	below := &belowTLS{Conn: far, buffers: wire.NewBuffers(pieceBuffer, wireBuffer)}
	c := &gatheredConn{recordConn{below: below}, below}
	ended := make(chan error)
	go func() {
		_, err := io.ReadFull(c, make([]byte, 60000))
		ended <- err
	}()
	for want := below.record.until(60000); lowWater(t, far) != want; time.Sleep(time.Millisecond) {
		select {
		case err := <-ended:
			t.Fatalf("the reader never slept until %d bytes are there, %v", want, err)
		default:
		}
	}
	near.Close()
	if err := <-ended; err == nil {
		t.Error("the end was not read")
	}
}

// After a read that filled its buffer the next one is not left to wait for bytes that came with it.
func TestReaderWakesForWhatIsSmall(t *testing.T) {
	near, far := tcpPair(t)
	in := &belowTLS{Conn: far, buffers: wire.NewBuffers(pieceBuffer, wireBuffer)}
	send := func(b []byte) {
		t.Helper()
		if _, err := near.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	record := func(n int) []byte { return append([]byte{23, 3, 3, byte(n >> 8), byte(n)}, make([]byte, n)...) }
	large := record(8000)
	buf := make([]byte, 7005)
	for _, part := range [][]byte{large[:1000], large[1000:]} {
		send(part)
		if n, err := in.Read(buf); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	if !in.more {
		t.Fatal("the read did not fill its buffer")
	}
	if err := far.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(20*time.Millisecond, func() { _, _ = near.Write(record(100)) })
	if n, err := in.Read(buf); n != 105 || err != nil {
		t.Errorf("%d bytes of 105, %v", n, err)
	}
}

func lowWater(t *testing.T, c net.Conn) (n int) {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var got error
	if err := raw.Control(func(fd uintptr) { n, got = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT) }); err != nil || got != nil {
		t.Fatal(err, got)
	}
	return n
}

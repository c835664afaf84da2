package webdav

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/peerd/peerd/share/webdav/guard"
)

// pipes is a listener whose connections are pipes, from an address.
type pipes struct {
	from  net.IP
	conns chan net.Conn
	ended chan struct{}
}

func newPipes(from net.IP) *pipes {
	return &pipes{from: from, conns: make(chan net.Conn), ended: make(chan struct{})}
}

type pipe struct {
	net.Conn
	from net.IP
}

func (p pipe) RemoteAddr() net.Addr { return &net.TCPAddr{IP: p.from, Port: 50000} }
func (p pipe) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8000} }

func (l *pipes) Addr() net.Addr { return pipe{}.LocalAddr() }

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return pipe{c, l.from}, nil
	case <-l.ended:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error {
	select {
	case <-l.ended:
	default:
		close(l.ended)
	}
	return nil
}

func (l *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	l.conns <- theirs
	return ours
}

// TestStalledRequests holds that who was not let in can't keep a connection by sending nothing more, wherever it stops.
func TestStalledRequests(t *testing.T) {
	const lines = "PUT /m/guess/f HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n"
	for name, c := range map[string]struct {
		sent    string
		answers int
		most    time.Duration
	}{
		"nothing":         {"", 0, headerTimeout},
		"half a line":     {"PUT /m/gu", 0, headerTimeout},
		"half a header":   {lines + "X: ", 0, headerTimeout},
		"no body":         {lines + "Content-Length: 1000\r\n\r\n", 1, time.Minute},
		"half a body":     {lines + "Content-Length: 1000\r\n\r\nhalf", 1, time.Minute},
		"half of a chunk": {lines + "Transfer-Encoding: chunked\r\n\r\n10\r\nhalf", 1, time.Minute},
		"a whole request": {lines + "Content-Length: 4\r\n\r\nbody", 1, idleTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newPipes(net.IPv4(127, 0, 0, 1))
				done := make(chan error, 1)
				go func() {
					done <- Serve(t.Context(), l, nil, ServeOptions{Token: NewSecret(), Options: Options{Log: slog.New(slog.DiscardHandler)}})
				}()
				conn, began := l.dial(), time.Now()
				go func() { _, _ = io.WriteString(conn, c.sent) }() // a part of it may never be read
				r := bufio.NewReader(conn)
				for range c.answers {
					resp, err := http.ReadResponse(r, nil)
					if err != nil || resp.StatusCode != http.StatusNotFound {
						t.Fatalf("%+v, %v", resp, err)
					}
					_, _ = io.Copy(io.Discard, resp.Body) // all of it came
				}
				if _, err := io.Copy(io.Discard, r); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took > c.most+time.Second {
					t.Errorf("the connection ends after %v, want at most %v", took, c.most)
				}
				conn.Close()
				l.Close()
				<-done
			})
		})
	}
}

// TestConnectionsFromOne holds that one computer can't take all connections, and that this one's programs, which share an address, can.
func TestConnectionsFromOne(t *testing.T) {
	for from, want := range map[string]int{"127.0.0.1": 5, "::1": 5, "192.0.2.1": 3, "2001:db8::1": 3, "fe80::1": 3} {
		synctest.Test(t, func(t *testing.T) {
			inner := newPipes(netip.MustParseAddr(from).AsSlice())
			l := guard.Limit(inner, 10, 3)
			defer l.Close()
			accepted := make(chan net.Conn, 10)
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					accepted <- conn
				}
			}()
			for range 3 { // what ended counts no more
				for range 5 {
					inner.dial()
				}
				synctest.Wait()
				if len(accepted) != want {
					t.Errorf("%s has %d connections, want %d", from, len(accepted), want)
				}
				for range len(accepted) {
					conn := <-accepted
					conn.Close()
					conn.Close() // counts once
				}
			}
		})
	}
}

package guard

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// bodyPatience is how long a client may send nothing of a body that it has begun.
const bodyPatience = time.Minute

// Patient bounds how long bodies take that do not go on, be they read by next or not: the server reads some of what is left of one
// before it takes the next request, and would do so for ever, also for those that were not let in.
func Patient(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b := &patientBody{ctx: r.Context(), body: r.Body, deadline: http.NewResponseController(w).SetReadDeadline}
		defer context.AfterFunc(r.Context(), b.hurry)()
		if r.ContentLength != 0 {
			b.goOn()
		}
		r.Body = b
		next.ServeHTTP(w, r)
	})
}

// patientBody is a body whose sender may pause for bodyPatience, not longer, and not when the request is over.
type patientBody struct {
	ctx      context.Context
	body     io.ReadCloser
	deadline func(time.Time) error
	ended    bool
}

func (p *patientBody) Read(b []byte) (int, error) {
	if !p.ended {
		p.goOn()
	}
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := p.body.Read(b)
	if err != nil && !p.ended {
		p.ended = true
		_ = p.deadline(time.Time{}) // the connection is read on, to learn whether the client went away
	}
	return n, err
}

// goOn lets the next bytes take their time. What can't be bounded in time is bounded otherwise.
func (p *patientBody) goOn() { _ = p.deadline(time.Now().Add(bodyPatience)) }

// hurry ends a Read that waits.
func (p *patientBody) hurry() { _ = p.deadline(time.Unix(1, 0)) }

func (p *patientBody) Close() error { return p.body.Close() }

// Limit makes a listener that accepts only when fewer than all of its connections are open, and refuses those of an address that has
// each. This computer's own programs share one address, and are not counted.
func Limit(l net.Listener, all, each int) net.Listener {
	return &limited{Listener: l, free: make(chan struct{}, all), each: each, closed: make(chan struct{}), from: map[netip.Prefix]int{}}
}

type limited struct {
	net.Listener
	free   chan struct{}
	each   int
	closed chan struct{}
	once   sync.Once

	mu   sync.Mutex
	from map[netip.Prefix]int
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		select {
		case l.free <- struct{}{}:
		case <-l.closed:
			return nil, net.ErrClosed
		}
		c, err := l.Listener.Accept()
		if err != nil {
			<-l.free
			return nil, err
		}
		var from netip.Prefix
		if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
			from = Address(tcp.String())
		}
		if l.count(from, 1) {
			return &limitedConn{Conn: c, l: l, from: from}, nil
		}
		c.Close()
		<-l.free
	}
}

// count takes in that there is one connection more, or with -1 fewer, from an address; false if it can't have one more.
func (l *limited) count(from netip.Prefix, n int) bool {
	if !from.IsValid() {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.from[from]+n > l.each {
		return false
	}
	if l.from[from] += n; l.from[from] == 0 {
		delete(l.from, from)
	}
	return true
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	l    *limited
	from netip.Prefix
	once sync.Once
}

func (c *limitedConn) Close() error {
	c.once.Do(func() {
		c.l.count(c.from, -1)
		<-c.l.free
	})
	return c.Conn.Close()
}

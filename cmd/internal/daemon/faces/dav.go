package faces

import (
	"context"
	"crypto/tls"
	"errors"
	"iter"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/share/mount"
	"github.com/peerd/peerd/share/webdav"
)

// davUser is whom to log in as at a listener with a password.
const davUser = "peerd"

// served is a part of the tree that is served by WebDAV.
type served struct {
	control.Webdav
	at   string // the address
	end  context.CancelFunc
	done chan struct{} // closed once nothing is
	undo func()        // ends what the system made of it; may be nil
	why  error         // it is served and not mounted
}

// close ends it, also for those that are being answered.
func (s *served) close() {
	if s.undo != nil {
		s.undo()
	}
	s.end()
	<-s.done
}

// Webdav serves a part of the workgroup until ctx ends; see [control.Mounts].
func (t *Table) Webdav(ctx context.Context, req control.WebdavRequest) iter.Seq2[control.Webdav, error] {
	return func(yield func(control.Webdav, error) bool) {
		place, err := t.cfg.Find(ctx, req.Ref)
		if err != nil {
			yield(control.Webdav{}, err)
			return
		}
		s, err := t.serve(ctx, place, req.Listen, req.ReadOnly)
		if err != nil {
			yield(control.Webdav{}, err)
			return
		}
		t.cfg.Note(req.Ref.String(), s.at, "served by WebDAV", nil)
		defer func() {
			s.close()
			t.cfg.Note(req.Ref.String(), s.at, "served no more", nil)
		}()
		if !yield(s.Webdav, nil) {
			return
		}
		select {
		case <-ctx.Done():
		case <-t.ctx.Done():
			yield(control.Webdav{}, &peer.Error{Op: "webdav", Path: s.at, Kind: peer.NotRunning, Err: errors.New("peerd stopped, and serves nothing any more"),
				Hint: `start it with "peerd" and try again`})
		}
	}
}

// serve starts to listen.
func (t *Table) serve(ctx context.Context, place Place, listen string, readOnly bool) (*served, error) {
	local, err := listenAddr(listen)
	if err != nil {
		return nil, err
	}
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", listen)
	if err != nil {
		return nil, &peer.Error{Op: "webdav", Path: listen, Kind: peer.Other, Err: cause(err), Hint: "choose another address with --listen" + own()}
	}
	o := webdav.ServeOptions{Options: webdav.Options{Root: place.Root, ReadOnly: readOnly, Dead: t.props.Properties, Log: t.cfg.Log}}
	s := &served{at: l.Addr().String(), done: make(chan struct{})}
	if local {
		o.Token = webdav.NewSecret()
	} else {
		cert, sum, err := t.certificate(l.Addr())
		if err != nil {
			l.Close()
			return nil, err
		}
		o.User, o.Password = davUser, webdav.NewSecret()
		o.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
		s.User, s.Password, s.Certificate = o.User, o.Password, sum
	}
	s.URL = o.URL(reachable(l.Addr()))
	s.Commands = commands(runtime.GOOS, s.Webdav, "")
	serving, end := context.WithCancel(t.ctx)
	s.end = end
	go func() {
		defer close(s.done)
		if err := webdav.Serve(serving, l, t.cfg.Tree, o); err != nil {
			t.cfg.Log.Warn("nothing is served by WebDAV any more", "listen", listen, "err", err)
		}
	}()
	return s, nil
}

// listenAddr checks an address, and reports whether this computer alone reaches it.
func listenAddr(listen string) (local bool, err error) {
	if listen == "" {
		return true, nil
	}
	bad := func(err error) error {
		return &peer.Error{Op: "webdav", Path: listen, Kind: peer.Usage, Err: err, Hint: "write IP:PORT"}
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return false, bad(cause(err))
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return false, bad(errors.New("there is no such port"))
	}
	if host == "" || strings.EqualFold(host, "localhost") {
		return host != "", nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false, bad(errors.New("it names no IP address"))
	}
	return ip.IsLoopback(), nil
}

// own names the addresses of this computer on its networks, for hints.
func own() string {
	var names []string
	for _, ip := range addresses() {
		if !ip.IsLoopback() {
			names = append(names, ip.String())
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "; this computer's are " + strings.Join(names, ", ")
}

// reachable is an address that others can ask for: one that stands for all of this computer's is the first that is on a network.
func reachable(a net.Addr) net.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return a
	}
	for _, ip := range addresses() {
		if ip.To4() != nil && !ip.IsLoopback() {
			return &net.TCPAddr{IP: ip, Port: tcp.Port}
		}
	}
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: tcp.Port}
}

// serveFolder serves what can't be mounted here, and has the system mount it where it can do so by itself.
func (t *Table) serveFolder(ctx context.Context, f *face) (*served, error) {
	if err := mount.Apart(f.Dir, t.cfg.Shared()); err != nil {
		return nil, err
	}
	s, err := t.serve(ctx, f.place, "", f.ReadOnly)
	if err != nil {
		return nil, err
	}
	s.Commands = commands(runtime.GOOS, s.Webdav, f.Dir)
	attach, undo := native(runtime.GOOS, s.URL, f.Dir)
	if attach == nil {
		if runtime.GOOS == "linux" {
			_ = os.Mkdir(f.Dir, 0o700) // one of the commands mounts on it, and says so if it can't
		}
		return s, nil
	}
	if out, err := exec.CommandContext(ctx, attach[0], attach[1:]...).CombinedOutput(); err != nil {
		t.cfg.Log.Warn("the system does not mount by WebDAV", "command", strings.Join(attach, " "), "err", err, "output", string(out))
		return s, nil
	}
	s.undo = func() {
		ctx, cancel := context.WithTimeout(context.Background(), endTime)
		defer cancel()
		if out, err := exec.CommandContext(ctx, undo[0], undo[1:]...).CombinedOutput(); err != nil {
			t.cfg.Log.Warn("the system does not unmount", "command", strings.Join(undo, " "), "err", err, "output", string(out))
		}
	}
	return s, nil
}

// cause is the innermost of a network error, which says it shortest.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	var addr *net.AddrError
	if errors.As(err, &addr) {
		return errors.New(addr.Err)
	}
	return err
}

package daemon

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"go.uber.org/goleak"

	"github.com/peerd/peerd/cmd/internal/config"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/auth"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/peer/control/client"
	"github.com/peerd/peerd/share"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Passwords that nobody guesses.
const (
	readPassword  = "plumbing-harvest-otter-42"
	fullPassword  = "velvet-anchor-thirteen-moss"
	otherPassword = "granite-willow-sixty-lantern"
)

// node is a real daemon on loopback, asked over its socket.
type node struct {
	*client.Client
	t    *testing.T
	cfg  config.Config
	id   string
	addr string // where it listens, as IP:port
	stop func()
}

// start runs a daemon until the test ends. It finds others by join alone.
func start(t *testing.T, name string, join ...*node) *node {
	t.Helper()
	paths, err := config.FindPaths(t.TempDir(), func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	cfg := config.Default(paths, name)
	cfg.MDNS, cfg.Listen = false, []string{net.JoinHostPort(loopback(), "0")}
	for _, other := range join {
		cfg.Join = append(cfg.Join, other.addr)
	}
	n := &node{t: t, cfg: cfg}
	n.run()
	t.Cleanup(func() { n.stop() })
	return n
}

var started atomic.Uint32

// loopback gives an address of this computer that no other node or test has, where there are many: nobody takes a node's port while it
// is restarted.
func loopback() string {
	if runtime.GOOS != "linux" {
		return "127.0.0.1"
	}
	pid := os.Getpid()
	return netip.AddrFrom4([4]byte{127, byte(pid >> 8), byte(pid), byte(2 + started.Add(1)%250)}).String()
}

// run starts the daemon and waits until it is ready.
func (n *node) run() {
	n.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan Ready, 1), make(chan error, 1)
	go func() {
		done <- run(ctx, n.cfg, slog.New(slog.DiscardHandler), func(r Ready) { ready <- r }, weak)
	}()
	select {
	case r := <-ready:
		n.id = r.ID
	case err := <-done:
		cancel()
		n.t.Fatalf("%s does not start: %v", n.cfg.Name, err)
	}
	n.Client = client.New(n.cfg.Socket)
	n.stop = func() {
		n.Close()
		cancel()
		if err := <-done; err != nil {
			n.t.Errorf("%s: %v", n.cfg.Name, err)
		}
		n.stop = func() {}
	}
	st, err := n.Status(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	n.addr = tcpAddr(n.t, st.Addrs)
	n.cfg.Listen = []string{n.addr} // the same after a restart
}

// weak is a password that takes no time. The true ones, at true daemons, are for cmd/e2e.
func weak(text string) (auth.Password, error) {
	p, err := auth.NewPassword(text)
	return p.WeakenedForTests(), err
}

func (n *node) restart() {
	n.t.Helper()
	n.stop()
	n.run()
}

func tcpAddr(t *testing.T, addrs []string) string {
	t.Helper()
	for _, s := range addrs {
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			t.Fatal(err)
		}
		if at, err := manet.ToNetAddr(a); err == nil {
			if tcp, ok := at.(*net.TCPAddr); ok {
				return tcp.String()
			}
		}
	}
	t.Fatalf("no TCP address among %v", addrs)
	return ""
}

// sees waits until the node knows others by their names.
func (n *node) sees(others ...*node) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), 20*time.Second)
	defer cancel()
	missing := make(map[string]bool)
	for _, o := range others {
		missing[o.id] = true
	}
	for e, err := range n.WatchPeers(ctx) {
		if err != nil {
			n.t.Fatalf("%s waits for %d peers: %v", n.cfg.Name, len(missing), err)
		}
		if e.Event != control.PeerGone {
			delete(missing, e.Peer.ID)
		}
		if len(missing) == 0 {
			return
		}
	}
}

// offer makes a folder with files and offers it.
func (n *node) offer(name string, files map[string]string, edit func(*control.ShareAdd)) string {
	n.t.Helper()
	dir := n.t.TempDir()
	for file, text := range files {
		write(n.t, filepath.Join(dir, file), text)
	}
	add := control.ShareAdd{Dir: dir, Name: name, Read: control.Slot{Mode: control.Closed}, Full: control.Slot{Mode: control.Closed}}
	edit(&add)
	if _, err := n.ShareAdd(n.t.Context(), add); err != nil {
		n.t.Fatal(err)
	}
	return dir
}

func open(a *control.ShareAdd) { a.Read.Mode = control.Open }

func byPassword(a *control.ShareAdd) {
	a.Read = control.Slot{Mode: control.Password, Password: readPassword}
	a.Full = control.Slot{Mode: control.Password, Password: fullPassword}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// sparse makes a large file that takes no room.
func sparse(t *testing.T, name string, size int64) {
	t.Helper()
	write(t, name, "")
	if err := os.Truncate(name, size); err != nil {
		t.Fatal(err)
	}
}

func ref(t *testing.T, s string) control.Ref {
	t.Helper()
	r, err := control.ParseRef(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// list gives the text forms of what a listing yields, and the error that ended it.
func (n *node) list(of string, recursive bool) ([]string, error) {
	n.t.Helper()
	return texts(n.List(n.t.Context(), ref(n.t, of), recursive))
}

func texts(entries iter.Seq2[control.Entry, error]) (out []string, err error) {
	for e, err := range entries {
		if err != nil {
			return out, err
		}
		if e.Error != nil {
			return out, e.Error.Err()
		}
		out = append(out, e.Ref.String())
	}
	return out, nil
}

// look gives the error of Stat.
func (n *node) look(of string) error {
	n.t.Helper()
	_, err := n.Stat(n.t.Context(), ref(n.t, of))
	return err
}

func (n *node) text(of string) (string, error) {
	n.t.Helper()
	var out strings.Builder
	err := n.Cat(n.t.Context(), ref(n.t, of), 0, -1, &out)
	return out.String(), err
}

// copy copies and gives the last event.
func (n *node) copy(req control.CopyRequest, sources ...string) (last control.CopyEvent, err error) {
	n.t.Helper()
	for _, s := range sources {
		req.Sources = append(req.Sources, ref(n.t, s))
	}
	err = n.Copy(n.t.Context(), req, func(e control.CopyEvent) { last = e })
	return last, err
}

// wants fails the test unless err is of a kind and says nothing raw.
func wants(t *testing.T, what string, err error, kind peer.Kind) {
	t.Helper()
	if err == nil || peer.KindOf(err) != kind {
		t.Errorf("%s: %v (kind %v), want kind %v", what, err, peer.KindOf(err), kind)
	}
}

func works(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// snapshot is what lies in a folder: by path kind, size, time, whether it runs, and a hash.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil || share.CheckComponent(d.Name()) != nil && rel != "." {
			return err
		}
		info, err := d.Info()
		switch {
		case err != nil:
			return err
		case d.IsDir():
			out[rel] = "dir"
		case info.Mode().IsRegular():
			b, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			out[rel] = fmt.Sprintf("%d %s %t %x", len(b), info.ModTime().UTC(), info.Mode()&0o100 != 0, sha256.Sum256(b))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

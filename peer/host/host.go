// Package host connects peers. It listens, dials, refuses whom it must, and hands authenticated streams to the handlers
// of protocols; what is said on them it does not know.
//
// It is go-libp2p's swarm and its TCP and QUIC transports, with neither the host around them nor any service that a local
// network has no use for (identify, AutoNAT, hole punching); package adapter brings a host for those that need one.
// Connections are TCP with TLS 1.3 and yamux where that
// can be had, since it costs a fraction of what QUIC and Noise do, and QUIC otherwise.
//
// Connections are dialled here and not by the swarm, whose dialer refuses IPv6 link-local addresses and a second
// connection to the same peer: networks with nothing but link-local addresses are ordinary, and bulk transfers want a
// lane of their own.
package host

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	core "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/gologshim"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	quictransport "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multistream"
	"github.com/quic-go/quic-go"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host/book"
	"github.com/peerd/peerd/peer/host/limit"
	"github.com/peerd/peerd/peer/host/secure"
)

// DefaultPort is where a peer listens when nothing else is said, on TCP and UDP.
const DefaultPort = 4455

// closeGrace is how long Close waits for handlers to say goodbye before it cuts their streams off, and then again for
// them to return.
const closeGrace = 2 * time.Second

// flushTimeout is how long Close waits for the last words of handlers to arrive.
const flushTimeout = 250 * time.Millisecond

// Config says how a Host is to be. Only Key must be set.
type Config struct {
	// Key proves the peer's ID. It is Ed25519, as every other peer's must be.
	Key crypto.PrivKey
	// Listen are the addresses to listen on, as IP:port (both TCP and QUIC), :port (on all addresses) or multiaddr. Without
	// any it is DefaultPort on all addresses, or a free port where that one is taken, as by a second peerd.
	Listen []string
	// Logger gets what happens to connections, at level Debug, and what should not happen, above. Nil keeps quiet.
	Logger *slog.Logger
	// AllowPublic lets addresses in that are neither private nor local to the link.
	AllowPublic bool
	// Blocked says which peers to have nothing to do with. It is asked at every connection, from any goroutine.
	Blocked func(peer.ID) bool
	// DialTimeout bounds one dial over all addresses of a peer, handshake included. 0 means 5 seconds.
	DialTimeout time.Duration
	// IdleTimeout is how long a connection without streams is kept. 0 means a minute.
	IdleTimeout time.Duration
	// DeadAfter is how long the other side may fail to answer before a connection is dead and its streams fail. Where the
	// operating system keeps watch (Linux) this is exact; elsewhere it may take half as long again. 0 means 15 seconds.
	DeadAfter time.Duration
}

// Host is one peer on the network. Its methods are safe for concurrent use.
type Host struct {
	cfg  Config
	id   peer.ID
	log  *slog.Logger
	gate *limit.Gate

	limits network.ResourceManager
	store  peerstore.Peerstore
	bus    event.Bus
	swarm  *swarm.Swarm
	up     transport.Upgrader
	tcp    *tcp.TcpTransport
	quic   transport.Transport
	relay  transport.Transport // dials circuits; nil without
	reuse  *quicreuse.ConnManager
	feed   *feed
	port   int

	book     *book.Book
	protocol *multistream.MultistreamMuxer[string]

	ctx    context.Context // ends when Close begins
	cancel context.CancelFunc
	closed sync.Once

	mu           sync.Mutex
	closing      bool
	tasks        sync.WaitGroup // dials and the janitor; none is added once closing is set
	serving      sync.WaitGroup // handlers; none is added once closing is set
	services     map[string]*service
	links        map[peer.ID][]*link // open connections, oldest first
	kept         map[peer.ID]int     // whose connections are not closed when idle, by how many wish it
	dials        map[laneKey]*dial   // under way
	onConnect    []func(peer.ID, peer.Addr, bool)
	onDisconnect []func(peer.ID)
}

var _ peer.Opener = (*Host)(nil)

// New starts a host. It listens and answers pings when New returns; protocols are added by [Host.Handle].
func New(cfg Config) (*Host, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Blocked == nil {
		cfg.Blocked = func(peer.ID) bool { return false }
	}
	cfg.DialTimeout = orDefault(cfg.DialTimeout, 5*time.Second)
	cfg.IdleTimeout = orDefault(cfg.IdleTimeout, time.Minute)
	cfg.DeadAfter = orDefault(cfg.DeadAfter, 15*time.Second)
	if cfg.Key == nil || cfg.Key.Type() != crypto.Ed25519 {
		return nil, &peer.Error{Op: "start host", Kind: peer.Usage, Err: errors.New("the key is not Ed25519")}
	}
	id, err := core.IDFromPrivateKey(cfg.Key)
	if err != nil {
		return nil, &peer.Error{Op: "start host", Err: err}
	}

	h := &Host{
		cfg: cfg, id: id, log: cfg.Logger,
		gate:     &limit.Gate{AllowPublic: cfg.AllowPublic, Blocked: cfg.Blocked},
		feed:     newFeed(),
		book:     book.New(),
		protocol: multistream.NewMultistreamMuxer[string](),
		services: make(map[string]*service),
		links:    make(map[peer.ID][]*link),
		kept:     make(map[peer.ID]int),
		dials:    make(map[laneKey]*dial),
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	if err := h.start(); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

func orDefault(d, def time.Duration) time.Duration {
	if d <= 0 {
		return def
	}
	return d
}

// start builds what go-libp2p's own host would, and listens.
func (h *Host) start() (err error) {
	fail := func(err error) error { return &peer.Error{Op: "start host", Err: err} }
	if h.limits, err = limit.New(); err != nil {
		return fail(err)
	}
	if h.store, err = pstoremem.NewPeerstore(); err != nil {
		return fail(err)
	}
	h.bus = eventbus.NewBus()
	h.swarm, err = swarm.NewSwarm(h.id, h.store, h.bus,
		swarm.WithConnectionGater(h.gate), swarm.WithResourceManager(h.limits))
	if err != nil {
		return fail(err)
	}
	if err := h.makeTransports(); err != nil {
		return fail(err)
	}
	for _, t := range []transport.Transport{h.tcp, h.quic, h.feed} {
		if err := h.swarm.AddTransport(t); err != nil {
			return fail(err)
		}
	}
	h.swarm.Notify(&network.NotifyBundle{ConnectedF: h.connected, DisconnectedF: h.disconnected})
	h.swarm.SetStreamHandler(h.serve)
	h.Handle(pingProtocol, 2, answerPing)
	if err := h.swarm.AddListenAddr(h.feed.Multiaddr()); err != nil {
		return fail(err)
	}
	if err := h.listen(); err != nil {
		return err
	}
	h.spawn(h.closeIdle)
	return nil
}

func (h *Host) makeTransports() error {
	tls, muxers, err := secure.New(h.cfg.Key, h.cfg.DeadAfter)
	if err != nil {
		return err
	}
	h.up, err = upgrader.New([]sec.SecureTransport{tls}, muxers, nil, h.limits, h.gate, upgrader.WithAcceptTimeout(limit.AcceptTimeout))
	if err != nil {
		return err
	}
	// A shared port would hide that it is taken.
	h.tcp, err = tcp.NewTCPTransport(h.up, h.limits, nil, tcp.DisableReuseport(), tcp.WithConnectionTimeout(h.cfg.DialTimeout))
	if err != nil {
		return err
	}

	var reset quic.StatelessResetKey
	var token quic.TokenGeneratorKey
	if err := errors.Join(h.derive("quic stateless reset", reset[:]), h.derive("quic token", token[:])); err != nil {
		return err
	}
	h.reuse, err = quicreuse.NewConnManager(reset, token,
		quicreuse.ConnContext(h.admitQUIC),
		quicreuse.VerifySourceAddress(func(addr net.Addr) bool { return h.limits.VerifySourceAddress(addr) }))
	if err != nil {
		return err
	}
	// Both sides take the shorter of their idle times (RFC 9000 section 10.1), so the dialling side sets it for both.
	client := h.reuse.ClientConfig()
	client.MaxIdleTimeout, client.KeepAlivePeriod = h.cfg.DeadAfter, h.cfg.DeadAfter/3
	h.quic, err = quictransport.NewTransport(h.cfg.Key, h.reuse, nil, h.gate, h.limits)
	return err
}

// derive fills out with a secret of its own for one purpose, the same at every start so that a restarted peer can tell
// others that their connections are gone.
func (h *Host) derive(purpose string, out []byte) error {
	raw, err := h.cfg.Key.Raw()
	if err != nil {
		return err
	}
	secret, err := hkdf.Key(sha256.New, raw, nil, "peerd "+purpose, len(out))
	copy(out, secret)
	return err
}

// admitQUIC asks for an inbound QUIC connection's place among the limits before its handshake costs anything.
func (h *Host) admitQUIC(ctx context.Context, client *quic.ClientInfo) (context.Context, error) {
	addr, err := quicreuse.ToQuicMultiaddr(client.RemoteAddr, quic.Version1)
	if err != nil {
		return ctx, err
	}
	if !h.gate.Allows(addr) {
		return ctx, errors.New("the address is not let in")
	}
	scope, err := h.limits.OpenConnection(network.DirInbound, false, addr)
	if err != nil {
		return ctx, err
	}
	context.AfterFunc(ctx, scope.Done)
	return network.WithConnManagementScope(ctx, scope), nil
}

// LogLibraryTo sends what go-libp2p itself logs to l instead of standard error, at level Debug: its errors are mostly peers
// that went away. It holds for the whole process, and only if called before the first [New]; a program's main may do so.
func LogLibraryTo(l *slog.Logger) { gologshim.SetDefaultHandler(debugHandler{l.Handler()}) }

// debugHandler logs everything at level Debug.
type debugHandler struct{ slog.Handler }

func (h debugHandler) Enabled(ctx context.Context, _ slog.Level) bool {
	return h.Handler.Enabled(ctx, slog.LevelDebug)
}

func (h debugHandler) Handle(ctx context.Context, r slog.Record) error {
	r.Level = slog.LevelDebug
	return h.Handler.Handle(ctx, r)
}

func (h debugHandler) WithAttrs(a []slog.Attr) slog.Handler {
	return debugHandler{h.Handler.WithAttrs(a)}
}
func (h debugHandler) WithGroup(name string) slog.Handler {
	return debugHandler{h.Handler.WithGroup(name)}
}

// ID is this peer's ID.
func (h *Host) ID() peer.ID { return h.id }

// Learn replaces the addresses that a peer is dialled at: TCP and QUIC by IP, with a zone where link-local, and circuits.
// Others are dropped, and so is what exceeds [book.MaxAddrs]. They are hints: who answers there proves its ID or is not
// talked to. Beyond [book.MaxPeers] the peer that was not used for longest is forgotten.
func (h *Host) Learn(id peer.ID, addrs []peer.Addr) { h.book.Set(id, addrs) }

// Hint gives addresses to a peer of which nothing was learned.
func (h *Host) Hint(id peer.ID, addrs []peer.Addr) {
	if id != h.id {
		h.book.Hint(id, addrs)
	}
}

// Known are the addresses that a peer would be dialled at, the one that worked last in front.
func (h *Host) Known(id peer.ID) []peer.Addr { return h.book.Addrs(id) }

// Forget drops what was learned of a peer's addresses. Open connections stay.
func (h *Host) Forget(id peer.ID) { h.book.Set(id, nil) }

// Parts are what a Host is made of, for package adapter alone: whatever else needs them belongs below this package.
type Parts struct {
	Key      crypto.PrivKey
	Network  network.Network
	Store    peerstore.Peerstore
	Bus      event.Bus
	Upgrader transport.Upgrader
}

// Parts gives what this host is made of.
func (h *Host) Parts() Parts { return Parts{h.cfg.Key, h.swarm, h.store, h.bus, h.up} }

// DialCircuits has circuits dialled, and listened for, by a transport.
func (h *Host) DialCircuits(t transport.Transport) error {
	h.mu.Lock()
	h.relay = t
	h.mu.Unlock()
	if err := h.swarm.AddTransport(t); err != nil {
		return &peer.Error{Op: "start circuits", Err: err}
	}
	return h.swarm.AddListenAddr(ma.StringCast("/p2p-circuit"))
}

// spawn runs f in a goroutine that Close waits for, and reports whether it did: it does not once Close began.
func (h *Host) spawn(f func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing {
		return false
	}
	h.tasks.Go(f)
	return true
}

// Close ends the contexts of all handlers, gives them a moment to say goodbye, then cuts all connections and waits for
// every goroutine. It fails only if a handler does not return although its stream is gone.
func (h *Host) Close() error {
	var err error
	h.closed.Do(func() { err = h.close() })
	return err
}

func (h *Host) close() error {
	h.mu.Lock()
	h.closing = true
	var busy []*link
	for _, links := range h.links {
		for _, l := range links {
			if l.conn.Stat().NumStreams > 0 {
				busy = append(busy, l)
			}
		}
	}
	h.mu.Unlock()
	h.cancel()
	waitFor(&h.serving, closeGrace)
	flush(busy)

	if h.swarm != nil {
		h.swarm.Close()
	}
	h.tasks.Wait()
	var err error
	if !waitFor(&h.serving, closeGrace) {
		err = &peer.Error{Op: "close host", Err: fmt.Errorf("a handler still runs after %v", 2*closeGrace)}
	}
	if h.reuse != nil {
		err = errors.Join(err, h.reuse.Close())
	}
	if h.store != nil {
		err = errors.Join(err, h.store.Close())
	}
	if h.limits != nil {
		err = errors.Join(err, h.limits.Close())
	}
	return err
}

// flush waits a little for what was written on connections to arrive, since closing one drops what is still on its way: a
// ping that comes back went behind it.
func flush(links []*link) {
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	var g sync.WaitGroup
	for _, l := range links {
		g.Go(func() {
			if s, err := openOn(ctx, l, pingProtocol); err == nil {
				// Without an answer there is nobody to say goodbye to.
				_, _ = ping(ctx, s, flushTimeout)
			}
		})
	}
	g.Wait()
}

// waitFor reports whether the group was done in time.
func waitFor(g *sync.WaitGroup, d time.Duration) bool {
	done := make(chan struct{})
	go func() { g.Wait(); close(done) }()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}

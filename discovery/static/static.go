// Package static finds peers at addresses that a user named, by --join or configuration: for routed networks, VPNs and
// Wi-Fi that blocks multicast.
//
// An address does not say who is there. A [Prober] goes and sees; here is only decided when it is worth trying.
package static

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/peer"
)

// Prober calls at an address and tells who answers, proven by the handshake. It is called from several goroutines, again
// and again; ctx ends after [Config.Timeout].
type Prober func(ctx context.Context, addr peer.Addr) (discovery.Sighting, error)

// Resolver gives the addresses of a host name, as [net.Resolver] does.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Config says where to look. Only Targets, Probe and Logger must be set.
type Config struct {
	Targets []string // host, host:port, [IPv6%zone]:port, or a multiaddr; at most MaxTargets
	Port    int      // where a target names none; 0 is DefaultPort
	Probe   Prober
	Logger  *slog.Logger

	Resolver Resolver      // nil: the system's
	Rand     *rand.Rand    // nil: seeded by the runtime; used under a lock
	Up       time.Duration // between probes of a peer that answers; 0 is 30 s
	Down     time.Duration // after the first failure, doubled by each up to Up; 0 is 1 s
	Timeout  time.Duration // of one probe of one address; 0 is 5 s
}

// Limits and defaults.
const (
	DefaultPort = 4455
	MaxTargets  = 256

	maxAddrs = 8 // addresses of one name that are tried
)

// Finder probes a list of targets.
type Finder struct {
	cfg     Config
	targets []target

	mu sync.Mutex // guards cfg.Rand
}

// New checks the targets; one that can't be read is an error of kind peer.Usage.
func New(cfg Config) (*Finder, error) {
	if cfg.Port == 0 {
		cfg.Port = DefaultPort
	}
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	cfg.Up = orDefault(cfg.Up, 30*time.Second)
	cfg.Down = orDefault(cfg.Down, time.Second)
	cfg.Timeout = orDefault(cfg.Timeout, 5*time.Second)
	if len(cfg.Targets) > MaxTargets {
		return nil, &peer.Error{Op: "join", Kind: peer.Usage, Err: fmt.Errorf("more than %d addresses", MaxTargets)}
	}
	f := &Finder{cfg: cfg}
	for _, s := range cfg.Targets {
		t, err := parse(s, cfg.Port)
		if err != nil {
			return nil, &peer.Error{Op: "join", Path: s, Kind: peer.Usage, Err: err, Hint: "write HOST, HOST:PORT or [IPV6]:PORT"}
		}
		f.targets = append(f.targets, t)
	}
	return f, nil
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}

// Find probes every target until ctx ends: what answers is probed again every [Config.Up], what does not after a pause
// that grows from [Config.Down]. A peer that stops answering is reported gone, by the way of the target that had it.
func (f *Finder) Find(ctx context.Context, found func(discovery.Sighting)) error {
	held := holders{by: map[peer.ID]int{}, found: found}
	var all sync.WaitGroup
	for _, t := range f.targets {
		all.Go(func() { f.watch(ctx, t, &held) })
	}
	<-ctx.Done()
	all.Wait()
	return nil
}

// watch keeps one target under observation.
func (f *Finder) watch(ctx context.Context, t target, held *holders) {
	var last peer.ID
	pause := f.cfg.Down
	for ctx.Err() == nil {
		s, err := f.probe(ctx, t)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			f.cfg.Logger.Debug("static peer does not answer", "target", t.text, "again", pause, "err", err)
			held.swap(last, discovery.Sighting{})
			last = ""
			f.sleep(ctx, pause)
			pause = min(2*pause, f.cfg.Up)
		default:
			s.Way = discovery.Static
			s.TTL = 2*f.cfg.Up + maxAddrs*f.cfg.Timeout // outlives the next probe, however slow
			held.swap(last, s)
			last = s.ID
			pause = f.cfg.Down
			f.sleep(ctx, f.cfg.Up)
		}
	}
}

// sleep waits for d, give or take a tenth, so that many who lost the same peer do not come back at one moment.
func (f *Finder) sleep(ctx context.Context, d time.Duration) {
	f.mu.Lock()
	d += time.Duration((f.cfg.Rand.Float64() - 0.5) / 5 * float64(d))
	f.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// probe tries a target's addresses in turn until one answers.
func (f *Finder) probe(ctx context.Context, t target) (discovery.Sighting, error) {
	addrs, err := f.resolve(ctx, t)
	if err != nil {
		return discovery.Sighting{}, err
	}
	var failed []error
	for _, a := range addrs {
		s, err := f.call(ctx, a)
		if err == nil && s.ID == "" {
			err = errors.New("who answers did not say its ID")
		}
		if err == nil {
			return s, nil
		}
		failed = append(failed, fmt.Errorf("%s: %w", a, err))
		if ctx.Err() != nil {
			break
		}
	}
	return discovery.Sighting{}, errors.Join(failed...)
}

func (f *Finder) call(ctx context.Context, a peer.Addr) (discovery.Sighting, error) {
	ctx, cancel := context.WithTimeout(ctx, f.cfg.Timeout)
	defer cancel()
	return f.cfg.Probe(ctx, a)
}

// resolve gives what to dial for a target: TCP at every address, then QUIC.
func (f *Finder) resolve(ctx context.Context, t target) ([]peer.Addr, error) {
	if t.addr != nil {
		return []peer.Addr{t.addr}, nil
	}
	ips := []netip.Addr{t.ip}
	if !t.ip.IsValid() {
		ctx, cancel := context.WithTimeout(ctx, f.cfg.Timeout)
		defer cancel()
		var err error
		if ips, err = f.cfg.Resolver.LookupNetIP(ctx, "ip", t.host); err != nil {
			return nil, err
		}
	}
	var tcp, quic []peer.Addr
	for _, ip := range ips[:min(len(ips), maxAddrs/2)] {
		if both := discovery.Addrs(netip.AddrPortFrom(ip, t.port)); both != nil {
			tcp, quic = append(tcp, both[0]), append(quic, both[1])
		}
	}
	if len(tcp) == 0 {
		return nil, fmt.Errorf("%s has no address that can be dialled", t.host)
	}
	return append(tcp, quic...), nil
}

// holders counts the targets that lead to a peer: two of them may be one computer, which is gone when both are silent.
type holders struct {
	mu    sync.Mutex
	by    map[peer.ID]int
	found func(discovery.Sighting)
}

// swap reports that a target now leads to s.ID (or to nobody) and no longer to last (or it was nobody).
func (h *holders) swap(last peer.ID, s discovery.Sighting) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.ID != "" {
		h.by[s.ID]++
		h.found(s)
	}
	if last == "" {
		return
	}
	if h.by[last]--; h.by[last] == 0 {
		delete(h.by, last)
		h.found(discovery.Sighting{ID: last, Way: discovery.Static, Gone: true})
	}
}

// target is one place to look: a multiaddr, or an IP address or host name with a port.
type target struct {
	text string
	addr peer.Addr
	ip   netip.Addr
	host string
	port uint16
}

func parse(s string, port int) (target, error) {
	t := target{text: s}
	var err error
	if strings.HasPrefix(s, "/") {
		t.addr, err = ma.NewMultiaddr(s)
		return t, err
	}
	host := s
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		host = s[1 : len(s)-1]
	}
	if _, err := netip.ParseAddr(host); err != nil && strings.ContainsAny(s, ":[]") { // an IPv6 address has colons too
		var digits string
		if host, digits, err = net.SplitHostPort(s); err != nil {
			return target{}, err
		}
		if port, err = strconv.Atoi(digits); err != nil {
			return target{}, fmt.Errorf("%q is no port", digits)
		}
	}
	if port < 1 || port > 65535 {
		return target{}, fmt.Errorf("%d is no port", port)
	}
	if host == "" || len(host) > 253 || strings.ContainsAny(host, " /[]") {
		return target{}, errors.New("that is no host")
	}
	t.ip, _ = netip.ParseAddr(host)
	t.host, t.port = host, uint16(port)
	return t, nil
}

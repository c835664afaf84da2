// Package daemon wires the parts of peerd together: configuration in, running daemon out. It is the one place that knows
// both the services and the faces.
package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"golang.org/x/sync/errgroup"

	"github.com/peerd/peerd/cmd/internal/config"
	"github.com/peerd/peerd/cmd/internal/daemon/auditing"
	"github.com/peerd/peerd/cmd/internal/daemon/changing"
	"github.com/peerd/peerd/cmd/internal/daemon/copying"
	"github.com/peerd/peerd/cmd/internal/daemon/ending"
	"github.com/peerd/peerd/cmd/internal/daemon/faces"
	"github.com/peerd/peerd/cmd/internal/daemon/giving"
	"github.com/peerd/peerd/cmd/internal/daemon/lan"
	"github.com/peerd/peerd/cmd/internal/daemon/loop"
	"github.com/peerd/peerd/cmd/internal/daemon/owners"
	"github.com/peerd/peerd/cmd/internal/doctor"
	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/auth"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/peer/control/server"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/peer/identity"
	"github.com/peerd/peerd/share/mount"
	"github.com/peerd/peerd/share/mounted"
	"github.com/peerd/peerd/share/offer"
	"github.com/peerd/peerd/share/registry"
	"github.com/peerd/peerd/share/remote"
	"github.com/peerd/peerd/share/remote/ticket"
	shareserve "github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/serve/edit"
	"github.com/peerd/peerd/share/sharepb"
	"github.com/peerd/peerd/transfer/largepage"
	"github.com/peerd/peerd/transfer/rate"
	"github.com/peerd/peerd/transfer/seed"
	transferserve "github.com/peerd/peerd/transfer/serve"
	"github.com/peerd/peerd/transfer/store"
	"github.com/peerd/peerd/transfer/tracker"
)

// Ready is what a daemon says when it is up.
type Ready struct {
	Name      string
	Workgroup string
	ID        string
	Shares    int
}

// maxManifests is how many manifests of own files are kept on disk.
const maxManifests = 20_000

// Streams of each protocol that one peer may have open to us.
const (
	authStreams     = 2
	infoStreams     = 4
	metaStreams     = 8
	manifestStreams = 16
	getStreams      = 16
	swarmStreams    = 16
	stateStreams    = 2
	changeStreams   = 64 // each that watches, or holds a lock, is one
	doctorStreams   = 2
)

// daemon is a running peerd.
type daemon struct {
	*changing.Changes
	*auditing.Book
	*faces.Faces

	cfg     config.Config
	log     *slog.Logger
	started time.Time
	key     crypto.PrivKey
	host    *host.Host
	loop    *loop.Loop // the host, and this peer itself
	offers  *offer.Offers
	client  *remote.Client
	tickets *ticket.Store
	porter  *shareserve.Porter
	lan     *lan.LAN
	copies  *copying.Copies
	cache   *store.Cache
	shelf   *seed.Shelf
	hashes  *store.Manifests // of own files
	giver   *giving.Giver
	uploads *shareserve.Uploads
	table   *tracker.Table
	ending  *ending.Teller

	upload, download *rate.Limiter // of all peers together
	throttle         auth.Throttle
	typed            typed
}

// typed reads a password that somebody typed: [auth.NewPassword], but in tests of something else than how hard one is to guess.
type typed func(string) (auth.Password, error)

// LogLibrariesTo sends what libraries log to log. It holds for the whole process, and is called before the first Run.
func LogLibrariesTo(log *slog.Logger) { host.LogLibraryTo(log) }

// Prepare readies the process for a daemon that lasts: what it has from now on it has in large pages. It is for the beginning of a program.
func Prepare() { largepage.Heap() }

// Run runs the daemon until ctx ends, and calls ready once all of it is up.
func Run(ctx context.Context, cfg config.Config, log *slog.Logger, ready func(Ready)) error {
	return run(ctx, cfg, log, ready, auth.NewPassword)
}

func run(ctx context.Context, cfg config.Config, log *slog.Logger, ready func(Ready), passwords typed) error {
	d := &daemon{
		cfg: cfg, log: log, started: time.Now(), upload: rate.NewLimiter(cfg.Upload), download: rate.NewLimiter(cfg.Download), typed: passwords,
	}
	// The socket comes first: it is the lock that keeps a second daemon off this home.
	socket, err := server.Listen(cfg.Socket)
	if err != nil {
		return err
	}
	defer socket.Close()
	if dirs := mount.Clean(); len(dirs) > 0 { // before the shares are opened, which keep away from what is mounted
		log.Info("what a peerd that died had mounted is taken away", "dirs", dirs)
	}
	if err := d.openState(); err != nil {
		return err
	}
	if err := d.openShelf(); err != nil {
		return err
	}
	defer d.cache.Close()
	if d.Book, err = auditing.Open(filepath.Join(cfg.State, "audit"), d.key, d.offers, log); err != nil {
		return err
	}
	defer d.Book.Close()
	defer d.offers.Close()
	d.copies = copying.New(world{d}, d.log)
	d.host, err = host.New(host.Config{Key: d.key, Listen: cfg.Listen, Logger: log, Blocked: d.offers.Registry.IsBlocked})
	if err != nil {
		return err
	}
	defer d.closeHost()
	d.loop = loop.New(d.host.ID(), d.host, log)
	defer d.loop.Close()
	d.offers.Self = d.host.ID()
	d.client = remote.NewClient(d.loop, d.host.ID(), d.tickets, time.Now)
	d.lan, err = lan.New(lan.Config{
		Config: cfg, Key: d.key, Host: d.host, Offers: d.offers, Client: d.client, Tickets: d.tickets, Log: log, Started: d.started, Clash: d.Book.Clash,
		Hello: func(to peer.ID) *sharepb.Hello { return d.porter.Hello(to) },
	})
	if err != nil {
		return err
	}
	defer d.lan.Close()
	defer d.offers.Registry.OnBlock(d.blocking)()
	d.Book.Meet(d.host, d.called)
	d.Changes = changing.New(world{d}, d.self(), d.offers, d.Book.Dir())
	if err := d.serve(); err != nil {
		return err
	}
	if err := d.openFaces(); err != nil {
		return err
	}
	defer d.Faces.Close()
	return d.work(ctx, socket, ready)
}

// work does what a daemon does, until ctx ends, and then leaves in order.
func (d *daemon) work(ctx context.Context, socket net.Listener, ready func(Ready)) error {
	g, ctx := errgroup.WithContext(ctx)
	left := make(chan struct{}) // closed once the others were told that we go
	g.Go(func() error {
		defer close(left)
		return d.lan.Run(ctx)
	})
	g.Go(func() error { return d.giver.Run(ctx) })
	d.offers.Start()
	g.Go(func() error {
		d.ending.Run(ctx)
		return nil
	})
	saved := make(chan struct{}) // closed once nothing is mounted any more
	g.Go(func() error {
		defer close(saved)
		d.Faces.Run(ctx)
		return nil
	})
	// The socket goes last, since who finds it gone may start the next daemon, which wants our port.
	locked, unlock := context.WithCancel(context.WithoutCancel(ctx))
	defer unlock()
	g.Go(func() error { return server.Serve(locked, socket, d, d.log) })
	g.Go(func() error {
		<-ctx.Done()
		<-left
		<-saved
		d.loop.Close()
		d.lan.Close()
		d.closeHost()
		unlock()
		return nil
	})
	ready(Ready{Name: string(d.cfg.Name), Workgroup: d.cfg.Workgroup, ID: d.host.ID().String(), Shares: len(d.offers.Registry.List())})
	err := g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// closeHost ends all connections in order.
func (d *daemon) closeHost() {
	if err := d.host.Close(); err != nil {
		d.log.Warn("the host did not close in order", "err", err)
	}
}

// openState reads what lies on disk: the key, the shares, the tickets.
func (d *daemon) openState() error {
	var err error
	if d.key, err = identity.Load(filepath.Join(d.cfg.State, "identity")); err != nil {
		return err
	}
	own := []string{d.cfg.State, d.cfg.Paths.Config, filepath.Dir(d.cfg.Socket)}
	secret, err := identity.Secret(d.key, "share list revision")
	if err != nil {
		return err
	}
	reg, err := registry.Open(d.cfg.State, registry.Options{Own: own, Mounts: d.mounts, Secret: secret, Log: d.log})
	if err != nil {
		return err
	}
	d.offers = offer.New(reg, d.log)
	self, err := identity.ID(d.key)
	if err != nil {
		return err
	}
	for _, s := range d.cfg.Shares {
		dir := s.Dir
		if filepath.IsAbs(dir) { // what is not there is told of by the registry
			dir = mounted.Resolve(dir)
		}
		if _, err := d.offers.AddForRun(self, s.Name, dir); err != nil {
			return err
		}
	}
	d.tickets, err = ticket.Open(filepath.Join(d.cfg.State, "saved"), time.Now(), func(err error) {
		if err != nil {
			d.log.Warn("a saved login is left out", "err", err)
		}
	})
	return err
}

// shelfName is what a share is called of which files are given on.
func (d *daemon) shelfName(sh seed.Share) string {
	for _, k := range d.shelf.Shares() {
		if k.Share == sh {
			return k.Name
		}
	}
	return ""
}

// serve answers what other peers ask.
func (d *daemon) serve() error {
	gate, err := shareserve.NewGate(d.key, d.offers, time.Now)
	if err != nil {
		return err
	}
	d.offers.Registry.OnChange(func(_, _ *registry.Share) { gate.Recheck() })
	gate.AuditTo(d.Book.Gate())
	secret, err := identity.Secret(d.key, "dummy shares")
	if err != nil {
		return err
	}
	dummy, err := auth.NewDummy(secret)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(d.cfg.State, "manifests")); err != nil { // of earlier versions, named by what others could choose
		d.log.Warn("what is not used any more can't be removed", "err", err)
	}
	if d.hashes, err = store.OpenManifests(filepath.Join(d.cfg.State, "hashes"), maxManifests); err != nil {
		return err
	}
	locks := shareserve.NewLocks()
	seeds := shareserve.NewSeeds(d.shelf, d.client.Grant, time.Now)
	d.giver = &giving.Giver{Give: d.cfg.Give, Host: d.host, LAN: d.lan, Client: d.client, Shelf: d.shelf, Seeds: seeds, Log: d.log}
	d.table = tracker.New()
	d.ending = ending.New(d.offers.Registry, d.table, d.giver.RightEnded, d.log)
	d.host.OnDisconnect(d.ending.Lost)
	o := transferserve.Options{Auth: shareserve.NewBytes(gate), Manifests: d.hashes, Table: d.table, Log: d.log}
	d.uploads = shareserve.NewUploads(d.host.ID())
	o.Auth = shareserve.Either(o.Auth, d.uploads)
	if d.cfg.Give {
		o.Auth, o.Topics = shareserve.Either(o.Auth, d.Book.Seeds(seeds, d.shelfName)), seeds
	}
	bytes := transferserve.New(o)
	bytes.Pace(d.upload, rate.NewSlots())
	d.porter = shareserve.NewPorter(d.offers, d.self, d.lan.Met)
	handle := func(protocol string, most int, h peer.Handler) {
		d.host.Handle(protocol, most, h)
		d.loop.Handle(protocol, h)
	}
	handle(shareserve.InfoProtocol, infoStreams, d.porter.Handle)
	handle(shareserve.AuthProtocol, authStreams, shareserve.NewDoorman(gate, dummy, &d.throttle).Handle)
	handle(shareserve.MetaProtocol, metaStreams, shareserve.NewLister(gate, locks).Handle)
	handle(transferserve.ManifestProtocol, manifestStreams, bytes.Manifest)
	handle(transferserve.GetProtocol, getStreams, bytes.Get)
	handle(transferserve.SwarmProtocol, swarmStreams, bytes.Swarm)
	handle(shareserve.StateProtocol, stateStreams, d.giver.RightsEnded)
	handle(edit.Protocol, changeStreams, edit.New(edit.Options{
		Gate: gate, Open: d.offers.Edit, Locks: locks, Opener: d.loop, Name: d.called, Admit: d.offers.Admit, Pace: d.pace(0), Log: d.log,
	}).Handle)
	d.host.Handle(doctor.Protocol, doctorStreams, doctor.NewHelper(d.host, time.Now).Handle)
	return nil
}

// openFaces makes the tree of all that the workgroup offers, and what shows it.
func (d *daemon) openFaces() (err error) {
	d.Faces, err = faces.New(d.cfg.State, owners.Config{
		Self: d.self, Offers: d.offers, Host: d.host, LAN: d.lan, Client: d.client, Uploads: d.uploads, Fetch: d.fetch, Log: d.log,
		Enter: func(ctx context.Context, p discovery.Peer, ref control.Ref) (place, error) {
			return d.enter(ctx, p, ref, d.client.Access)
		},
	}, world{d})
	return err
}

// mounts are the folders where this computer shows what others share, and those where it will.
func (d *daemon) mounts() []string {
	dirs := mount.Mounts()
	if d.Faces != nil { // else they are not known yet: what is mounted then is refused in a share
		dirs = append(dirs, d.Faces.Dirs()...)
	}
	return dirs
}

// self is what this peer says of itself.
func (d *daemon) self() peer.Info {
	return peer.Info{
		ID: d.host.ID(), Name: d.cfg.Name, Workgroup: d.cfg.Workgroup, Version: d.cfg.Version, Time: time.Now(), Addrs: d.host.Addrs(),
	}
}

// hasState reports whether the state folder can be written, for the doctor.
func (d *daemon) hasState() error {
	f, err := os.CreateTemp(d.cfg.State, "doctor-")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// Package dht is the workgroup's distributed hash table: go-libp2p-kad-dht over the Host's own connections, under a protocol
// name per workgroup, so that it never meets the public network or another workgroup. It knows who has what: provider
// records under keys of 32 bytes, whose meaning only those know who can derive them. And it finds a peer by its ID where
// nobody else heard of it.
//
// Its routing table is filled with whoever discovery has seen, without a connection to any: a table that nobody asks costs no
// packet. Values are not stored, nothing is refreshed by the clock, and there is no bootstrap server.
package dht

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"iter"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"
	kad "github.com/libp2p/go-libp2p-kad-dht"
	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multihash"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host"
	"github.com/peerd/peerd/peer/host/adapter"
)

// Lifetime is how long a provider record is kept by others. Who still has the thing then says so again before.
const Lifetime = 2 * time.Hour

// The shape of the table. Each record lies at bucketSize peers, so that most of them may go off at once; a lookup asks
// concurrency peers at a time and ends when the resiliency closest have answered.
const (
	bucketSize   = 8
	concurrency  = 3
	resiliency   = 3
	queryTimeout = 5 * time.Second
	maxChecks    = 8 // peers of which is tried at a time whether they answer
)

// DHT is this peer's part of the table. It is safe for concurrent use.
type DHT struct {
	kad   *kad.IpfsDHT
	host  *host.Host
	store *providers
	ready atomic.Bool // kad is set: questions come before
}

// Prefix is the beginning of the protocol's name for a workgroup: /peerd/ and 16 hex digits of the name's SHA-256. It tells
// workgroups apart; it hides none, since names can be guessed.
func Prefix(workgroup string) string {
	sum := sha256.Sum256([]byte(workgroup))
	return "/peerd/" + hex.EncodeToString(sum[:8])
}

// New takes part in the table of a workgroup until Close.
func New(h *host.Host, workgroup string, log *slog.Logger) (*DHT, error) {
	d := &DHT{host: h, store: newProviders(h.ID(), adapter.New(h).Peerstore())}
	var err error
	d.kad, err = kad.New(context.Background(), adapter.New(h),
		kad.Mode(kad.ModeServer),
		kad.ProtocolPrefix(protocol.ID(Prefix(workgroup))),
		kad.BucketSize(bucketSize), kad.Concurrency(concurrency), kad.Resiliency(resiliency),
		kad.LookupCheckConcurrency(maxChecks),
		kad.RoutingTableRefreshQueryTimeout(queryTimeout),
		kad.DisableAutoRefresh(), kad.DisableValues(),
		kad.ProviderStore(d.store),
		kad.OnRequestHook(func(_ context.Context, s network.Stream, _ *pb.Message) { d.asked(s.Conn().RemotePeer()) }),
		kad.AddressFilter(portable))
	if err != nil {
		return nil, &peer.Error{Op: "start DHT", Err: err}
	}
	d.ready.Store(true)
	log.Debug("the DHT runs", "protocol", Prefix(workgroup)+"/kad/1.0.0")
	return d, nil
}

func portable(addrs []ma.Multiaddr) []ma.Multiaddr { return adapter.Portable(addrs) }

// Close leaves the table, without a word: others notice when they ask.
func (d *DHT) Close() error { return d.kad.Close() }

// Add has a peer asked from now on. It is not connected to for that, and dropped when it does not answer.
func (d *DHT) Add(id peer.ID) {
	// A full bucket needs nobody more.
	_, _ = d.kad.RoutingTable().TryAddPeer(id, false, true)
}

// asked takes in who asks: it speaks the protocol.
func (d *DHT) asked(id peer.ID) {
	if d.ready.Load() && d.kad.RoutingTable().Find(id) == "" && len(d.host.Known(id)) > 0 {
		d.Add(id)
	}
}

// Remove has a peer no longer asked.
func (d *DHT) Remove(id peer.ID) { d.kad.RoutingTable().RemovePeer(id) }

// Size is how many peers this one would ask.
func (d *DHT) Size() int { return d.kad.RoutingTable().Size() }

// Provide tells the peers closest to a key that this peer has what it stands for, for [Lifetime]. The key must say nothing
// to those who must not know: whoever keeps the record, or is asked for it, sees key and peer. With nobody to tell the
// record is kept here alone, and it is no error.
func (d *DHT) Provide(ctx context.Context, key [32]byte) error {
	err := d.kad.Provide(ctx, asCID(key), d.Size() > 0)
	if err != nil && !errors.Is(err, context.Canceled) {
		return &peer.Error{Op: "announce a source", Kind: peer.Unreachable, Err: err}
	}
	return err
}

// Providers looks for peers that said they have what a key stands for, and yields each once, without this one, until the
// lookup or ctx ends. They are hints; where they are is known to the Host when they are yielded.
func (d *DHT) Providers(ctx context.Context, key [32]byte) iter.Seq[peer.ID] {
	return func(yield func(peer.ID) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		seen := make(map[peer.ID]bool)
		for info := range d.kad.FindProvidersAsync(ctx, asCID(key), maxPerKey) {
			if info.ID == d.host.ID() || seen[info.ID] {
				continue
			}
			seen[info.ID] = true
			d.host.Hint(info.ID, info.Addrs)
			if !yield(info.ID) {
				return
			}
		}
	}
}

// FindPeer looks for the addresses of a peer whose ID is known. They are hints, and the Host is told of them. It fails with
// [peer.NotFound] when nobody asked knows any.
func (d *DHT) FindPeer(ctx context.Context, id peer.ID) ([]peer.Addr, error) {
	info, err := d.kad.FindPeer(ctx, id)
	if err != nil || len(info.Addrs) == 0 {
		return nil, &peer.Error{Op: "find", Path: id.String(), Kind: peer.NotFound, Err: errors.New("nobody asked knows that peer")}
	}
	d.host.Hint(id, info.Addrs)
	return info.Addrs, nil
}

// asCID dresses a key as what the library wants: a hash, which is all that goes out.
func asCID(key [32]byte) cid.Cid {
	sum, err := multihash.Encode(key[:], multihash.SHA2_256)
	if err != nil {
		return cid.Undef // can't be: the length is right
	}
	return cid.NewCidV1(cid.Raw, sum)
}

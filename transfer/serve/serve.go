// Package serve gives pieces of files to those that an [Authorizer] lets in. It decides nothing itself: the right is
// checked when a grant is shown, before every single answer and within long ones, and a stream whose right ended is reset
// even if nothing moves on it.
package serve

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/manifest"
	"github.com/peerd/peerd/transfer/rate"
	"github.com/peerd/peerd/transfer/tracker"
	"github.com/peerd/peerd/transfer/transferpb"
)

// The protocols that [Service] speaks.
const (
	ManifestProtocol = "/peerd/manifest/1"
	GetProtocol      = "/peerd/get/1"
)

// MaxRequest is the largest request, in bytes: a path of 4 KiB, a grant of 1 KiB, and room.
const MaxRequest = 8 << 10

// Bounds in time.
const (
	idleTimeout  = 60 * time.Second // without a request
	firstTimeout = 10 * time.Second // the same while no right was shown on the stream
	// writeTimeout is for one write of at most sendBuffer bytes: 4 KiB a second is the slowest reader that is borne.
	writeTimeout = 64 * time.Second
)

// Sizes in bytes.
const (
	// sendBuffer is how much is sent in one write: a step and the header before it.
	sendBuffer = manifest.Step + maxHeader
	// pieceBuffer does for a piece of a file of up to 32 MiB. Who fetches in a swarm gives to all others at the same time.
	pieceBuffer = transfer.MinPiece + maxHeader
	maxHeader   = 4 << 10
)

// File is one open file. One with a method Sent(n int64) is told, before it is closed, how many of its bytes went out in answers.
type File interface {
	io.ReaderAt
	io.Closer
	// State tells of the file as it is now. Equal versions before and after a read prove that all bytes read belong together.
	State() (transfer.State, error)
}

// Pass is a right to read one share that was found good once. It may be an [Ender] as well.
type Pass interface {
	// Check says whether it still is.
	Check() error
	// Owner is the owner of the share.
	Owner() peer.ID
	// Open opens a file of the share. Its path is foreign text. Where several versions of it are here, it is the one that is
	// asked for; else the one that there is.
	Open(ctx context.Context, path []string, v transfer.Version) (File, error)
}

// Authorizer turns what a peer shows into a Pass, or refuses with an error of kind [peer.Denied].
type Authorizer interface {
	Enter(grant []byte, holder peer.ID, share transfer.ShareID) (Pass, error)
}

// Options of a [Service].
type Options struct {
	Auth      Authorizer
	Manifests Manifests      // where manifests that were computed are kept
	Table     *tracker.Table // who else has pieces; nil keeps one of the Service's own
	Topics    Topics         // nil knows none
	Log       *slog.Logger
}

// Service answers requests for manifests and pieces.
type Service struct {
	auth    Authorizer
	builder *builder
	table   *tracker.Table
	topics  Topics
	log     *slog.Logger
	bufs    *wire.Buffers // lent to who has something to answer, since many streams are idle
	limiter *rate.Limiter
	slots   *rate.Slots
}

// New makes a Service.
func New(o Options) *Service {
	s := &Service{
		auth:    o.Auth,
		builder: newBuilder(o.Manifests),
		table:   o.Table,
		topics:  o.Topics,
		log:     o.Log,
		bufs:    wire.NewBuffers(pieceBuffer, sendBuffer),
	}
	if s.table == nil {
		s.table = tracker.New()
	}
	if s.topics == nil {
		s.topics = noTopics{}
	}
	return s
}

// Pace lets what is sent pass by a limiter, and pieces by slots; either may be nil. It is called before anything is served.
func (s *Service) Pace(l *rate.Limiter, slots *rate.Slots) { s.limiter, s.slots = l, slots }

// noTopics knows no topic.
type noTopics struct{}

func (noTopics) Grant(context.Context, []byte) ([]byte, error) { return nil, errUnknown() }

// session is one stream of requests, all for one share, by the same pass.
type session struct {
	stream peer.Stream
	in     *wire.Reader
	auth   Authorizer
	guard  *Guard

	share transfer.ShareID
	pass  Pass
}

// session begins one, and gives the context of all that is done in it. Its guard must be closed.
func (s *Service) session(ctx context.Context, st peer.Stream) (*session, context.Context) {
	guard, ctx := NewGuard(ctx, st)
	return &session{stream: st, in: wire.NewReaderSize(st, 16<<10), auth: s.auth, guard: guard}, ctx
}

// next reads a request, or says io.EOF when the other side is done.
func (c *session) next(m interface {
	wireMessage
	GetFile() *transferpb.File
}) error {
	return c.receive(m)
}

// admit checks the right to the file of a request. Its error is an answer to the other side.
func (c *session) admit(f *transferpb.File) error {
	if f == nil || len(f.Share) != len(c.share) {
		return &peer.Error{Op: "read request", Kind: peer.Usage, Err: errors.New("it names no share")}
	}
	share := transfer.ShareID(f.Share)
	if len(f.Grant) > 0 {
		pass, err := c.auth.Enter(f.Grant, c.stream.Peer(), share)
		if err != nil {
			return err
		}
		c.pass, c.share = pass, share
		c.guard.Watch(pass)
		peer.Welcome(c.stream)
	}
	if c.pass == nil || share != c.share {
		return &peer.Error{Op: "read request", Kind: peer.Denied, Err: errors.New("no grant for this share was shown")}
	}
	return c.pass.Check()
}

// errChanged is the answer where a file's bytes no longer belong together.
func errChanged(op string) error {
	return &peer.Error{Op: op, Kind: peer.Conflict, Err: errors.New("the file changed meanwhile"), Hint: "run it again"}
}

func statePB(st transfer.State) *transferpb.State {
	return &transferpb.State{Size: st.Size, ModTime: st.ModTime.UnixNano(), Version: st.Version[:]}
}

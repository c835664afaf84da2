package serve

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"strconv"
	"sync"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/serve"
)

// tokenSize is how many random bytes open an upload.
const tokenSize = 32

// Uploads lets the owners of shares fetch what this peer puts there. Each upload is for one owner, and for as long as the put
// runs. It is safe for concurrent use.
type Uploads struct {
	self peer.ID

	mu   sync.Mutex
	open map[transfer.ShareID]*Upload
}

var _ serve.Authorizer = (*Uploads)(nil)

// NewUploads makes Uploads of the peer self, of which none is open.
func NewUploads(self peer.ID) *Uploads {
	return &Uploads{self: self, open: make(map[transfer.ShareID]*Upload)}
}

// Upload is what one put brings to one owner.
type Upload struct {
	ID    transfer.ShareID
	Token []byte

	uploads *Uploads
	owner   peer.ID

	mu     sync.Mutex
	closed bool
	files  map[uint64]Opener
}

// Opener opens a file that is put.
type Opener func(context.Context) (share.OpenFile, error)

// Begin starts an upload to an owner. One that is begun again under the same name finds what the owner received before.
func (u *Uploads) Begin(owner peer.ID, name string) *Upload {
	up := &Upload{Token: make([]byte, tokenSize), uploads: u, owner: owner, files: make(map[uint64]Opener)}
	rand.Read(up.Token) // never fails (crypto/rand)
	sum := sha256.Sum256([]byte("peerd upload/1\x00" + string(u.self) + "\x00" + string(owner) + "\x00" + name))
	u.mu.Lock()
	defer u.mu.Unlock()
	up.ID = transfer.ShareID(sum[:len(up.ID)])
	for u.open[up.ID] != nil { // the same is being put already
		rand.Read(up.ID[:])
	}
	u.open[up.ID] = up
	return up
}

// Close ends the upload: nothing of it is given any more.
func (up *Upload) Close() {
	up.mu.Lock()
	up.closed, up.files = true, nil
	up.mu.Unlock()
	up.uploads.mu.Lock()
	defer up.uploads.mu.Unlock()
	delete(up.uploads.open, up.ID)
}

// Add offers a file under a number.
func (up *Upload) Add(number uint64, open Opener) {
	up.mu.Lock()
	defer up.mu.Unlock()
	if !up.closed {
		up.files[number] = open
	}
}

// Drop takes a file back that the owner has, or does not want.
func (up *Upload) Drop(number uint64) {
	up.mu.Lock()
	defer up.mu.Unlock()
	delete(up.files, number)
}

// Enter opens an upload to the owner that it is for.
func (u *Uploads) Enter(token []byte, holder peer.ID, id transfer.ShareID) (serve.Pass, error) {
	u.mu.Lock()
	up := u.open[id]
	u.mu.Unlock()
	if up == nil || up.owner != holder || subtle.ConstantTimeCompare(token, up.Token) != 1 {
		return nil, refused()
	}
	return uploadPass{up}, nil
}

type uploadPass struct{ *Upload }

// Check says whether the put still runs.
func (p uploadPass) Check() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return refused()
	}
	return nil
}

// Owner is this peer: what is put is its own.
func (p uploadPass) Owner() peer.ID { return p.uploads.self }

// Open opens a file by its number.
func (p uploadPass) Open(ctx context.Context, components []string, _ transfer.Version) (serve.File, error) {
	p.mu.Lock()
	var open Opener
	if len(components) == 1 {
		if number, err := strconv.ParseUint(components[0], 10, 64); err == nil && strconv.FormatUint(number, 10) == components[0] {
			open = p.files[number]
		}
	}
	p.mu.Unlock()
	if open == nil {
		if err := p.Check(); err != nil { // it ended since that was looked at
			return nil, err
		}
		return nil, &peer.Error{Op: "open", Kind: peer.NotFound, Err: errors.New("it is not put any more")}
	}
	f, err := open(ctx)
	if err != nil {
		return nil, FileError(err)
	}
	if err := settle(ctx, share.Path{}, f); err != nil {
		f.Close()
		return nil, err
	}
	return openFile{f}, nil
}

// Package small asks for small files, each whole in one answer with its hash.
package small

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/fetch/lane"
	"github.com/peerd/peerd/transfer/manifest"
	"github.com/peerd/peerd/transfer/transferpb"
)

const (
	// MaxBad is how often a small file is asked for whose bytes were wrong.
	MaxBad = 3
	// Overhead is about what an answer and its request weigh beside the bytes of a file.
	Overhead = 256
)

// BadAnswer is an answer whose bytes are not what it says.
type BadAnswer struct{ what string }

func (b *BadAnswer) Error() string { return b.what }

// Whole reads and verifies the answer that has all of a small file. The bytes are s's. Where r has no error, an error that
// is no [BadAnswer] ends the stream.
func Whole(src lane.Source, path []string, r *transferpb.GetReply, body io.Reader, s *lane.Scratch) ([]byte, transfer.State, error) {
	var st transfer.State
	if r.Error != nil {
		return nil, st, src.Refusal(r.Error, path)
	}
	if r.Length > transfer.SmallFile || len(r.Root) != transfer.HashSize || r.State == nil {
		return nil, st, &peer.Error{Path: src.Path(path), Kind: peer.Integrity, Err: fmt.Errorf("an answer of %d bytes in place of a small file", r.Length)}
	}
	data := s.Bytes(max(int64(r.Length), 64<<10))[:r.Length] // not grown by every next file
	if _, err := io.ReadFull(body, data); err != nil {
		return nil, st, err
	}
	st = transfer.State{Size: r.State.Size, ModTime: time.Unix(0, r.State.ModTime)}
	copy(st.Version[:], r.State.Version)
	if manifest.Whole(data) != transfer.Hash(r.Root) || st.Size != int64(len(data)) {
		return nil, st, &BadAnswer{"its bytes do not match their hash"}
	}
	return data, st, nil
}

// wholeJob asks for all of a small file.
type wholeJob struct {
	src  lane.Source
	from *lane.Lanes
	path []string
	size int64
	take func(data []byte, st transfer.State, root transfer.Hash) error // what data holds is the lane's
	bad  int
	done chan struct{} // closed once err is set
	once sync.Once
	err  error
}

// Get asks for all of a small file of about so many bytes, until ctx ends. What take is given is the lane's.
func Get(ctx context.Context, src lane.Source, from *lane.Lanes, path []string, size int64, take func(data []byte, st transfer.State, root transfer.Hash) error) error {
	j := &wholeJob{src: src, from: from, path: path, size: size, take: take, done: make(chan struct{})}
	defer j.end(errEnded)
	if err := from.Push(j, true); err != nil {
		return err
	}
	select {
	case <-j.done:
		return j.err
	case <-ctx.Done():
		return ctx.Err()
	case <-from.Context().Done():
		return context.Cause(from.Context())
	}
}

var errEnded = errors.New("the transfer was ended")

// end sets the outcome, once.
func (j *wholeJob) end(err error) {
	j.once.Do(func() {
		j.err = err
		close(j.done)
	})
}

// Over reports whether nobody waits for the file any more.
func (j *wholeJob) Over() bool {
	select {
	case <-j.done:
		return true
	default:
		return false
	}
}

// Request asks for all of the file.
func (j *wholeJob) Request(q *transferpb.GetRequest) {
	q.File.Path = j.path
	q.Whole = true
}

// Cost is about what the answer weighs.
func (j *wholeJob) Cost() int64 { return j.size + Overhead }

// Fail gives the file up.
func (j *wholeJob) Fail(err error) { j.end(err) }

// Receive takes the file and verifies it.
func (j *wholeJob) Receive(m *transferpb.GetReply, body io.Reader, s *lane.Scratch) error {
	data, st, err := Whole(j.src, j.path, m, body, s)
	var bad *BadAnswer
	switch {
	case errors.As(err, &bad):
		if j.bad++; j.bad < MaxBad {
			j.from.Again(j)
			return nil
		}
		err = &peer.Error{Path: j.src.Path(j.path), Kind: peer.Integrity, Err: bad, Hint: "the source sends wrong bytes"}
	case err != nil && m.Error == nil:
		return err
	case err == nil:
		err = j.take(data, st, transfer.Hash(m.Root))
	}
	j.end(err)
	return nil
}

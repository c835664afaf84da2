package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/audit"
)

// pollEvery is how often a reader that follows looks for more.
const pollEvery = 200 * time.Millisecond

// Filter chooses records. Its zero value chooses all that are there.
type Filter struct {
	Share  string    // name, in any case, or ID
	Peer   string    // ID, the beginning or end of one of 8 characters or more, or name in any case
	Since  time.Time // of the record, or of the last event that it stands for
	Kinds  []audit.Kind
	Follow bool // goes on until the context ends, with records as they come
}

// Match reports whether the filter chooses a record.
func (f Filter) Match(r audit.Record) bool {
	if len(f.Kinds) > 0 && !slices.Contains(f.Kinds, r.Kind) {
		return false
	}
	if f.Share != "" && !strings.EqualFold(f.Share, r.Share) && f.Share != r.ShareID {
		return false
	}
	return (!r.Time.Before(f.Since) || !r.Last.Before(f.Since)) && f.matchPeer(r)
}

func (f Filter) matchPeer(r audit.Record) bool {
	if f.Peer == "" || strings.EqualFold(f.Peer, r.Name) {
		return true
	}
	if len(f.Peer) < peer.ShortLen || r.Peer == "" {
		return false
	}
	id := r.Peer.String()
	return strings.HasPrefix(id, f.Peer) || strings.HasSuffix(id, f.Peer)
}

// Read gives the records in a folder that a filter chooses, oldest first. A line that can't be read gives an error of kind
// [peer.Integrity], and reading goes on; any other error ends it. What was changed without spoiling a line is for [Verify] to find.
// Texts in records are others' words: [peer.Quote] them for a terminal.
func Read(ctx context.Context, dir string, f Filter) iter.Seq2[audit.Record, error] {
	return func(yield func(audit.Record, error) bool) {
		d, err := openFolder(dir, false)
		if err != nil {
			yield(audit.Record{}, failed("read audit", dir, err))
			return
		}
		defer d.close()
		r := reader{d: d, filter: f, yield: yield}
		if err := r.read(ctx); err != nil && !errors.Is(err, errStopped) {
			yield(audit.Record{}, failed("read audit", dir, err))
		}
	}
}

// errStopped says that nobody wants more.
var errStopped = errors.New("stopped")

type reader struct {
	d      *folder
	filter Filter
	yield  func(audit.Record, error) bool
	codec  audit.Codec

	file *os.File
	at   uint64 // the number of the first record of file, or of the one that was read last
	from int64  // what of file was read, up to the end of a line
	line int    // the number of lines before that
}

// read reads one file after the other, then what comes.
func (r *reader) read(ctx context.Context) error {
	defer r.close()
	for {
		// In this order: a file is ended before the next one is made, so that it is read to its end once there is a next.
		next, err := r.next()
		if err != nil {
			return err
		}
		if r.file != nil {
			if err := r.more(ctx); err != nil {
				return err
			}
		}
		if next != 0 {
			if err := r.open(next); err != nil {
				return err
			}
			continue
		}
		if !r.filter.Follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pollEvery):
		}
	}
}

// next is the number of the file after the present one, or 0.
func (r *reader) next() (uint64, error) {
	files, err := r.d.files()
	for _, first := range files {
		if first > r.at {
			return first, err
		}
	}
	return 0, err
}

// open goes on with another file. One that is not there any more was the oldest.
func (r *reader) open(first uint64) error {
	r.close()
	f, err := r.d.root.Open(fileName(first))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		r.file = f
	}
	r.at, r.from, r.line = first, 0, 0
	return nil
}

func (r *reader) close() {
	if r.file != nil {
		_ = r.file.Close() // it was only read
	}
	r.file = nil
}

// more gives what the file holds behind what was read. Half a line is left for the next time.
func (r *reader) more(ctx context.Context) error {
	info, err := r.file.Stat()
	if err != nil || info.Size() <= r.from {
		return err
	}
	l := newLines(io.NewSectionReader(r.file, r.from, info.Size()-r.from))
	start := r.from
	for {
		line, whole, err := l.next()
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if !whole {
			return nil
		}
		r.from = start + l.end
		r.line++
		rec, err := r.codec.Decode(line)
		if err != nil {
			err = &peer.Error{Op: "read audit", Path: fmt.Sprintf("%s, line %d", fileName(r.at), r.line), Kind: peer.Integrity, Err: err}
		} else if !r.filter.Match(rec) {
			continue
		}
		if !r.yield(rec, err) {
			return errStopped
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

package journal

import (
	"errors"
	"io/fs"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/peerd/peerd/peer/audit"
)

// maxBatch is how much is encoded before it is written, in bytes.
const maxBatch = 256 << 10

// writer appends records to files, one at a time. What it can't write it keeps, and tries again when it is next asked to: no number
// is given twice, and none is left out. It is not safe for concurrent use.
type writer struct {
	disk  disk
	key   crypto.PrivKey
	boot  string
	now   func() time.Time
	limit int64 // of a file, about, in bytes
	keep  int   // files

	state         // of what is written
	file  logFile // the newest, or nil
	codec audit.Codec

	buf   []byte     // encoded and not written
	first uint64     // the number of its first record
	ahead audit.Mark // the newest record with buf
	since int        // records since the last checkpoint, without those about the log

	signed  audit.Mark // the newest record that the head's file tells of
	hasHead bool       // there is a head
	stale   bool       // it was to be written, and could not be
	owed    bool       // and to be made to last
	cutting bool       // the newest file is to end with buf: its last checkpoint is made
}

func newWriter(d disk, key crypto.PrivKey, s state, hasHead bool, opt Options) *writer {
	return &writer{disk: d, key: key, boot: opt.Boot, now: opt.Now, limit: opt.FileSize, keep: opt.Files,
		state: s, ahead: s.last, hasHead: hasHead, signed: s.last}
}

// add encodes a record, and nothing more.
func (w *writer) add(e audit.Event, at time.Time) {
	w.encode(audit.Record{Event: e, Time: at})
	if e.Kind != audit.KindCheckpoint {
		w.since++
	}
}

func (w *writer) encode(r audit.Record) {
	r.Seq, r.Prev = w.next, w.ahead.Hash
	from := len(w.buf)
	if from == 0 {
		w.first = r.Seq
	}
	w.buf = w.codec.Append(w.buf, r)
	w.ahead = audit.Mark{Seq: r.Seq, Hash: audit.HashOf(w.buf[from:])}
	w.buf = append(w.buf, '\n')
	w.next++
}

// full reports whether it is time to write.
func (w *writer) full() bool { return len(w.buf) >= maxBatch }

// write writes what was added. Afterwards either all of it stands in the file, or nothing does and it is kept.
func (w *writer) write() error {
	if len(w.buf) > 0 {
		if err := w.ready(); err != nil {
			return err
		}
		if _, err := w.file.Write(w.buf); err != nil {
			w.ragged = true
			return err
		}
		w.size += int64(len(w.buf))
		w.last, w.buf = w.ahead, w.buf[:0]
		if cap(w.buf) > 2*maxBatch {
			w.buf = nil
		}
	}
	if w.signed == w.last && !w.stale {
		return nil
	}
	return w.putHead(false)
}

// ready sees to it that there is a file, ending where the last record does.
func (w *writer) ready() error {
	if w.file == nil {
		if len(w.files) == 0 {
			w.files, w.size = append(w.files, w.first), 0
		}
		f, err := w.disk.open(fileName(w.files[len(w.files)-1]))
		if err != nil {
			return err
		}
		w.file = f
	}
	if w.ragged {
		if err := w.file.Truncate(w.size); err != nil {
			return err
		}
		w.ragged = false
	}
	return nil
}

func (w *writer) putHead(sync bool) error {
	b, err := audit.Head{Last: w.last, Synced: w.synced, Floor: w.floor, Boot: w.boot}.Encode(w.key)
	if err != nil {
		return err
	}
	w.stale, w.owed = true, w.owed || sync
	if err := w.disk.putHead(b, w.owed); err != nil {
		return err
	}
	w.hasHead, w.stale, w.owed, w.signed = true, false, false, w.last
	return nil
}

// checkpoint signs what was added since the last one, and makes all of it last.
func (w *writer) checkpoint() error {
	if w.since > 0 {
		if err := w.sign(w.floor); err != nil {
			return err
		}
	}
	return w.sync()
}

// sign adds a checkpoint, which says that there are records from floor on.
func (w *writer) sign(floor uint64) error {
	r := audit.Record{Seq: w.next, Prev: w.ahead.Hash, Time: w.now(), Event: audit.Event{Kind: audit.KindCheckpoint}, Floor: floor}
	r, err := r.Signed(w.key)
	if err != nil {
		return err
	}
	w.encode(r)
	w.since = 0
	return nil
}

// sync makes all that was added last.
func (w *writer) sync() error {
	if err := w.write(); err != nil {
		return err
	}
	if w.synced == w.last && !w.stale && w.hasHead {
		return nil
	}
	if w.file != nil {
		if err := w.file.Sync(); err != nil {
			return err
		}
	}
	w.synced = w.last
	return w.putHead(true)
}

// rotate goes on in a new file if the newest is full: a checkpoint ends that, which says what is kept, the head says so too, and
// only then the oldest are removed.
func (w *writer) rotate() error {
	if w.size < w.limit && !w.cutting {
		return nil
	}
	gone := max(0, len(w.files)+1-w.keep)
	if !w.cutting {
		if gone > 0 {
			w.floor = max(w.floor, w.files[gone])
		}
		if err := w.sign(w.floor); err != nil {
			return err
		}
		w.cutting = true
	}
	if err := w.sync(); err != nil {
		return err
	}
	for ; gone > 0 && len(w.files) > 1; gone-- {
		if err := w.disk.remove(fileName(w.files[0])); err != nil && !errors.Is(err, fs.ErrNotExist) {
			break // somebody holds it open, perhaps; it is tried again with the next file
		}
		w.files = w.files[1:]
	}
	f, err := w.disk.open(fileName(w.next))
	if err != nil {
		return err
	}
	err = w.file.Close()
	w.file, w.size, w.cutting = f, 0, false
	w.files = append(w.files, w.next)
	return err
}

// close ends the files; what was not written is lost.
func (w *writer) close() error {
	var err error
	if w.file != nil {
		err = w.file.Close()
	}
	return errors.Join(err, w.disk.close())
}

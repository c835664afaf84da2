package journal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs/extent"
	"github.com/peerd/peerd/transfer"
)

// Item is a file that waits for its owner.
type Item struct {
	ID      uint64 // of its staging file too
	Peer    string
	Share   string
	ShareID share.ID // the share may be another one under the same name, when its owner is back
	Path    string   // in the share, components between slashes
	Base    transfer.Version
	Size    int64
	ModTime time.Time
	Exec    bool
	Since   time.Time
	// BaseSize is the size of the version Base, of which the bytes below BaseEnd show where nothing was Written.
	BaseSize, BaseEnd int64
	Written           extent.Set
}

// Cut is an item whose staging file lost its end, or of which nothing but that is known.
type Cut struct {
	Item
	File string // with what is left
}

// end is how many bytes its staging file has at least.
func (it Item) end() int64 {
	if len(it.Written) == 0 {
		return 0
	}
	return it.Written[len(it.Written)-1].To
}

// maxRecord bounds a record, in bytes: what is larger is damage.
const maxRecord = 4 << 20

// MaxWritten is how many ranges an item may have.
const MaxWritten = 1 << 16

// A record is its length, a checksum, and as many bytes: a byte that says what it is, an ID, and an item.
const (
	recordSet byte = iota + 1
	recordDone
)

const headLen = 8

var errDamaged = errors.New("a record is damaged")

// sum is the checksum of a record.
func sum(body []byte) uint32 { return crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)) }

// appendRecord adds a record. done says that an item waits no more, and then it has only its ID.
func appendRecord(b []byte, it Item, done bool) []byte {
	start := len(b)
	b = append(b, make([]byte, headLen)...)
	if done {
		b = binary.AppendUvarint(append(b, recordDone), it.ID)
	} else {
		b = appendItem(append(b, recordSet), it)
	}
	body := b[start+headLen:]
	binary.BigEndian.PutUint32(b[start:], uint32(len(body)))
	binary.BigEndian.PutUint32(b[start+4:], sum(body))
	return b
}

func appendItem(b []byte, it Item) []byte {
	b = binary.AppendUvarint(b, it.ID)
	for _, s := range []string{it.Peer, it.Share, string(it.ShareID[:]), it.Path, string(it.Base[:])} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	for _, n := range []int64{it.Size, it.ModTime.UnixNano(), it.Since.UnixNano(), it.BaseSize, it.BaseEnd} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	exec := byte(0)
	if it.Exec {
		exec = 1
	}
	b = binary.AppendUvarint(append(b, exec), uint64(len(it.Written)))
	at := int64(0)
	for _, r := range it.Written {
		b = binary.AppendUvarint(b, uint64(r.From-at))
		b = binary.AppendUvarint(b, uint64(r.To-r.From))
		at = r.To
	}
	return b
}

// parse reads what appendRecord wrote; whatever else it is given is damaged.
func parse(b []byte) (it Item, done bool, rest []byte, err error) {
	if len(b) < headLen {
		return it, false, b, errDamaged
	}
	n := binary.BigEndian.Uint32(b)
	if n > maxRecord || int(n) > len(b)-headLen {
		return it, false, b, errDamaged
	}
	body := b[headLen : headLen+int(n)]
	if sum(body) != binary.BigEndian.Uint32(b[4:]) || len(body) == 0 {
		return it, false, b, errDamaged
	}
	r := &reader{b: body[1:]}
	switch body[0] {
	case recordDone:
		it.ID, done = r.uvarint(), true
	case recordSet:
		it = r.item()
	default:
		r.bad = true
	}
	if r.bad || len(r.b) > 0 {
		return Item{}, false, b, errDamaged
	}
	return it, done, b[headLen+int(n):], nil
}

// torn reports whether what can't be parsed may be the beginning of a record.
func torn(b []byte) bool {
	if len(b) < headLen {
		return true
	}
	n := binary.BigEndian.Uint32(b)
	return n <= maxRecord && int(n) > len(b)-headLen
}

// next is where the next record begins behind one that is damaged, or the end.
func next(b []byte) int {
	for at := 1; at < len(b)-headLen; at++ {
		if _, _, _, err := parse(b[at:]); err == nil {
			return at
		}
	}
	return len(b)
}

// reader reads the fields of a record, and takes note of the first that makes no sense.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) item() (it Item) {
	it.ID = r.uvarint()
	it.Peer, it.Share = r.text(share.MaxComponent), r.text(share.MaxComponent)
	r.fixed(it.ShareID[:])
	it.Path = r.text(share.MaxPath)
	r.fixed(it.Base[:])
	it.Size = r.int64()
	it.ModTime, it.Since = time.Unix(0, r.int64()), time.Unix(0, r.int64())
	it.BaseSize, it.BaseEnd = r.int64(), r.int64()
	exec := r.byte()
	it.Exec = exec == 1
	n := r.uvarint()
	if exec > 1 || n > MaxWritten || it.Size < 0 || it.BaseSize < it.BaseEnd || it.BaseEnd < 0 {
		r.bad = true
	}
	at := int64(0)
	for i := uint64(0); i < n && !r.bad; i++ {
		gap, length := int64(r.uvarint()), int64(r.uvarint())
		from := at + gap
		if gap < 0 || length <= 0 || from < at || from+length < from || i > 0 && gap == 0 {
			r.bad = true
			break
		}
		at = from + length
		it.Written = append(it.Written, extent.Range{From: from, To: at})
	}
	return it
}

func (r *reader) uvarint() uint64 {
	n, l := binary.Uvarint(r.b)
	if l <= 0 || l > 1 && r.b[l-1] == 0 { // not the shortest form
		r.bad = true
		return 0
	}
	r.b = r.b[l:]
	return n
}

func (r *reader) take(n uint64) []byte {
	if r.bad || n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) text(most uint64) string {
	n := r.uvarint()
	if n > most {
		r.bad = true
	}
	return string(r.take(n))
}

func (r *reader) fixed(to []byte) {
	if s := r.text(uint64(len(to))); copy(to, s) < len(to) {
		r.bad = true
	}
}

func (r *reader) int64() int64 {
	if b := r.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

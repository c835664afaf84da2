package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/audit"
)

// state is where a log goes on.
type state struct {
	files  []uint64   // numbers of the files' first records
	last   audit.Mark // the newest record
	size   int64      // of the newest file, up to the end of its last record
	ragged bool       // the newest file may be longer than that
	synced audit.Mark
	floor  uint64
	next   uint64 // the number of the next record
}

// recovery finds where a log ends, after whatever ended the run before.
type recovery struct {
	d     *folder
	pub   crypto.PubKey
	boot  string
	codec audit.Codec

	head      audit.Head
	headErr   error
	state     state
	end       int  // how many files have records that are kept
	met       bool // the record that was safe on the disk was met: from there on the chain must hold
	broken    bool // what was safe on the disk is not there as it was
	headFound bool
	torn      int64 // bytes behind the last record
}

// recovered reads a folder, cuts off what is no record at the end of it, and gives where the log goes on, and what is to be told of
// it: nothing if the run before ended in order.
func recovered(d *folder, pub crypto.PubKey, boot string) (state, *audit.Event, error) {
	r := recovery{d: d, pub: pub, boot: boot}
	files, err := d.files()
	if err != nil {
		return state{}, nil, err
	}
	r.head, r.headErr = d.readHead(pub)
	if errors.Is(r.headErr, fs.ErrNotExist) && len(files) == 0 {
		return state{next: 1, floor: 1}, nil, nil
	}
	if r.headErr == nil {
		// A head that can't be opened to write, for now, is made anew once it can.
		_ = d.keepHead()
	}
	if err := r.scan(files); err != nil {
		return state{}, nil, err
	}
	event := r.verdict()
	r.state.next = max(r.head.Last.Seq, r.state.last.Seq) + 1
	if err := r.cut(files); err != nil && event != nil {
		event.Why += fmt.Sprintf("; what was cut off was not kept: %v", err)
	}
	r.state.files = files[:r.end]
	r.state.floor = max(1, r.head.Floor) // not higher, or files that were removed would not be missed
	if !r.broken {
		r.state.synced = r.head.Synced
	}
	return r.state, event, nil
}

// scan reads from the newest file that begins before what is safe on the disk, and from an earlier one if there are no records
// in these: whether the files before are untouched is for [Verify] to say.
func (r *recovery) scan(files []uint64) error {
	from := max(0, len(files)-1)
	for from > 0 && files[from] > r.head.Synced.Seq && r.headErr == nil {
		from--
	}
	for ; ; from-- {
		r.state, r.torn, r.broken, r.end = state{}, 0, false, from
		r.met = r.headErr == nil && r.head.Synced.Seq == 0
		r.headFound = r.met && r.head.Last.Seq == 0
		for i := from; i < len(files); i++ {
			going, err := r.scanFile(files[i], i)
			if err != nil {
				return err
			}
			if !going {
				break
			}
		}
		if r.end > from || from == 0 {
			return nil
		}
	}
}

// scanFile reads one file. It says whether to go on to the next.
func (r *recovery) scanFile(first uint64, i int) (bool, error) {
	f, err := r.d.root.Open(fileName(first))
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	good := int64(0)
	going := true
	for l := newLines(f); going; {
		line, whole, err := l.next()
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		if !whole {
			break
		}
		take, stop := r.judge(line)
		if take {
			good = l.end
			r.end, r.state.size = i+1, good
		}
		going = !stop
	}
	r.torn += info.Size() - good
	return going, nil
}

// judge says whether a line is one to go on behind, and whether what comes after it is not to be looked at.
func (r *recovery) judge(line []byte) (take, stop bool) {
	seq, ok := audit.SeqOf(line)
	here := audit.Mark{Seq: seq, Hash: audit.HashOf(line)}
	switch {
	case r.met:
		rec, err := r.codec.Decode(line)
		if err != nil || !rec.Follows(r.state.last) || rec.Kind == audit.KindRecovered && rec.Count > 0 && seq > r.head.Last.Seq+1 {
			return false, true
		}
	case ok && seq < r.head.Synced.Seq:
		// These are for Verify.
	case ok && here == r.head.Synced:
		r.met = true
	default:
		r.broken = true
		if _, err := r.codec.Decode(line); err != nil || seq > audit.MaxSeq/2 {
			return false, false
		}
	}
	if here == r.head.Last {
		r.headFound = true
	}
	r.state.last = here
	return ok, false
}

// verdict tells what the log lacks, or nothing.
func (r *recovery) verdict() *audit.Event {
	e := audit.Event{Kind: audit.KindRecovered, Result: peer.Integrity.String(), Bytes: r.torn}
	last, head := r.state.last.Seq, r.head.Last.Seq
	if last < head {
		e.Count = head - last
	}
	switch {
	case errors.Is(r.headErr, fs.ErrNotExist):
		e.Why = "the head was removed"
	case r.headErr != nil:
		e.Why = fmt.Sprintf("the head was changed: %v", r.headErr)
	case r.broken || !r.met:
		e.Why = "records that were safe on the disk were changed or removed"
	case r.headFound && last == head && r.torn == 0:
		return nil
	case r.headFound:
		e.Result, e.Why = audit.OK, fmt.Sprintf("the run before was cut short; %d records are behind the head", last-head)
	case last >= head:
		e.Why = "the newest records were changed"
	case r.boot != "" && r.boot == r.head.Boot:
		e.Why = "the newest records were removed; the computer was not restarted since they were written"
	default:
		e.Result, e.Why = audit.OK, "the computer lost records that were not safe on the disk yet"
	}
	return &e
}

// cut sets aside what lies behind the last record that is kept. The newest file that is kept is cut when it is next written to.
func (r *recovery) cut(files []uint64) error {
	var errs []error
	for i := max(0, r.end-1); i < len(files); i++ {
		name, from := fileName(files[i]), int64(0)
		if i < r.end {
			from = r.state.size
		}
		info, err := r.d.root.Stat(name)
		if err != nil {
			return err
		}
		if info.Size() > from {
			errs = append(errs, r.d.setAside(name, from, r.state.next))
			r.state.ragged = r.state.ragged || i < r.end
		}
		if i >= r.end {
			errs = append(errs, r.d.remove(name))
		}
	}
	return errors.Join(errs...)
}

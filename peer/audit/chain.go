package audit

import (
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
)

// How is what was done to a log.
type How string

// The ways. Where records are missing at the end of the log or of a file's text it was cut off, else records were removed.
const (
	Changed   How = "changed"
	Removed   How = "removed"
	Reordered How = "reordered"
	Truncated How = "truncated"
)

// Break is the first place where a log is not what the peer has written. It comes as the cause of a [peer.Error] of kind
// Integrity.
type Break struct {
	File string // its name in the folder
	Line int    // 1 is the first; 0 for the whole file
	Seq  uint64 // of the record that was changed or is not where it belongs
	How  How
	Why  string
}

func (b *Break) Error() string {
	where := b.File
	if b.Line > 0 {
		where = fmt.Sprintf("%s, line %d", b.File, b.Line)
	}
	return fmt.Sprintf("%s: record %d was %s: %s", where, b.Seq, b.How, b.Why)
}

// Report is what a log holds.
type Report struct {
	Records    uint64
	Files      int
	First      uint64 // the number of the first record that is kept
	Last       uint64 // the number of the last
	Hash       Hash   // of the last: note Last and Hash elsewhere to find out later that nothing was put back to before
	From, To   time.Time
	Checkpoint Record // the last; zero if there is none
	Unsigned   uint64 // records behind the head, which a crash or somebody else left; or the peer is writing just now
	Lost       uint64 // records that a loss of power took
	Dropped    uint64 // events that were not recorded
	Torn       int64  // bytes of half a record at the end
}

// Checker goes through a log from its first record to its last. It takes lines and gives what is wrong with them.
type Checker struct {
	pub    crypto.PubKey
	head   Head
	codec  Codec
	known  []Mark // places that the log has
	last   Mark
	report Report
}

// NewChecker makes one for the log of the peer with this key, that ends as its head says, or later, and is known from elsewhere to have
// had a record; the zero mark is none.
func NewChecker(pub crypto.PubKey, h Head, known Mark) *Checker {
	return &Checker{pub: pub, head: h, known: []Mark{h.Last, known}}
}

// Report is what was found up to now.
func (c *Checker) Report() Report { return c.report }

// Line takes the next one, without its end. The break that it gives lacks the place.
func (c *Checker) Line(line []byte) *Break {
	r, err := c.codec.Decode(line)
	if err != nil {
		return &Break{Seq: c.last.Seq + 1, How: Changed, Why: fmt.Sprintf("it can't be read: %v", err)}
	}
	first := c.report.Records == 0
	if b := c.place(r, first); b != nil {
		return b
	}
	before := c.last.Seq
	if first {
		before = r.Seq - 1
	}
	c.last = Mark{r.Seq, HashOf(line)}
	for _, m := range c.known {
		switch {
		case m.Seq == r.Seq && m.Hash != c.last.Hash:
			return &Break{Seq: r.Seq, How: Changed, Why: "it is known to have had another hash"}
		case m.Seq > before && m.Seq < r.Seq:
			return &Break{Seq: before + 1, How: Truncated, Why: fmt.Sprintf("the log is known to have had record %d", m.Seq)}
		}
	}
	if b := c.meaning(r); b != nil {
		return b
	}
	if first {
		c.report.First, c.report.From = r.Seq, r.Time
	}
	c.report.Records++
	c.report.Last, c.report.Hash, c.report.To = r.Seq, c.last.Hash, r.Time
	return nil
}

// Follows reports whether the record is the next one behind a place in the log.
func (r Record) Follows(m Mark) bool {
	next := m.Seq + 1
	if r.Kind == KindRecovered && r.Count < r.Seq {
		next += r.Count
	}
	return r.Prev == m.Hash && r.Seq == next
}

// place compares what the record says of the one before with that.
func (c *Checker) place(r Record, first bool) *Break {
	if first {
		switch {
		case r.Seq > max(1, c.head.Floor):
			return &Break{Seq: max(1, c.head.Floor), How: Removed, Why: fmt.Sprintf("the first that is there is %d", r.Seq)}
		case r.Seq == 1 && r.Prev != Hash{}:
			return &Break{Seq: 1, How: Changed, Why: "it is the first and names one before"}
		}
		return nil
	}
	want := c.last.Seq + 1
	switch {
	case r.Follows(c.last):
		return nil
	case r.Prev == c.last.Hash:
		return &Break{Seq: want, How: Changed, Why: fmt.Sprintf("it has the number %d", r.Seq)}
	case r.Seq > want:
		return &Break{Seq: c.last.Seq + 1, How: Removed, Why: fmt.Sprintf("after %d comes %d", c.last.Seq, r.Seq)}
	case r.Seq < want:
		return &Break{Seq: r.Seq, How: Reordered, Why: fmt.Sprintf("it stands behind %d", c.last.Seq)}
	}
	return &Break{Seq: c.last.Seq, How: Changed, Why: "the one behind it holds another hash"}
}

// meaning judges records that are about the log.
func (c *Checker) meaning(r Record) *Break {
	switch r.Kind {
	case KindCheckpoint:
		if !r.signedBy(c.pub) {
			return &Break{Seq: r.Seq, How: Changed, Why: "its signature is not this peer's"}
		}
		c.report.Checkpoint = r
	case KindRecovered:
		c.report.Lost += r.Count
		if r.Result != OK {
			how := Changed
			if r.Count > 0 {
				how = Truncated
			}
			return &Break{Seq: c.last.Seq - r.Count, How: how, Why: "found when the peer started: " + r.Why}
		}
	case KindDropped:
		c.report.Dropped += r.Count
	}
	return nil
}

// Finish is asked after the last line.
func (c *Checker) Finish() *Break {
	for _, m := range c.known {
		if c.last.Seq < m.Seq {
			return &Break{Seq: c.last.Seq + 1, How: Truncated, Why: fmt.Sprintf("the log is known to have had record %d", m.Seq)}
		}
	}
	c.report.Unsigned = c.last.Seq - c.head.Last.Seq
	return nil
}

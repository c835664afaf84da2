package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/libp2p/go-libp2p/core/crypto"
	core "github.com/libp2p/go-libp2p/core/peer"

	"github.com/peerd/peerd/peer"
)

// Limits of the texts in a record, in bytes.
const (
	maxWord = 128
	maxText = 1 << 10
	maxPath = 4096 + 256 // a path and its slashes
)

// MaxLine is more than the longest record has, in bytes: 6 for each byte of its texts.
const MaxLine = 1 << 17

// MaxSeq is the highest number that a record may have: the highest that every program reads from JSON as it is.
const MaxSeq = 1<<53 - 1

// What is signed starts with what it is for, so that a checkpoint can't be passed off as a head.
const (
	checkpointDomain = "peerd-audit-checkpoint/1\n"
	headDomain       = "peerd-audit-head/1\n"
)

var errForm = errors.New("it is not as a record is written")

// Clean bounds the texts of an event and makes all of it such that it can be written and read again.
func (e Event) Clean() Event {
	e.Kind = Kind(cut(string(e.Kind), maxWord))
	for _, s := range []*string{&e.ShareID, &e.Right, &e.Serial, &e.Before, &e.After, &e.Result} {
		*s = cut(*s, maxWord)
	}
	for _, s := range []*string{&e.Addr, &e.Name, &e.Share, &e.Why} {
		*s = cut(*s, maxText)
	}
	e.Path, e.To = cut(e.Path, maxPath), cut(e.To, maxPath)
	return e
}

// cut makes UTF-8 of at most limit bytes, without keeping the rest in memory.
func cut(s string, limit int) string {
	if len(s) <= limit && utf8.ValidString(s) {
		return s
	}
	long := len(s) > limit
	if long {
		s = strings.Clone(s[:limit])
	}
	if !utf8.ValidString(s) {
		s = peer.Quote(s)
	}
	if !long && len(s) <= limit {
		return s
	}
	const mark = "…"
	end := min(len(s), limit-len(mark))
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + mark
}

// wholeTime is the time in UTC, or none if RFC 3339 has no form for it.
func wholeTime(t time.Time) time.Time {
	if t.IsZero() || t.Year() < 0 || t.Year() > 9999 {
		return time.Time{}
	}
	return t.UTC().Round(0)
}

// Codec writes and reads records. It remembers IDs and their text forms, which take longer to make than all else.
type Codec struct {
	texts map[peer.ID]string
	ids   map[string]peer.ID
}

// text is the ID's, or "" if no ID could be read from it.
func (c *Codec) text(id peer.ID) string {
	s, ok := c.texts[id]
	if !ok {
		s = id.String()
		if back, err := core.Decode(s); err != nil || back != id {
			s = ""
		}
		c.texts = remember(c.texts, id, s)
	}
	return s
}

func (c *Codec) id(text string) (peer.ID, error) {
	if text == "" {
		return "", nil
	}
	id, ok := c.ids[text]
	if !ok {
		var err error
		if id, err = core.Decode(text); err != nil {
			return "", err
		}
		c.ids = remember(c.ids, text, id)
	}
	return id, nil
}

// remember puts something into a map that stays small.
func remember[K, V ~string](m map[K]V, k K, v V) map[K]V {
	if m == nil || len(m) >= 256 {
		m = map[K]V{}
	}
	m[k] = v
	return m
}

// Append appends the record's line without its end. The event must be as [Event.Clean] gives it.
func (c *Codec) Append(b []byte, r Record) []byte {
	b = append(b, `{"seq":`...)
	b = strconv.AppendUint(b, r.Seq, 10)
	b = append(b, `,"time":"`...)
	b = wholeTime(r.Time).AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","prev":"`...)
	b = hex.AppendEncode(b, r.Prev[:])
	b = append(b, `","kind":`...)
	b = appendText(b, string(r.Kind))
	if r.Peer != "" {
		b = appendField(b, "peer", c.text(r.Peer))
	}
	b = appendField(b, "addr", r.Addr)
	b = appendField(b, "name", r.Name)
	b = appendField(b, "share", r.Share)
	b = appendField(b, "share_id", r.ShareID)
	b = appendField(b, "path", r.Path)
	b = appendField(b, "to", r.To)
	b = appendField(b, "right", r.Right)
	b = appendNumber(b, "epoch", r.Epoch)
	b = appendField(b, "serial", r.Serial)
	if r.Bytes != 0 {
		b = strconv.AppendInt(append(b, `,"bytes":`...), r.Bytes, 10)
	}
	b = appendField(b, "before", r.Before)
	b = appendField(b, "after", r.After)
	b = appendField(b, "result", r.Result)
	b = appendField(b, "why", r.Why)
	b = appendNumber(b, "count", r.Count)
	b = appendTime(b, "first", r.First)
	b = appendTime(b, "last", r.Last)
	b = appendNumber(b, "floor", r.Floor)
	if len(r.Sig) > 0 {
		b = base64.StdEncoding.AppendEncode(append(b, `,"sig":"`...), r.Sig)
		b = append(b, '"')
	}
	return append(b, '}')
}

func appendField(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return appendText(appendName(b, name), value)
}

func appendNumber(b []byte, name string, n uint64) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendUint(appendName(b, name), n, 10)
}

func appendTime(b []byte, name string, t time.Time) []byte {
	if t = wholeTime(t); t.IsZero() {
		return b
	}
	b = append(appendName(b, name), '"')
	return append(t.AppendFormat(b, time.RFC3339Nano), '"')
}

func appendName(b []byte, name string) []byte {
	b = append(b, ',', '"')
	return append(append(b, name...), '"', ':')
}

// appendText appends a JSON string that is printable ASCII: nothing in it ends a line or moves a terminal's cursor.
func appendText(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	escape := func(b []byte, u rune) []byte {
		return append(b, '\\', 'u', digits[u>>12&15], digits[u>>8&15], digits[u>>4&15], digits[u&15])
	}
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r >= ' ' && r < 0x7f:
			b = append(b, byte(r))
		case r < 0x10000:
			b = escape(b, r)
		default:
			r -= 0x10000
			b = escape(escape(b, 0xd800+r>>10), 0xdc00+r&0x3ff)
		}
	}
	return append(b, '"')
}

// MarshalJSON gives the line that the record has in its file, so that hashes can be checked by others.
func (r Record) MarshalJSON() ([]byte, error) {
	r.Event = r.Event.Clean()
	return new(Codec).Append(nil, r), nil
}

// UnmarshalJSON reads what MarshalJSON gives, and nothing else: neither unknown fields nor other spacing or order.
func (r *Record) UnmarshalJSON(line []byte) error {
	got, err := new(Codec).Decode(line)
	if err == nil {
		*r = got
	}
	return err
}

// Decode reads a line without its end. What it accepts Append gives back to the byte.
func (c *Codec) Decode(line []byte) (Record, error) {
	type plain Record // without UnmarshalJSON
	var in struct {
		plain
		Peer string `json:"peer"` // before the field of the same name further in
	}
	if err := json.Unmarshal(line, &in); err != nil {
		return Record{}, err
	}
	r := Record(in.plain)
	var err error
	if r.Peer, err = c.id(in.Peer); err != nil {
		return Record{}, err
	}
	if r.Seq == 0 || r.Seq > MaxSeq || r.Kind == "" || !bytes.Equal(c.Append(nil, r), line) {
		return Record{}, errForm
	}
	return r, nil
}

// SeqOf reads a line's number alone, which is enough to find a record, and no proof that it is one.
func SeqOf(line []byte) (uint64, bool) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"seq":`))
	digits, _, found := bytes.Cut(rest, []byte(","))
	if !ok || !found || len(digits) > 20 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(digits), 10, 64)
	return n, err == nil && n > 0
}

// HashOf is what the record behind this line holds of it; the line is without its end.
func HashOf(line []byte) Hash { return sha256.Sum256(line) }

// Signed is a checkpoint with its signature, over all of it that is not the signature.
func (r Record) Signed(key crypto.PrivKey) (Record, error) {
	r.Sig = nil
	sig, err := key.Sign(new(Codec).Append([]byte(checkpointDomain), r))
	r.Sig = sig
	return r, err
}

func (r Record) signedBy(pub crypto.PubKey) bool {
	sig := r.Sig
	r.Sig = nil
	ok, err := pub.Verify(new(Codec).Append([]byte(checkpointDomain), r), sig)
	return ok && err == nil
}

// Mark is a place in the log.
type Mark struct {
	Seq  uint64
	Hash Hash
}

// Head says where the log ends, and how much of it is safe.
type Head struct {
	Last, Synced Mark   // the newest record; the newest that outlives a loss of power
	Floor        uint64 // there must be records from this one on
	Boot         string // at most MaxBoot bytes of ASCII; the run of the operating system that it was written in, "" if not known
}

// HeadSize is the length of a head's file in bytes. A disk writes so much as a whole or not at all.
const HeadSize = 512

// MaxBoot is the length of [Head].Boot, in bytes.
const MaxBoot = 64

// headDoc is the form of the head's file: this, signed and filled up with spaces.
type headDoc struct {
	Seq        uint64 `json:"seq"`
	Hash       Hash   `json:"hash"`
	Synced     uint64 `json:"synced"`
	SyncedHash Hash   `json:"synced_hash"`
	Floor      uint64 `json:"floor"`
	Boot       string `json:"boot,omitempty"`
	Sig        []byte `json:"sig,omitempty"`
}

func (d headDoc) signed() ([]byte, error) {
	d.Sig = nil
	b, err := json.Marshal(d)
	return append([]byte(headDomain), b...), err
}

// Encode gives the head's file, signed with the peer's key: [HeadSize] bytes.
func (h Head) Encode(key crypto.PrivKey) ([]byte, error) {
	d := headDoc{h.Last.Seq, h.Last.Hash, h.Synced.Seq, h.Synced.Hash, h.Floor, h.Boot, nil}
	msg, err := d.signed()
	if err != nil {
		return nil, err
	}
	if d.Sig, err = key.Sign(msg); err != nil {
		return nil, err
	}
	b, err := json.Marshal(d)
	if err != nil || len(b) >= HeadSize {
		return nil, errors.Join(err, fmt.Errorf("a head of %d bytes", len(b)))
	}
	b = append(b, bytes.Repeat([]byte(" "), HeadSize-1-len(b))...)
	return append(b, '\n'), nil
}

// DecodeHead reads a head that the key has signed.
func DecodeHead(b []byte, pub crypto.PubKey) (Head, error) {
	var d headDoc
	if err := json.Unmarshal(b, &d); err != nil {
		return Head{}, err
	}
	msg, err := d.signed()
	if err != nil {
		return Head{}, err
	}
	if ok, err := pub.Verify(msg, d.Sig); !ok || err != nil {
		return Head{}, errors.New("its signature is not this peer's")
	}
	return Head{Mark{d.Seq, d.Hash}, Mark{d.Synced, d.SyncedHash}, d.Floor, d.Boot}, nil
}

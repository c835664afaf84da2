package audit

import (
	"math"
	"strings"
	"testing"
	"time"
)

// chained are records as lines of a chain from a place on. What a record says of itself stays.
func chained(t *testing.T, from Mark, records ...Record) (lines [][]byte, end Mark) {
	t.Helper()
	end = from
	for _, r := range records {
		if r.Seq == 0 {
			r.Seq = end.Seq + 1
		}
		if r.Prev == (Hash{}) {
			r.Prev = end.Hash
		}
		r.Time = time.Unix(1_800_000_000, 0)
		if r.Kind == KindCheckpoint && r.Sig == nil {
			var err error
			r, err = r.Signed(keyOf(t, 1))
			must(t, err)
		}
		line := new(Codec).Append(nil, r)
		lines, end = append(lines, line), Mark{r.Seq, HashOf(line)}
	}
	return lines, end
}

// TestChecker has what a log in files can't have by damage alone: records that somebody made up, behind the head.
func TestChecker(t *testing.T) {
	plain := Record{Event: Event{Kind: KindRead}}
	point := Record{Event: Event{Kind: KindCheckpoint}, Floor: 1}
	forged := point
	forged.Sig = []byte(strings.Repeat("x", 64))
	lost := func(count uint64, result string) Record {
		return Record{Event: Event{Kind: KindRecovered, Count: count, Result: result}}
	}
	at := func(seq uint64, r Record) Record { r.Seq = seq; return r }
	tests := []struct {
		name   string
		behind []Record // behind five records and a checkpoint, which the head is of
		known  uint64   // the number of a record that is known to have been there
		how    How      // or "" if it passes
		seq    uint64
	}{
		{"nothing", nil, 0, "", 0},
		{"one more", []Record{plain}, 0, "", 0},
		{"a checkpoint", []Record{plain, point}, 0, "", 0},
		{"a checkpoint of somebody else's", []Record{plain, forged}, 0, Changed, 8},
		{"lost records", []Record{at(9, lost(2, OK))}, 0, "", 0},
		{"lost records that are known", []Record{at(9, lost(2, OK))}, 7, Truncated, 7},
		{"the wrong count of them", []Record{at(9, lost(1, OK))}, 0, Changed, 7},
		{"a gap without a word", []Record{at(9, plain)}, 0, Changed, 7},
		{"a finding at a start", []Record{lost(0, "integrity failure")}, 0, Changed, 7},
		{"one that cut off records", []Record{at(9, lost(2, "integrity failure"))}, 0, Truncated, 7},
		{"a count that wraps around", []Record{at(4, lost(math.MaxUint64-2, OK))}, 0, Changed, 7},
		{"a record of another chain", []Record{{Prev: Hash{1}, Event: plain.Event}}, 0, Changed, 6},
		{"an earlier one again", []Record{{Seq: 3, Prev: Hash{1}, Event: plain.Event}}, 0, Reordered, 3},
		{"a later one", []Record{{Seq: 9, Prev: Hash{1}, Event: plain.Event}}, 0, Removed, 7},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lines, end := chained(t, Mark{}, plain, plain, plain, plain, plain, point)
			more, _ := chained(t, end, tt.behind...)
			c := NewChecker(keyOf(t, 1).GetPublic(), Head{Last: end, Synced: end, Floor: 1}, Mark{Seq: tt.known})
			var b *Break
			for _, line := range append(lines, more...) {
				if b == nil {
					b = c.Line(line)
				}
			}
			if b == nil {
				b = c.Finish()
			}
			switch rep := c.Report(); {
			case tt.how != "":
				if b == nil || b.How != tt.how || b.Seq != tt.seq {
					t.Errorf("found is %v, want record %d %s", b, tt.seq, tt.how)
				}
			case b != nil:
				t.Errorf("found is %v", b)
			case rep.Records != uint64(6+len(more)) || rep.Unsigned != rep.Last-6:
				t.Errorf("the report is %+v", rep)
			}
		})
	}
}

// TestFirstRecord is about a log's beginning.
func TestFirstRecord(t *testing.T) {
	plain := Record{Event: Event{Kind: KindRead}}
	for _, tt := range []struct {
		from  Mark
		floor uint64
		good  bool
	}{
		{Mark{}, 1, true},
		{Mark{Hash: Hash{1}}, 1, false}, // the first names one before
		{Mark{Seq: 4, Hash: Hash{1}}, 1, false},
		{Mark{Seq: 4, Hash: Hash{1}}, 5, true},
		{Mark{Seq: 4, Hash: Hash{1}}, 7, true}, // an older file was not removed yet
	} {
		lines, end := chained(t, tt.from, plain)
		c := NewChecker(keyOf(t, 1).GetPublic(), Head{Last: end, Floor: tt.floor}, Mark{})
		if b := c.Line(lines[0]); (b == nil) != tt.good {
			t.Errorf("%+v: found is %v", tt, b)
		}
	}
}

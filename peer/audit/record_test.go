package audit

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	core "github.com/libp2p/go-libp2p/core/peer"

	"github.com/peerd/peerd/peer"
)

// keyOf is a key made of one byte.
func keyOf(t testing.TB, seed byte) crypto.PrivKey {
	t.Helper()
	key, err := crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)))
	must(t, err)
	return key
}

func idOf(t testing.TB, seed byte) peer.ID {
	t.Helper()
	id, err := core.IDFromPrivateKey(keyOf(t, seed))
	must(t, err)
	return id
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestForm pins the form of a record and of a head, which older logs have.
func TestForm(t *testing.T) {
	at := time.Date(2026, 11, 25, 20, 43, 56, 789_000_000, time.UTC)
	r := Record{Seq: 7, Time: at.In(time.FixedZone("", 3600)), Prev: HashOf([]byte("x")), Event: Event{
		Kind: KindWrite, Peer: idOf(t, 2), Addr: "/ip4/10.0.0.2/tcp/7", Name: "bert", Share: "docs", ShareID: "00ff", Path: "a/ü",
		To: "b", Right: "full", Epoch: 5, Serial: "01", Bytes: 9, Before: "v1", After: "v2", Result: OK, Why: "so", Count: 2, First: at, Last: at,
	}}
	const want = `{"seq":7,"time":"2026-11-25T20:43:56.789Z","prev":"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",` +
		`"kind":"write","peer":"12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq","addr":"/ip4/10.0.0.2/tcp/7","name":"bert",` +
		`"share":"docs","share_id":"00ff","path":"a/\u00fc","to":"b","right":"full","epoch":5,"serial":"01","bytes":9,"before":"v1",` +
		`"after":"v2","result":"ok","why":"so","count":2,"first":"2026-11-25T20:43:56.789Z","last":"2026-11-25T20:43:56.789Z"}`
	line, err := json.Marshal(r)
	must(t, err)
	if string(line) != want {
		t.Errorf("a record is\n%s, want\n%s", line, want)
	}
	var back Record
	must(t, json.Unmarshal(line, &back))
	r.Time = at
	if !reflect.DeepEqual(back, r) {
		t.Errorf("it came back as %+v", back)
	}
	for _, other := range []string{
		" " + want, want + " ", want + want, strings.Replace(want, `{"seq":7,`, `{"seq":8,"seq":7,`, 1), strings.Replace(want, `"seq"`, `"Seq"`, 1),
		strings.Replace(want, `,"bytes":9`, `,"bytes":9,"more":1`, 1), strings.Replace(want, `,"epoch":5`, "", 1)[:50],
		strings.Replace(want, `\u00fc`, `\u00FC`, 1), strings.Replace(want, `\u00fc`, "ü", 1), strings.Replace(want, `"seq":7`, `"seq":0`, 1),
		strings.Replace(want, `"seq":7`, `"seq":9007199254740992`, 1), strings.Replace(want, "56.789Z", "56.7890Z", 1),
	} {
		if _, err := new(Codec).Decode([]byte(other)); err == nil {
			t.Errorf("%s is taken for a record", other)
		}
	}
	h := Head{Last: Mark{MaxSeq, Hash{1}}, Synced: Mark{MaxSeq, Hash{2}}, Floor: MaxSeq, Boot: strings.Repeat("b", 64)}
	b, err := h.Encode(keyOf(t, 1))
	must(t, err)
	if len(b) != HeadSize || b[HeadSize-1] != '\n' {
		t.Errorf("a head has %d bytes", len(b))
	}
	if got, err := DecodeHead(b, keyOf(t, 1).GetPublic()); err != nil || got != h {
		t.Errorf("the head came back as %+v, %v", got, err)
	}
	if _, err := DecodeHead(b, keyOf(t, 2).GetPublic()); err == nil {
		t.Error("a head is taken for another peer's")
	}
}

func TestKinds(t *testing.T) {
	seen := map[Kind]bool{}
	for _, k := range Kinds() {
		if seen[k] || k == "" || len(k) > maxWord {
			t.Errorf("%q is no kind, or twice one", k)
		}
		seen[k] = true
	}
	if ResultOf(nil) != OK || ResultOf(&peer.Error{Kind: peer.Denied}) != peer.Denied.String() {
		t.Error("results are not the words for errors")
	}
}

// FuzzDecode looks for a line that is read as a record and not written so.
func FuzzDecode(f *testing.F) {
	for i := range 3 {
		line, _ := json.Marshal(Record{Seq: uint64(i + 1), Time: time.Unix(int64(i), 5), Event: Event{Kind: KindRead, Peer: idOf(f, 2), Path: "a", Result: OK}})
		f.Add(line)
	}
	f.Add([]byte(`{"seq":1,"time":"2026-01-01T00:00:00Z","prev":"` + Hash{}.String() + `","kind":"x","sig":"AA=="}`))
	f.Add([]byte(`{"seq":1,"SEQ":2}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := new(Codec).Decode(line)
		if err != nil {
			return
		}
		if seq, ok := SeqOf(line); !ok || seq != r.Seq {
			t.Errorf("%q has the number %d, or %d", line, r.Seq, seq)
		}
		if again := new(Codec).Append(nil, r); !bytes.Equal(again, line) {
			t.Errorf("%q is written as %q", line, again)
		}
		for _, c := range line {
			if c < ' ' || c > '~' {
				t.Errorf("%q holds %#x", line, c)
			}
		}
	})
}

// FuzzEvent looks for an event that can't be recorded, or not be read again.
func FuzzEvent(f *testing.F) {
	f.Add("read", "\x00\x01", "name", "a/b", int64(5), int64(1<<40))
	f.Add("", "\x12\x20", "\xff\"\\\x1b", strings.Repeat("é", 3000), int64(-1), int64(-1<<62))
	f.Fuzz(func(t *testing.T, kind, id, name, path string, bytes, at int64) {
		e := Event{Kind: Kind("k" + kind), Peer: peer.ID(id), Name: name, Path: path, Bytes: bytes, First: time.Unix(at, at)}.Clean()
		line := new(Codec).Append(nil, Record{Seq: 1, Time: time.Unix(at, at), Event: e})
		if _, err := new(Codec).Decode(line); err != nil || len(line) >= MaxLine {
			t.Errorf("%q: %v", line, err)
		}
	})
}

package edit

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/peer/wire/wirepb"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/sharepb"
)

var update = flag.Bool("update", false, "write the vectors of docs/vectors anew")

const vectorFile = "../../../docs/vectors/change.json"

// vectors are exchanges of messages, with every byte of them.
type vectors struct {
	Comment   string     `json:"comment"`
	Exchanges []exchange `json:"exchanges"`
}

type exchange struct {
	Name     string    `json:"name"`
	Need     string    `json:"need"` // the right
	Messages []message `json:"messages"`
}

type message struct {
	From  string          `json:"from"` // client or owner
	Type  string          `json:"type"`
	JSON  json.RawMessage `json:"json"`
	Frame string          `json:"frame"` // hexadecimal
}

// TestVectors: the frames are those of the messages, both ways, and each verb takes the right that is written there.
func TestVectors(t *testing.T) {
	if *update {
		b, err := json.MarshalIndent(makeVectors(t), "", "  ")
		if err == nil {
			err = os.WriteFile(vectorFile, append(b, '\n'), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	verbs := make(map[sharepb.Verb]bool)
	for _, x := range v.Exchanges {
		for i, m := range x.Messages {
			msg := map[string]proto.Message{"Change": new(sharepb.Change), "PutItem": new(sharepb.PutItem), "Changed": new(sharepb.Changed)}[m.Type]
			if msg == nil {
				t.Fatalf("%s: a message %q", x.Name, m.Type)
			}
			if err := protojson.Unmarshal(m.JSON, msg); err != nil {
				t.Fatalf("%s: %v", x.Name, err)
			}
			frame, err := wire.AppendMsg(nil, msg)
			if err != nil || hex.EncodeToString(frame) != m.Frame {
				t.Errorf("%s, message %d: %x, want %s, %v", x.Name, i, frame, m.Frame, err)
			}
			if c, ok := msg.(*sharepb.Change); ok && i == 0 {
				verbs[c.Verb] = true
				if Need(c.Verb).String() != x.Need {
					t.Errorf("%s takes %v, want %s", x.Name, Need(c.Verb), x.Need)
				}
			}
		}
	}
	for n := range sharepb.Verb_name {
		if verb := sharepb.Verb(n); Need(verb) <= share.Full && !verbs[verb] {
			t.Errorf("there is no vector of %v", verb)
		}
	}
}

func makeVectors(t *testing.T) vectors {
	v := vectors{Comment: "Exchanges on /peerd/change/1: messages as JSON, and as the frames that carry them. IDs, grants, tokens and versions are made up."}
	id, grant := []byte("0123456789abcdef"), []byte("a sealed grant")
	version := []byte("fedcba9876543210")
	at := time.Date(2026, 11, 25, 20, 43, 56, 0, time.UTC).UnixNano()
	entry := func(path ...string) *sharepb.Entry {
		return &sharepb.Entry{Path: path, Kind: 1, Size: 12, ModTime: at, Version: version}
	}
	end := &sharepb.Changed{End: true}
	const old = "20261125-204356-9f3c"
	for _, x := range []struct {
		name string
		ask  *sharepb.Change
		more []proto.Message // by type: PutItem is the client's, Changed the owner's
	}{
		{"put", &sharepb.Change{Verb: sharepb.Verb_VERB_PUT, Upload: &sharepb.Upload{Id: id, Token: []byte("0123456789abcdef0123456789abcdef")}}, []proto.Message{
			&sharepb.PutItem{Number: 1, Path: []string{"plan", "a.txt"}, Size: 12, ModTime: at, Base: &sharepb.Base{}},
			&sharepb.PutItem{Number: 2, Path: []string{"plan", "b.txt"}, Size: 12, ModTime: at, Base: &sharepb.Base{Version: version}, Exec: proto.Bool(false)},
			&sharepb.PutItem{Number: 3, Path: []string{"empty"}, Dir: true}, &sharepb.PutItem{},
			&sharepb.Changed{Number: 3, Entry: &sharepb.Entry{Path: []string{"empty"}, Kind: 2, ModTime: at, Version: version}},
			&sharepb.Changed{Bytes: 24}, &sharepb.Changed{Number: 1, Entry: entry("plan", "a.txt")},
			&sharepb.Changed{Number: 2, Entry: entry("plan", "b (conflict anna 2026-11-25 20.43.56).txt"), Conflict: true}, end}},
		{"ahead", &sharepb.Change{Verb: sharepb.Verb_VERB_AHEAD, Path: []string{"plan", "film.mp4"},
			Upload: &sharepb.Upload{Id: id, Token: []byte("0123456789abcdef0123456789abcdef"), Number: 4}}, []proto.Message{
			&sharepb.PutItem{Number: 1, Size: 4 << 20}, &sharepb.PutItem{Number: 2, Size: 4 << 20}, &sharepb.Changed{Number: 1},
			&sharepb.Changed{Number: 2, Error: &wirepb.Error{Kind: 6, Text: "the file changed meanwhile"}}, end}},
		{"mkdir", &sharepb.Change{Verb: sharepb.Verb_VERB_MKDIR, Path: []string{"a", "b"}, Parents: true}, []proto.Message{
			&sharepb.Changed{Entry: &sharepb.Entry{Path: []string{"a", "b"}, Kind: 2, ModTime: at, Version: version}}, end}},
		{"remove", &sharepb.Change{Verb: sharepb.Verb_VERB_REMOVE, Path: []string{"a"}, Base: &sharepb.Base{Any: true}, Deep: true}, []proto.Message{
			&sharepb.Changed{Entry: &sharepb.Entry{Path: []string{"a", "f"}}, Removed: true, Kept: old},
			&sharepb.Changed{Entry: &sharepb.Entry{Path: []string{"a"}}, Removed: true}, end}},
		{"move", &sharepb.Change{Verb: sharepb.Verb_VERB_MOVE, Path: []string{"a"}, To: []string{"b"}, Base: &sharepb.Base{Version: version}, ToBase: &sharepb.Base{}},
			[]proto.Message{&sharepb.Changed{Entry: entry("b")}, end}},
		{"copy", &sharepb.Change{Verb: sharepb.Verb_VERB_COPY, Path: []string{"a"}, To: []string{"b"}, ToBase: &sharepb.Base{}},
			[]proto.Message{&sharepb.Changed{Entry: entry("b")}, end}},
		{"touch", &sharepb.Change{Verb: sharepb.Verb_VERB_TOUCH, Path: []string{"a"}, Base: &sharepb.Base{Version: version}, Touch: &sharepb.Touch{ModTime: proto.Int64(at), Exec: proto.Bool(true)}},
			[]proto.Message{&sharepb.Changed{Entry: &sharepb.Entry{Path: []string{"a"}, Kind: 1, Size: 12, ModTime: at, Version: version, Exec: true}}, end}},
		{"versions", &sharepb.Change{Verb: sharepb.Verb_VERB_VERSIONS, Path: []string{"a"}}, []proto.Message{
			&sharepb.Changed{Version: &sharepb.Kept{Id: old, Entry: entry("a"), Time: at, Name: "anna", Verb: "put"}}, end}},
		{"restore", &sharepb.Change{Verb: sharepb.Verb_VERB_RESTORE, Path: []string{"a"}, To: []string{"a"}, Version: old, ToBase: &sharepb.Base{Version: version}},
			[]proto.Message{&sharepb.Changed{Entry: entry("a"), Kept: "20261125-204400-0001"}, end}},
		{"watch", &sharepb.Change{Verb: sharepb.Verb_VERB_WATCH, Path: []string{"a"}}, []proto.Message{
			&sharepb.Changed{Cursor: &sharepb.Cursor{Epoch: []byte("01234567"), Seq: 41}},
			&sharepb.Changed{Event: &sharepb.Event{Seq: 42, Kind: 4, Entry: entry("a", "c"), From: []string{"a", "b"}, Time: at, Name: "anna"}},
			&sharepb.Changed{}, &sharepb.Change{Share: id, Grant: []byte("a fresh grant")}}},
		{"lock", &sharepb.Change{Verb: sharepb.Verb_VERB_LOCK, Path: []string{"a"}}, []proto.Message{&sharepb.Changed{Entry: entry("a")}}},
	} {
		x.ask.Share, x.ask.Grant = id, grant
		e := exchange{Name: x.name, Need: Need(x.ask.Verb).String()}
		for _, m := range append([]proto.Message{x.ask}, x.more...) {
			text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			frame, err := wire.AppendMsg(nil, m)
			if err != nil {
				t.Fatal(err)
			}
			from := "client"
			if _, ok := m.(*sharepb.Changed); ok {
				from = "owner"
			}
			e.Messages = append(e.Messages, message{from, string(m.ProtoReflect().Descriptor().Name()), text, hex.EncodeToString(frame)})
		}
		v.Exchanges = append(v.Exchanges, e)
	}
	return v
}

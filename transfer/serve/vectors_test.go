package serve_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net"
	"os"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/serve"
	"github.com/peerd/peerd/transfer/transferpb"
	"github.com/peerd/peerd/transfer/transfertest"
)

var update = flag.Bool("update", false, "write the vectors of docs/vectors anew")

const vectorFile = "../../docs/vectors/hashes.json"

type vectors struct {
	Comment   string     `json:"comment"`
	Exchanges []exchange `json:"exchanges"` // on one stream, in order
}

type exchange struct {
	Name    string    `json:"name"`
	Request message   `json:"request"`
	Replies []message `json:"replies"`
}

type message struct {
	JSON  json.RawMessage `json:"json"`
	Frame string          `json:"frame"` // hexadecimal
}

// rule is a share of files whose byte i is i mod 251, of the size that their name says.
type rule struct{}

var ruleVersion = transfer.Version([]byte("fedcba9876543210"))

func (rule) Enter(b []byte, _ peer.ID, _ transfer.ShareID) (serve.Pass, error) {
	if string(b) != transfertest.Grant {
		return nil, &peer.Error{Op: "enter", Kind: peer.Denied, Err: errors.New("no such grant")}
	}
	return rule{}, nil
}
func (rule) Check() error   { return nil }
func (rule) Owner() peer.ID { return transfertest.Source }
func (rule) Open(_ context.Context, path []string, _ transfer.Version) (serve.File, error) {
	size := map[string]int{"small": 1000, "large": 2*mib + 5}[path[0]]
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return ruled{bytes.NewReader(b)}, nil
}

type ruled struct{ *bytes.Reader }

func (ruled) Close() error { return nil }
func (r ruled) State() (transfer.State, error) {
	return transfer.State{Size: r.Size(), ModTime: time.Unix(1795639436, 0), Version: ruleVersion}, nil
}

// TestVectors: a source answers what is written, byte for byte.
func TestVectors(t *testing.T) {
	var v vectors
	if *update {
		v = makeVectors(t)
	} else {
		b, err := os.ReadFile(vectorFile)
		if err == nil {
			err = json.Unmarshal(b, &v)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	here, there := net.Pipe()
	defer here.Close()
	s := serve.New(serve.Options{Auth: rule{}, Manifests: &transfertest.Cache{}, Log: slog.New(slog.DiscardHandler)})
	go func() {
		_ = s.Manifest(t.Context(), pipe{there})
		there.Close()
	}()
	for i := range v.Exchanges {
		x := &v.Exchanges[i]
		if m := framed(t, x.Request, new(transferpb.ManifestRequest)); m.Frame != x.Request.Frame {
			t.Errorf("%s: the request is %s, want %s", x.Name, m.Frame, x.Request.Frame)
		}
		raw, err := hex.DecodeString(x.Request.Frame)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := here.Write(raw); err != nil {
			t.Fatal(err)
		}
		var got []message
		for over := false; !over; {
			var r transferpb.ManifestReply
			if err := wire.NewReaderSize(oneByOne{here}, 16).ReadMsg(&r, 64<<10); err != nil {
				t.Fatal(err)
			}
			_, isRoot := r.What.(*transferpb.ManifestReply_Root)
			over = isRoot || r.GetError() != nil
			got = append(got, messageOf(t, &r))
		}
		if *update {
			x.Replies = got
		}
		if len(got) != len(x.Replies) {
			t.Fatalf("%s: %d replies, want %d", x.Name, len(got), len(x.Replies))
		}
		for n, want := range x.Replies {
			if m := framed(t, want, new(transferpb.ManifestReply)); got[n].Frame != want.Frame || m.Frame != want.Frame {
				t.Errorf("%s, reply %d: %s, want %s", x.Name, n, got[n].Frame, want.Frame)
			}
		}
	}
	if *update {
		b, err := json.MarshalIndent(v, "", "  ")
		if err == nil {
			err = os.WriteFile(vectorFile, append(b, '\n'), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// oneByOne gives single bytes, so that nobody reads beyond a message.
type oneByOne struct{ io.Reader }

func (o oneByOne) Read(b []byte) (int, error) { return o.Reader.Read(b[:min(1, len(b))]) }

func messageOf(t *testing.T, m proto.Message) message {
	t.Helper()
	frame, err := wire.AppendMsg(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	j, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var plain bytes.Buffer
	if err := json.Compact(&plain, j); err != nil { // its own spaces differ from run to run
		t.Fatal(err)
	}
	return message{JSON: plain.Bytes(), Frame: hex.EncodeToString(frame)}
}

// framed is a message as its JSON says it.
func framed(t *testing.T, m message, as proto.Message) message {
	t.Helper()
	if err := protojson.Unmarshal(m.JSON, as); err != nil {
		t.Fatal(err)
	}
	return messageOf(t, as)
}

func makeVectors(t *testing.T) vectors {
	v := vectors{Comment: "Exchanges on one stream of /peerd/manifest/1, as JSON and as the frames that carry them. Byte i of each file is i mod 251; " +
		"small has 1000 bytes, large 2 MiB + 5. Grant and version are made up."}
	version := ruleVersion[:]
	for i, x := range []struct {
		name string
		req  *transferpb.ManifestRequest
	}{
		{"all of a small file", &transferpb.ManifestRequest{File: file("small")}},
		{"the last, and one that there is not", &transferpb.ManifestRequest{File: file("large"), First: 32, Count: 2, Version: version}},
		{"one, and after it what is known", &transferpb.ManifestRequest{File: file("large"), First: 31, Count: 1, Version: version}},
		{"a piece too far", &transferpb.ManifestRequest{File: file("large"), First: 33, Count: 1, Version: version}},
		{"too many", &transferpb.ManifestRequest{File: file("large"), Count: serve.MaxRange + 1, Version: version}},
		{"another version", &transferpb.ManifestRequest{File: file("large"), Count: 1, Version: []byte("another version.")}},
		{"no version", &transferpb.ManifestRequest{File: file("large"), Count: 1}},
		{"one of a small file", &transferpb.ManifestRequest{File: file("small"), Count: 1, Version: version}},
	} {
		if i > 0 {
			x.req.File.Grant = nil
		}
		v.Exchanges = append(v.Exchanges, exchange{Name: x.name, Request: messageOf(t, x.req)})
	}
	return v
}

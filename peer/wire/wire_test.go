package wire_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"

	"google.golang.org/protobuf/proto"

	"github.com/peerd/peerd/peer/wire"
	"github.com/peerd/peerd/peer/wire/wirepb"
)

func frame(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := wire.AppendMsg(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	var stream []byte
	sizes := []int{0, 1, 125, 126, 127, 128, wire.BufferSize - 10, wire.BufferSize, wire.BufferSize + 1, 1 << 20}
	for _, n := range sizes {
		m := &wirepb.Error{Text: strings.Repeat("x", n)}
		before := len(stream)
		stream = append(stream, frame(t, m)...)
		if got := len(stream) - before; got != wire.FrameSize(m) {
			t.Errorf("the frame of %d bytes is %d long, FrameSize says %d", n, got, wire.FrameSize(m))
		}
	}
	for name, r := range map[string]io.Reader{
		"whole": bytes.NewReader(stream), "halves": iotest.HalfReader(bytes.NewReader(stream)),
		"end with data": iotest.DataErrReader(bytes.NewReader(stream)),
	} {
		t.Run(name, func(t *testing.T) {
			rd := wire.NewReader(r)
			for _, n := range sizes {
				m := &wirepb.Error{Hint: "left over from before"}
				if err := rd.ReadMsg(m, wire.MaxMsg); err != nil {
					t.Fatalf("message of %d bytes: %v", n, err)
				}
				if len(m.Text) != n || m.Hint != "" {
					t.Fatalf("message of %d bytes came back with %d, hint %q", n, len(m.Text), m.Hint)
				}
			}
			if err := rd.ReadMsg(&wirepb.Error{}, wire.MaxMsg); err != io.EOF {
				t.Fatalf("at the end: %v, want EOF", err)
			}
		})
	}
}

func TestRawBytesFollowFrame(t *testing.T) {
	raw := bytes.Repeat([]byte("raw!"), wire.BufferSize)
	stream := append(frame(t, &wirepb.Error{Text: "head"}), raw...)
	stream = append(stream, frame(t, &wirepb.Error{Text: "tail"})...)

	rd := wire.NewReader(bytes.NewReader(stream))
	var m wirepb.Error
	if err := rd.ReadMsg(&m, 100); err != nil || m.Text != "head" {
		t.Fatalf("head: %q, %v", m.Text, err)
	}
	if rd.Buffered() == 0 {
		t.Error("nothing is buffered after the first frame")
	}
	got := make([]byte, len(raw))
	if _, err := io.ReadFull(rd, got); err != nil || !bytes.Equal(got, raw) {
		t.Fatalf("raw bytes differ: %v", err)
	}
	if err := rd.ReadMsg(&m, 100); err != nil || m.Text != "tail" {
		t.Fatalf("tail: %q, %v", m.Text, err)
	}
	if rd.Buffered() != 0 {
		t.Errorf("%d bytes are buffered at the end", rd.Buffered())
	}
}

// sizes records how large the reads are that reach the stream.
type sizes struct {
	r    io.Reader
	seen []int
}

func (s *sizes) Read(p []byte) (int, error) {
	s.seen = append(s.seen, len(p))
	return s.r.Read(p)
}

func TestLargeReadsBypassBuffer(t *testing.T) {
	s := &sizes{r: bytes.NewReader(make([]byte, 1<<20))}
	if _, err := wire.NewReader(s).Read(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if len(s.seen) != 1 || s.seen[0] != 1<<20 {
		t.Errorf("reads of %v bytes reached the stream, want one of 1 MiB", s.seen)
	}
}

func TestReadMsgRefuses(t *testing.T) {
	good := frame(t, &wirepb.Error{Text: strings.Repeat("x", 300)})
	for _, tt := range []struct {
		name  string
		in    []byte
		limit int
		want  error
	}{
		{"longer than the limit", good, 299, wire.ErrTooLong},
		{"longer than any limit", []byte{0x81, 0x80, 0x80, 0x02}, 1 << 30, wire.ErrTooLong},
		{"a length that would be negative", bytes.Repeat([]byte{0xff}, 10), 1000, wire.ErrTooLong},
		{"a length not in its shortest form", []byte{0x80, 0x00}, 1000, wire.ErrMalformed},
		{"end inside the length", []byte{0x80}, 1000, io.ErrUnexpectedEOF},
		{"end before the message", []byte{0x05}, 1000, io.ErrUnexpectedEOF},
		{"end inside the message", good[:100], 1000, io.ErrUnexpectedEOF},
		{"end inside a long message", append([]byte{0x80, 0x80, 0x40}, good...), wire.MaxMsg, io.ErrUnexpectedEOF},
		{"no protobuf", []byte{0x02, 0xff, 0xff}, 1000, wire.ErrMalformed},
		{"text that is not UTF-8", []byte{0x03, 0x12, 0x01, 0xff}, 1000, wire.ErrMalformed},
		{"nothing", nil, 1000, io.EOF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := wire.NewReader(bytes.NewReader(tt.in)).ReadMsg(&wirepb.Error{}, tt.limit)
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestReadMsgAllocatesNothingForRefused(t *testing.T) {
	in := []byte{0x80, 0x80, 0x80, 0x02} // claims 4 MiB
	m, src := &wirepb.Error{}, bytes.NewReader(in)
	if err := wire.NewReader(src).ReadMsg(m, 1000); !errors.Is(err, wire.ErrTooLong) {
		t.Fatalf("got %v", err)
	}
	res := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			src.Reset(in)
			_ = wire.NewReaderSize(src, 16).ReadMsg(m, 1000)
		}
	})
	if res.AllocedBytesPerOp() > 4096 {
		t.Errorf("%d bytes were allocated for a frame that is refused", res.AllocedBytesPerOp())
	}
}

func TestReadMsgPassesErrorsOn(t *testing.T) {
	for _, in := range [][]byte{nil, {0x80}, {0x05, 0x01}} {
		r := io.MultiReader(bytes.NewReader(in), iotest.ErrReader(net.ErrClosed))
		if err := wire.NewReader(r).ReadMsg(&wirepb.Error{}, 100); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after %x: got %v, want the stream's error", in, err)
		}
	}
}

func TestWriteTooLong(t *testing.T) {
	var w bytes.Buffer
	m := &wirepb.Error{Text: strings.Repeat("x", wire.MaxMsg)}
	if err := wire.WriteMsg(&w, m); !errors.Is(err, wire.ErrTooLong) || w.Len() != 0 {
		t.Errorf("got %v, %d bytes written", err, w.Len())
	}
	if b, err := wire.AppendMsg([]byte("kept"), &wirepb.Error{Text: "\xff"}); err == nil || string(b) != "kept" {
		t.Errorf("got %q, %v for text that is not UTF-8", b, err)
	}
}

// writes counts calls of Write.
type writes int

func (w *writes) Write(p []byte) (int, error) { *w++; return len(p), nil }

func TestWriteMsgWritesOnce(t *testing.T) {
	var w writes
	if err := wire.WriteMsg(&w, &wirepb.Error{Text: "one"}); err != nil || w != 1 {
		t.Errorf("%d writes, %v", w, err)
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte(nil), 100)
	f.Add(frame(f, &wirepb.Error{Kind: 4, Op: "open", Path: "//anna/docs", Text: "no", Hint: "log in"}), 1000)
	f.Add(append(frame(f, &wirepb.Error{Kind: 1}), frame(f, &wirepb.Error{Kind: 2})...), 10)
	f.Add([]byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01}, wire.MaxMsg)
	f.Add([]byte{0x80, 0x00}, -1)
	f.Fuzz(func(t *testing.T, in []byte, limit int) {
		src := bytes.NewReader(in)
		rd := wire.NewReaderSize(src, 64)
		var out []byte
		for {
			var m wirepb.Error
			if err := rd.ReadMsg(&m, limit); err != nil {
				break
			}
			if limit < 0 {
				t.Fatal("a message passed a negative limit")
			}
			read := len(in) - src.Len() - rd.Buffered()
			if len(out) >= read {
				t.Fatal("a message was read from nothing")
			}
			out = append(out[:0], in[:read]...)
			if again, err := wire.AppendMsg(nil, &m); err != nil || len(again) > limit+4+len(in) {
				t.Fatalf("what was read can't be written: %v", err)
			}
		}
	})
}

// Package wire puts protobuf messages on a byte stream: each is a frame, its length as a uvarint and then its bytes. Raw
// bytes may follow a frame on the same stream. It knows no message but the one that carries an error.
//
// A frame's length is checked against the reader's limit before anything is allocated for it, and has no sign
// (CVE-2021-21404). Nothing is ever compressed, so a frame is never larger inside than outside.
package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

//go:generate protoc -I ../.. --go_out=../.. --go_opt=paths=source_relative peer/wire/wirepb/error.proto

// MaxMsg is the longest message that is ever written or read, in bytes. Readers ask for less.
const MaxMsg = 4 << 20

// BufferSize is how much a Reader made by [NewReader] reads at once, in bytes.
const BufferSize = 64 << 10

// What is wrong with a frame. A stream that ends inside one gives [io.ErrUnexpectedEOF].
var (
	ErrTooLong   = errors.New("the message is too long")
	ErrMalformed = errors.New("the message is malformed")
)

// maxPrefix is how many bytes the length of a frame may take: 28 bits are more than MaxMsg.
const maxPrefix = 4

// Reader reads frames, and the raw bytes after them, from one stream through one buffer. It is not safe for concurrent use.
type Reader struct {
	buf *bufio.Reader
}

// NewReader makes a Reader with a buffer of [BufferSize].
func NewReader(r io.Reader) *Reader { return NewReaderSize(r, BufferSize) }

// NewReaderSize makes a Reader with a buffer of size bytes, for streams that carry little and idle long, or long raw bytes.
func NewReaderSize(r io.Reader, size int) *Reader {
	return &Reader{buf: bufio.NewReaderSize(r, size)}
}

// ReadMsg reads one frame of at most limit bytes into m, which is reset before. It gives [io.EOF] only where the stream
// ends between two frames, and wraps [io.ErrUnexpectedEOF], [ErrTooLong] or [ErrMalformed]; after any error the position
// in the stream is lost.
func (r *Reader) ReadMsg(m proto.Message, limit int) error {
	n, err := r.length()
	if err != nil {
		return err
	}
	if limit = min(limit, MaxMsg); n > limit {
		return fmt.Errorf("%w: %d bytes of at most %d", ErrTooLong, n, limit)
	}
	if n <= r.buf.Size() {
		// Parsed in place: the parser copies what it keeps.
		b, err := r.buf.Peek(n)
		if err != nil {
			return truncated(err)
		}
		if err := unmarshal(b, m); err != nil {
			return err
		}
		_, err = r.buf.Discard(n)
		return err
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r.buf, b); err != nil {
		return truncated(err)
	}
	return unmarshal(b, m)
}

// length reads the prefix of a frame: a uvarint in its shortest form.
func (r *Reader) length() (int, error) {
	n := 0
	for i := range maxPrefix {
		b, err := r.buf.ReadByte()
		switch {
		case err != nil && i == 0:
			return 0, err
		case err != nil:
			return 0, truncated(err)
		case b == 0 && i > 0:
			return 0, fmt.Errorf("%w: its length is not in the shortest form", ErrMalformed)
		}
		n |= int(b&0x7f) << (7 * i)
		if b < 0x80 {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%w: its length takes more than %d bytes", ErrTooLong, maxPrefix)
}

func unmarshal(b []byte, m proto.Message) error {
	if err := proto.Unmarshal(b, m); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

func truncated(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Read reads raw bytes: first those already buffered, and then, for a p as large as the buffer, straight from the stream.
func (r *Reader) Read(p []byte) (int, error) { return r.buf.Read(p) }

// Buffered is how many bytes were read from the stream and not yet from the Reader. While it is not 0 another message
// may be had without waiting.
func (r *Reader) Buffered() int { return r.buf.Buffered() }

// AppendMsg appends the frame of m to buf, so that many frames and raw bytes go out in one write. On error buf comes back
// as it was.
func AppendMsg(buf []byte, m proto.Message) ([]byte, error) {
	opts := proto.MarshalOptions{}
	n := opts.Size(m)
	if n > MaxMsg {
		return buf, fmt.Errorf("%w: %d bytes of at most %d", ErrTooLong, n, MaxMsg)
	}
	opts.UseCachedSize = true
	out, err := opts.MarshalAppend(binary.AppendUvarint(buf, uint64(n)), m)
	if err != nil {
		return buf, err
	}
	return out, nil
}

// WriteMsg writes one message as a frame, in one write.
func WriteMsg(w io.Writer, m proto.Message) error {
	b, err := AppendMsg(make([]byte, 0, FrameSize(m)), m)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// FrameSize is how many bytes the frame of m takes.
func FrameSize(m proto.Message) int { return protowire.SizeBytes(proto.Size(m)) }

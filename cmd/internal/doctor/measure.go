package doctor

import (
	"cmp"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

// Bounds of the measurements.
const (
	workTime   = 150 * time.Millisecond // of each on the processor
	diskTime   = 250 * time.Millisecond // of writing
	diskUnit   = 1 << 20
	diskMax    = 128 << 20
	recordSize = 16 << 10 // of TLS, RFC 8446 section 5.1
	wireTime   = time.Second

	// payload is the part of an Ethernet's bits that TCP can use for data: 1,448 of the 1,538 bytes a packet takes.
	payload = 0.94
)

// figure is a measured speed, in bytes a second; 0 when it is not known.
type figure struct {
	what string
	rate float64
}

func speed(rate float64) string {
	if rate >= 1e9 {
		return fmt.Sprintf("%.1f GB/s", rate/1e9)
	}
	return fmt.Sprintf("%.0f MB/s", rate/1e6)
}

// disk writes a file in the state folder and reads it again.
func (p *Patient) disk(ctx context.Context, _ evidence) (figure, control.Finding) {
	written, read, err := p.writeAndRead(ctx)
	if err != nil {
		return figure{}, control.Finding{Level: control.Warn, Check: "disk", Text: fmt.Sprintf("not measured: %v", err)}
	}
	slower := figure{"writing files", written}
	if read < written {
		slower = figure{"reading files", read}
	}
	return slower, control.Finding{Level: control.OK, Check: "disk", Text: fmt.Sprintf(
		"%s written, %s read in the state folder, as the page cache has it: the disk itself may be slower for large files", speed(written), speed(read))}
}

func (p *Patient) writeAndRead(ctx context.Context) (written, read float64, err error) {
	name := fmt.Sprintf("doctor-%d.tmp", p.Now().UnixNano())
	f, err := p.State.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, 0, err
	}
	open := p.State.Remove(name) // at once, where the system can: nothing is left of it, whatever happens
	defer func() {
		err = errors.Join(err, f.Close())
		if open != nil {
			err = errors.Join(err, p.State.Remove(name))
		}
	}()
	buf := make([]byte, diskUnit)
	began, size := p.Now(), int64(0)
	for size < diskMax && p.Now().Sub(began) < diskTime && ctx.Err() == nil {
		if _, err := f.Write(buf); err != nil {
			return 0, 0, err
		}
		size += diskUnit
	}
	written = rate(size, p.Now().Sub(began))
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, 0, err
	}
	began, size = p.Now(), 0
	for p.Now().Sub(began) < diskTime && ctx.Err() == nil {
		n, err := f.Read(buf)
		size += int64(n)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, 0, err
		}
	}
	return written, rate(size, p.Now().Sub(began)), nil
}

func rate(bytes int64, took time.Duration) float64 {
	return float64(bytes) / max(took, time.Nanosecond).Seconds()
}

// work measures what a core does with n bytes at a time.
func (p *Patient) work(ctx context.Context, n int, f func()) float64 {
	f() // memory and caches warm up
	began, size := p.Now(), int64(0)
	for p.Now().Sub(began) < workTime && ctx.Err() == nil {
		f()
		size += int64(n)
	}
	return rate(size, p.Now().Sub(began))
}

// hash measures piece hashing.
func (p *Patient) hash(ctx context.Context, _ evidence) (figure, control.Finding) {
	buf := make([]byte, p.Step)
	r := p.work(ctx, len(buf), func() { p.Hash(buf) })
	return figure{"hashing (BLAKE3)", r}, control.Finding{Level: control.OK, Check: "hash", Text: speed(r) + " on one core (BLAKE3)"}
}

// crypto measures the cipher of the connections, by records as TLS 1.3 makes them.
func (p *Patient) crypto(ctx context.Context, _ evidence) (figure, control.Finding) {
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		return figure{}, control.Finding{Level: control.Warn, Check: "crypto", Text: fmt.Sprintf("not measured: %v", err)}
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return figure{}, control.Finding{Level: control.Warn, Check: "crypto", Text: fmt.Sprintf("not measured: %v", err)}
	}
	nonce, record := make([]byte, gcm.NonceSize()), make([]byte, recordSize, recordSize+gcm.Overhead())
	r := p.work(ctx, recordSize, func() { gcm.Seal(record[:0], nonce, record, nil) })
	return figure{"encryption (AES-128-GCM)", r}, control.Finding{Level: control.OK, Check: "crypto", Text: speed(r) + " on one core (AES-128-GCM, records of 16 KiB)"}
}

// wire measures the way to the peer that answers best, or else says what the network card could do.
func (p *Patient) wire(ctx context.Context, e evidence) (figure, control.Finding) {
	ctx, cancel := context.WithTimeout(ctx, wireTime)
	defer cancel()
	link, bits := fastest(e)
	for _, v := range e.peers {
		if v.err != nil {
			continue
		}
		rtt, err := p.Host.Ping(ctx, v.peer.ID)
		if err != nil {
			continue
		}
		text := fmt.Sprintf("%s answers in %v", called(v.peer), rtt.Round(10*time.Microsecond))
		r, err := throughput(ctx, p.Host, v.peer.ID, p.Now)
		if err != nil {
			text += "; its speed was not measured: " + whyNot(err)
			return figure{cable(link, bits), float64(bits) / 8 * 1e6 * payload}, control.Finding{Level: control.OK, Check: "wire", Text: text}
		}
		return figure{wayTo(v.peer, r, link, bits), r}, control.Finding{Level: control.OK, Check: "wire", Text: text + " and sends " + speed(r) + ", encrypted"}
	}
	if bits == 0 {
		return figure{}, control.Finding{Level: control.OK, Check: "wire", Text: "no peer is here to measure it with"}
	}
	return figure{cable(link, bits), float64(bits) / 8 * 1e6 * payload},
		control.Finding{Level: control.OK, Check: "wire", Text: fmt.Sprintf("no peer is here to measure it with; the cable of %s does %d Mbit/s", link, bits)}
}

// whyNot is the reason alone: whose it is has been said.
func whyNot(err error) string {
	var e *peer.Error
	if errors.As(err, &e) && e.Err != nil {
		return e.Err.Error()
	}
	return err.Error()
}

// fastest is the link of the highest speed known, in Mbit/s.
func fastest(e evidence) (name string, bits int) {
	for _, l := range e.links {
		if n := e.speeds[l.Name]; n > bits {
			name, bits = l.Name, n
		}
	}
	return name, bits
}

func cable(link string, bits int) string {
	return fmt.Sprintf("the network (%s, %d Mbit/s)", link, bits)
}

// wayTo names what bounds the way to a peer: the cable when it is about full.
func wayTo(to discovery.Peer, r float64, link string, bits int) string {
	const full = 0.8
	if bits > 0 && r > float64(bits)/8*1e6*full {
		return cable(link, bits)
	}
	return "the way to " + called(to) + " (the network between, or its processor)"
}

// judgeTransfer names what bounds a transfer.
func judgeTransfer(figures []figure) control.Finding {
	known := slices.DeleteFunc(slices.Clone(figures), func(f figure) bool { return f.rate <= 0 })
	if len(known) == 0 {
		return control.Finding{Level: control.Warn, Check: "transfer", Text: "what bounds it is not known: nothing could be measured"}
	}
	least := slices.MinFunc(known, func(a, b figure) int { return cmp.Compare(a.rate, b.rate) })
	return control.Finding{Level: control.OK, Check: "transfer", Text: fmt.Sprintf("at most about %s on this computer, bounded by %s", speed(least.rate), least.what)}
}

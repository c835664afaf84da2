package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/peerd/peerd/transfer"
)

// A segment is two files: NUMBER.data has the bytes of pieces, one after the other, and NUMBER.index an entry of fixed size for
// each, so that a start reads little and a torn entry spoils no other. NUMBER is eight hexadecimal digits.
//
// An entry, numbers in little endian:
//
//	 0  32  the piece's hash
//	32   8  where it begins in the data
//	40   4  its length
//	44   8  checksum of its bytes (XXH64)
//	52   8  checksum of the 52 bytes before (XXH64)
//	60   1  1 when it was used since it was written
//	61   3  zero
const (
	entrySize = 64
	entryUsed = 60
	// maxSlots is how many pieces a segment has at most, so that one segment is a small part of all there may be.
	maxSlots = maxCachedPieces / 64

	dataSuffix  = ".data"
	indexSuffix = ".index"
)

// place is where a piece is. It holds no pointers, which keeps the garbage collector out of a large index.
type place struct {
	segment uint32 // the number of its segment
	slot    uint32 // the number of its entry
	offset  int64
	sum     uint64
	length  uint32
	used    bool
}

// at tells one place from another: no two pieces ever have the same entry of the same segment.
func (p place) at() [2]uint32 { return [2]uint32{p.segment, p.slot} }

// entry is a place as it is written. slot and segment are known by where it stands.
func (p place) entry(h transfer.Hash) (b [entrySize]byte) {
	copy(b[:], h[:])
	binary.LittleEndian.PutUint64(b[32:], uint64(p.offset))
	binary.LittleEndian.PutUint32(b[40:], p.length)
	binary.LittleEndian.PutUint64(b[44:], p.sum)
	binary.LittleEndian.PutUint64(b[52:], xxhash.Sum64(b[:52]))
	if p.used {
		b[entryUsed] = 1
	}
	return b
}

// parseEntry reads one entry of a segment that has size bytes of data. What is torn, forgotten or outside is not ok.
func parseEntry(b []byte, size int64) (h transfer.Hash, p place, ok bool) {
	if xxhash.Sum64(b[:52]) != binary.LittleEndian.Uint64(b[52:]) {
		return h, p, false
	}
	copy(h[:], b)
	p.offset = int64(binary.LittleEndian.Uint64(b[32:]))
	p.length = binary.LittleEndian.Uint32(b[40:])
	p.sum = binary.LittleEndian.Uint64(b[44:])
	p.used = b[entryUsed] == 1
	inside := p.length > 0 && p.length <= MaxCached && p.offset >= 0 && p.offset <= size-int64(p.length)
	return h, p, inside
}

// segment is one part of the log.
type segment struct {
	number      uint32
	data, index *os.File

	size  int64 // bytes of data; guarded by Cache.write
	slots int   // entries; guarded by Cache.write

	refs   int  // guarded by Cache.mu; being in the list is one
	remove bool // guarded by Cache.mu: the files go with the last ref
}

// bytes is how much of the disk a segment takes.
func (s *segment) bytes() int64 { return s.size + int64(s.slots)*entrySize }

// markUsed and forget change an entry on disk. They may fail: then a piece is dropped early, or found damaged once more.
func (s *segment) markUsed(slot uint32) {
	_, _ = s.index.WriteAt([]byte{1}, int64(slot)*entrySize+entryUsed)
}

func (s *segment) forget(slot uint32) {
	_, _ = s.index.WriteAt(make([]byte, entrySize), int64(slot)*entrySize)
}

// append writes a piece after the others. What an error leaves is written over by the next.
func (s *segment) append(h transfer.Hash, data []byte, sum uint64) (place, error) {
	p := place{segment: s.number, slot: uint32(s.slots), offset: s.size, sum: sum, length: uint32(len(data))}
	if _, err := s.data.WriteAt(data, p.offset); err != nil {
		return p, errors.Join(err, s.data.Truncate(s.size))
	}
	e := p.entry(h)
	if _, err := s.index.WriteAt(e[:], int64(p.slot)*entrySize); err != nil {
		return p, errors.Join(err, s.data.Truncate(s.size))
	}
	s.size += int64(len(data))
	s.slots++
	return p, nil
}

func (c *Cache) openSegment(number uint32, flag int) (*segment, error) {
	name := segmentName(number)
	data, err := c.root.OpenFile(name+dataSuffix, os.O_RDWR|flag, 0o600)
	if err != nil {
		return nil, err
	}
	index, err := c.root.OpenFile(name+indexSuffix, os.O_RDWR|flag, 0o600)
	if err != nil {
		data.Close()
		return nil, err
	}
	return &segment{number: number, data: data, index: index, refs: 1}, nil
}

func segmentName(number uint32) string { return fmt.Sprintf("%08x", number) }

// numberOf is the number of the segment that a file belongs to, if it is one of the cache's.
func numberOf(name string) (number uint32, ok bool) {
	digits, suffix, _ := strings.Cut(name, ".")
	n, err := strconv.ParseUint(digits, 16, 32)
	number = uint32(n)
	return number, err == nil && segmentName(number) == digits && ("."+suffix == dataSuffix || "."+suffix == indexSuffix)
}

// load finds the segments of earlier runs. One that is half there, which a crash may leave, is removed.
func (c *Cache) load() error {
	files, err := fs.ReadDir(c.root.FS(), ".")
	if err != nil {
		return err
	}
	var numbers []uint32
	for _, f := range files {
		if n, ok := numberOf(f.Name()); ok {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	for _, n := range slices.Compact(numbers) {
		c.next = n + 1
		s, err := c.openSegment(n, 0)
		if err == nil {
			err = c.loadSegment(s)
		}
		if err != nil {
			c.log.Warn("a part of the piece cache can't be read and is removed", "folder", c.dir, "err", err)
			c.removeFiles(n)
			continue
		}
		c.segments = append(c.segments, s)
		c.total += s.bytes()
	}
	return nil
}

// loadSegment reads a segment's entries. Where a piece is here twice, the later wins.
func (c *Cache) loadSegment(s *segment) error {
	info, err := s.data.Stat()
	if err != nil {
		return errors.Join(err, s.close())
	}
	entries, err := io.ReadAll(io.NewSectionReader(s.index, 0, maxSlots*entrySize))
	if err != nil {
		return errors.Join(err, s.close())
	}
	s.size = info.Size()
	s.slots = (len(entries) + entrySize - 1) / entrySize
	for i := range len(entries) / entrySize {
		if h, p, ok := parseEntry(entries[i*entrySize:(i+1)*entrySize], s.size); ok {
			p.segment, p.slot = s.number, uint32(i)
			c.index[h] = p
		}
	}
	return nil
}

func (s *segment) close() error { return errors.Join(s.data.Close(), s.index.Close()) }

// removeFiles removes the files of a segment that nobody has open. What it can't remove is found again at the next start.
func (c *Cache) removeFiles(number uint32) error {
	var errs []error
	for _, suffix := range []string{indexSuffix, dataSuffix} {
		if err := c.root.Remove(segmentName(number) + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// release gives up a use of a segment, and with the last its files.
func (c *Cache) release(s *segment) {
	if err := c.releaseSegment(s); err != nil {
		c.log.Warn("a part of the piece cache can't be removed", "folder", c.dir, "err", err)
	}
}

func (c *Cache) releaseSegment(s *segment) error {
	c.mu.Lock()
	s.refs--
	last, remove := s.refs == 0, s.remove
	c.mu.Unlock()
	if !last {
		return nil
	}
	err := s.close()
	if remove {
		err = errors.Join(err, c.removeFiles(s.number))
		c.mu.Lock()
		c.total -= s.bytes()
		c.mu.Unlock()
	}
	return err
}

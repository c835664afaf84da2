package local

import (
	"io"
	"os"
	"time"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/local/tree"
)

// File is an open regular file; see [share.OpenFile]. It can be read from several goroutines at once.
type File struct {
	path share.Path
	file *os.File
}

// ReadAt reads as [io.ReaderAt] says.
func (f *File) ReadAt(b []byte, off int64) (int, error) {
	n, err := f.file.ReadAt(b, off)
	if err != nil && err != io.EOF {
		err = failure("read", f.path, err)
	}
	return n, err
}

// Close frees the file. Reads that run end first.
func (f *File) Close() error {
	if err := f.file.Close(); err != nil {
		return failure("close", f.path, err)
	}
	return nil
}

// Entry tells of the file as it is now, under the path that it was opened by, wherever it was moved since.
func (f *File) Entry() (share.Entry, error) {
	e, _, err := f.Settled(time.Time{})
	return e, err
}

// Settled is Entry, and whether its version proves the bytes that are read from now on: read, and if Entry still gives this
// version, they are the bytes of this version for good. It does not so shortly after a change (now is the present), since
// the clock that stamps files stands still between its ticks and a second change may get the stamp of the first (git's
// "racy" index entries). Who writes through a memory map can still change bytes unseen until the system writes them out.
func (f *File) Settled(now time.Time) (share.Entry, bool, error) {
	st, err := tree.OfFile(f.file)
	if err != nil {
		return share.Entry{}, false, failure("stat", f.path, err)
	}
	return st.Entry(f.path), !racy(st.LastChange(), now), nil
}

// racy reports whether a file changed so near to now that its next change may get the same stamp: within two ticks of the
// slowest kernel clock (100 Hz), or within what a file system that counts in seconds, in twos on FAT, may have rounded off.
func racy(changed, now time.Time) bool {
	window := 20 * time.Millisecond
	if changed.Nanosecond() == 0 {
		window = 3 * time.Second
	}
	return now.Sub(changed).Abs() < window
}

package journal

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/audit"
)

const (
	headName  = "head"
	suffix    = ".jsonl"
	tornName  = "torn-"
	maxTorn   = 4       // files of what was set aside
	maxAside  = 1 << 20 // bytes that are set aside of one file
	nameWidth = 20      // digits, so that names sort as numbers do
)

// disk is what the writer needs of one.
type disk interface {
	// open opens a file to append to, and makes it if it is not there.
	open(name string) (logFile, error)
	remove(name string) error
	// putHead writes the head over the one before; sync makes it last.
	putHead(b []byte, sync bool) error
	close() error
}

// logFile is a file that is appended to.
type logFile interface {
	io.WriteCloser
	Sync() error
	Truncate(size int64) error
}

func fileName(first uint64) string { return fmt.Sprintf("%0*d%s", nameWidth, first, suffix) }

// firstOf reads the number of the first record in a file's name.
func firstOf(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != nameWidth {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && n > 0
}

// folder is a log's folder on the disk.
type folder struct {
	root *os.Root
	head *os.File // nil until it is first written
}

// openFolder opens the folder and, to write there, makes it and closes it to others.
func openFolder(dir string, write bool) (*folder, error) {
	if write {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	if write && runtime.GOOS != "windows" {
		if info, err := root.Stat("."); err == nil && info.Mode().Perm() != 0o700 {
			_ = root.Chmod(".", 0o700) // a folder on a disk that can't be written is still read
		}
	}
	return &folder{root: root}, nil
}

func (d *folder) close() error {
	var err error
	if d.head != nil {
		err = d.head.Close()
	}
	return errors.Join(err, d.root.Close())
}

// files are the numbers of the files' first records, sorted.
func (d *folder) files() ([]uint64, error) {
	entries, err := fs.ReadDir(d.root.FS(), ".")
	if err != nil {
		return nil, err
	}
	var firsts []uint64
	for _, e := range entries {
		if first, ok := firstOf(e.Name()); ok {
			firsts = append(firsts, first)
		}
	}
	slices.Sort(firsts)
	return firsts, nil
}

func (d *folder) open(name string) (logFile, error) {
	_, err := d.root.Lstat(name)
	f, openErr := d.root.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if openErr != nil {
		return nil, openErr
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = d.sync()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (d *folder) remove(name string) error { return d.root.Remove(name) }

// sync makes new names last. Windows has no such thing for folders.
func (d *folder) sync() error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := d.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (d *folder) putHead(b []byte, sync bool) error {
	if d.head == nil {
		return d.newHead(b)
	}
	if _, err := d.head.WriteAt(b, 0); err != nil {
		return err
	}
	if sync {
		return d.head.Sync()
	}
	return nil
}

// newHead puts the head's file in its place in one step. Later heads are written over it, which takes no space, and of which
// the disk makes no half.
func (d *folder) newHead(b []byte) error {
	const tmp = headName + ".tmp"
	f, err := d.root.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync()); err == nil {
		if runtime.GOOS == "windows" { // it renames no open file
			if err = f.Close(); err == nil {
				err = d.root.Rename(tmp, headName)
			}
			if err == nil {
				f, err = d.root.OpenFile(headName, os.O_RDWR, 0)
			}
		} else {
			err = errors.Join(d.root.Rename(tmp, headName), d.sync())
		}
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	d.head = f
	return nil
}

// readHead reads the head. It reads again if it may have been caught while it was written.
func (d *folder) readHead(pub crypto.PubKey) (audit.Head, error) {
	for try := 0; ; try++ {
		f, err := d.root.Open(headName)
		if err != nil {
			return audit.Head{}, err
		}
		b, err := io.ReadAll(io.LimitReader(f, audit.HeadSize+1))
		if err = errors.Join(err, f.Close()); err != nil {
			return audit.Head{}, err
		}
		h, err := audit.DecodeHead(b, pub)
		if err == nil || try == 3 {
			return h, err
		}
		time.Sleep(time.Millisecond)
	}
}

// keepHead says that the head that was read is written over.
func (d *folder) keepHead() error {
	f, err := d.root.OpenFile(headName, os.O_RDWR, 0)
	d.head = f
	return err
}

// setAside keeps the bytes from an offset of a file on in a file of their own, up to maxAside, and drops the oldest such file.
func (d *folder) setAside(name string, from int64, seq uint64) error {
	in, err := d.root.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := d.root.OpenFile(tornName+fileName(seq), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.NewSectionReader(in, from, maxAside))
	err = errors.Join(err, out.Close())
	entries, _ := fs.ReadDir(d.root.FS(), ".")
	var torn []string // sorted
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tornName) {
			torn = append(torn, e.Name())
		}
	}
	for _, name := range torn[:max(0, len(torn)-maxTorn)] {
		err = errors.Join(err, d.root.Remove(name))
	}
	return err
}

// lines reads a file line by line.
type lines struct {
	r   *bufio.Reader
	end int64 // behind the last line that next gave
}

func newLines(r io.Reader) *lines { return &lines{r: bufio.NewReaderSize(r, audit.MaxLine)} }

// next gives the next line without its end, good until the call after. A line that is longer than any record comes as its
// beginning. At the end of the file it gives what is there of a line, whole false and [io.EOF].
func (l *lines) next() (line []byte, whole bool, err error) {
	line, err = l.r.ReadSlice('\n')
	l.end += int64(len(line))
	if errors.Is(err, bufio.ErrBufferFull) {
		line = slices.Clone(line)
		for errors.Is(err, bufio.ErrBufferFull) {
			var more []byte
			more, err = l.r.ReadSlice('\n')
			l.end += int64(len(more))
		}
		return line, err == nil, err
	}
	if err != nil {
		return line, false, err
	}
	return line[:len(line)-1], true, nil
}

// failed gives an error of this package its form.
func failed(op, path string, err error) error {
	return &peer.Error{Op: op, Path: path, Kind: peer.KindOf(err), Err: err}
}

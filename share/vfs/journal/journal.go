// Package journal keeps on this computer's disk what was written and waits for its owner: a staging file for each, and one log
// that says what they are. After a crash of the daemon, at whatever moment, all that was in the log is still to be delivered;
// after a crash of the computer all that was synced is, and nothing of which bytes were lost.
package journal

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// The names in the journal's folder.
const (
	logName = "log"
	newName = "log.new"
	prefix  = "staged-"
	left    = "left-" // a staging file of which the log was damaged
)

// magic begins the log.
const magic = "peerd journal 1\n"

// compactAt is how long the log may be, in bytes, before what it says of items that wait no more is dropped.
const compactAt = 4 << 20

// Of the files that others wrote, who syncs one makes so many last as well, and so many bytes.
const (
	syncFiles = 64
	syncBytes = 16 << 20
)

// Journal is a folder with what waits. It is safe for concurrent use.
type Journal struct {
	dir string
	log *slog.Logger
	cut []Cut

	syncing sync.Mutex // held while staging files are synced; before mu

	mu    sync.Mutex
	file  *os.File
	size  int64 // of the log
	limit int64 // of the log, when it is written anew
	items map[uint64]Item
	loose map[uint64]bool // items that were set since the last Sync
	last  uint64
	bad   error // the log can't be written any more
}

// Open opens the journal in a folder, which it makes if it is not there, and tells what waits there, oldest first, but for what
// [Journal.Cut] tells of. Staging files that the log does not name are removed: they were neither closed nor synced. Where the log is
// damaged, what makes sense of it is believed, and those files are kept.
func Open(dir string, log *slog.Logger) (*Journal, []Item, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	j := &Journal{dir: dir, log: log, items: make(map[uint64]Item), loose: make(map[uint64]bool)}
	damaged, err := j.replay()
	if err != nil {
		return nil, nil, err
	}
	if err := j.sweep(damaged); err != nil {
		return nil, nil, err
	}
	if err := j.compact(); err != nil { // until then the log says that it is damaged
		return nil, nil, err
	}
	items := slices.SortedFunc(maps.Values(j.items), func(a, b Item) int { return cmp.Compare(a.ID, b.ID) })
	items = slices.DeleteFunc(items, func(it Item) bool {
		return slices.ContainsFunc(j.cut, func(c Cut) bool { return c.ID == it.ID })
	})
	return j, items, nil
}

// replay reads what makes sense of the log. damaged says that there was more than a last record that was
// not finished.
func (j *Journal) replay() (damaged bool, err error) {
	b, err := os.ReadFile(filepath.Join(j.dir, logName))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	rest, ok := bytes.CutPrefix(b, []byte(magic))
	if !ok && len(b) > 0 && !strings.HasPrefix(magic, string(b)) {
		return false, errors.New("the journal was written by another version of peerd")
	}
	for len(rest) > 0 {
		it, done, behind, err := parse(rest)
		if err != nil {
			bad := next(rest)
			if damaged = damaged || bad < len(rest) || !torn(rest); damaged {
				j.log.Error("the journal is damaged", "at", len(b)-len(rest), "bytes", bad)
			} else {
				j.log.Warn("the journal ends in a record that was not finished", "at", len(b)-len(rest), "bytes", bad)
			}
			rest = rest[bad:]
			continue
		}
		rest = behind
		if j.last = max(j.last, it.ID); done {
			delete(j.items, it.ID)
		} else {
			j.items[it.ID] = it
		}
	}
	return damaged, nil
}

// compact writes the log anew. The caller holds mu, or nobody else has the journal.
func (j *Journal) compact() error {
	b := []byte(magic)
	for _, id := range slices.Sorted(maps.Keys(j.items)) {
		b = appendRecord(b, j.items[id], false)
	}
	name := filepath.Join(j.dir, newName)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(name, filepath.Join(j.dir, logName))
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if j.file != nil {
		_ = j.file.Close()
	}
	j.file, j.size, j.limit = f, int64(len(b)), max(compactAt, 4*int64(len(b)))
	return syncDir(j.dir)
}

// syncDir makes the names in a folder last, where the system can.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer d.Close()
	_ = d.Sync()
	return nil
}

// sweep removes the staging files that nothing is known of, or with keep gives them another name if there is something in them.
func (j *Journal) sweep(keep bool) error {
	entries, err := os.ReadDir(j.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		kind, text, _ := strings.Cut(e.Name(), "-")
		id, err := strconv.ParseUint(text, 16, 64)
		if kind += "-"; err != nil || kind != prefix && kind != left {
			continue
		}
		j.last = max(j.last, id)
		name := filepath.Join(j.dir, e.Name())
		if kind == prefix {
			if _, waits := j.items[id]; waits {
				continue
			}
			if st, err := e.Info(); !keep || err == nil && st.Size() == 0 {
				_ = os.Remove(name)
				continue
			}
			to := filepath.Join(j.dir, left+text)
			if err := os.Rename(name, to); err != nil {
				return err
			}
			name = to
		}
		if st, err := os.Stat(name); err == nil {
			j.log.Error("what was written is not delivered: the journal was damaged", "left", name, "bytes", st.Size())
			j.cut = append(j.cut, Cut{Item{ID: id, Size: st.Size(), Since: st.ModTime()}, name})
		}
	}
	for id, it := range j.items {
		log := j.log.With("peer", it.Peer, "share", it.Share, "path", it.Path)
		switch st, err := os.Stat(j.name(id)); {
		case err != nil:
			log.Error("what was written is lost: its staging file is gone")
			delete(j.items, id)
		case st.Size() < it.end():
			log.Error("what was written is not delivered: its end is lost", "left", j.name(id), "bytes", st.Size(), "of", it.end())
			j.cut = append(j.cut, Cut{it, j.name(id)})
		}
	}
	return nil
}

// Cut is what Open found shorter than it was written, as a power loss leaves what was not synced: it is not to be taken for the file. So
// is what a damaged log does not tell of, which has no Path. It is found again for as long as its file is there.
func (j *Journal) Cut() []Cut { return j.cut }

func (j *Journal) name(id uint64) string {
	return filepath.Join(j.dir, prefix+strconv.FormatUint(id, 16))
}

// Set says that an item waits, and as what. The staging file of its ID is there. Those instead of which it does wait no more: it is
// said in one go, so that no crash leaves neither, and an error leaves all as it was.
func (j *Journal) Set(it Item, instead ...uint64) error {
	if len(it.Written) > MaxWritten {
		return errors.New("it was written in too many parts")
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	b := appendRecord(nil, it, false)
	for _, id := range instead {
		b = appendRecord(b, Item{ID: id}, true)
	}
	if err := j.append(b); err != nil {
		return err
	}
	it.Written = slices.Clone(it.Written)
	j.items[it.ID], j.loose[it.ID] = it, true
	for _, id := range instead {
		j.drop(id)
	}
	j.shorten()
	return nil
}

// Done says that an item waits no more. Its staging file is the caller's.
func (j *Journal) Done(id uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, ok := j.items[id]; !ok {
		return nil
	}
	j.drop(id)
	if err := j.append(appendRecord(nil, Item{ID: id}, true)); err != nil {
		return err
	}
	j.shorten()
	return nil
}

func (j *Journal) drop(id uint64) {
	delete(j.items, id)
	delete(j.loose, id)
}

// append writes records in one go. If they were not all written they are cut off, or the next would be lost with them. The caller
// holds mu.
func (j *Journal) append(b []byte) error {
	if j.bad != nil {
		return j.bad
	}
	if n, err := j.file.Write(b); err != nil {
		if n > 0 {
			if _, e := j.file.Seek(j.size, io.SeekStart); e != nil || j.file.Truncate(j.size) != nil {
				j.bad = err
			}
		}
		return err
	}
	j.size += int64(len(b))
	return nil
}

// shorten writes the log anew when it is long. The caller holds mu.
func (j *Journal) shorten() {
	if j.size <= j.limit {
		return
	}
	if err := j.compact(); err != nil {
		j.log.Warn("the journal can't be made shorter", "err", err)
		j.limit = 2 * j.size
	}
}

// Sync makes what the log says last, for who has synced the staging file of an item. Those of others that the log tells of since come
// first, or a power loss would leave what it says of bytes that are not there. They may be more than who syncs one file can wait
// for: what is left is written by the system within a minute, and else not delivered, see [Journal.Cut].
func (j *Journal) Sync(id uint64) error {
	j.syncing.Lock()
	for _, other := range j.takeLoose(id) {
		s := j.Staged(other)
		if err := s.Sync(); err != nil && !errors.Is(err, os.ErrNotExist) { // it may have been delivered meanwhile
			j.log.Warn("what was written can't be made to last", "file", s.name, "err", err)
		}
		s.Rest()
	}
	j.syncing.Unlock()
	j.mu.Lock()
	f := j.file
	j.mu.Unlock()
	err := f.Sync()
	if errors.Is(err, os.ErrClosed) { // it was written anew meanwhile, and that lasts
		return nil
	}
	return err
}

// takeLoose gives the newest of the items that were set since it was called last, but for one.
func (j *Journal) takeLoose(but uint64) (ids []uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.loose, but)
	total := int64(0)
	for _, id := range slices.Backward(slices.Sorted(maps.Keys(j.loose))) {
		if n := j.items[id].Written.Len(); total+n <= syncBytes && len(ids) < syncFiles {
			ids, total = append(ids, id), total+n
		}
	}
	clear(j.loose)
	return ids
}

// Close closes the log. What waits stays.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.file.Close()
}

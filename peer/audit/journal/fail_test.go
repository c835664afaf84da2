package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/audit"
)

// faulty is a disk that is full beyond some bytes, or fails as it is told to.
type faulty struct {
	disk

	mu     sync.Mutex
	room   int // bytes; negative: no end
	fails  map[string]error
	synced bool // the head that was put last
}

type faultyFile struct {
	logFile
	d *faulty
}

func (d *faulty) set(room int, fails map[string]error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room, d.fails = room, fails
}

func (d *faulty) fail(op string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fails[op]
}

// take gives how many of n bytes there is room for.
func (d *faulty) take(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.room < 0 {
		return n
	}
	n = min(n, d.room)
	d.room -= n
	return n
}

func (d *faulty) open(name string) (logFile, error) {
	if err := d.fail("open"); err != nil {
		return nil, err
	}
	f, err := d.disk.open(name)
	return &faultyFile{f, d}, err
}

func (d *faulty) putHead(b []byte, sync bool) error {
	if err := d.fail("head"); err != nil {
		return err
	}
	d.mu.Lock()
	d.synced = sync
	d.mu.Unlock()
	return d.disk.putHead(b, sync)
}

func (d *faulty) remove(name string) error {
	if err := d.fail("remove"); err != nil {
		return err
	}
	return d.disk.remove(name)
}

func (f *faultyFile) Write(b []byte) (int, error) {
	n := f.d.take(len(b))
	n, err := f.logFile.Write(b[:n])
	if err == nil && n < len(b) {
		err = syscall.ENOSPC
	}
	return n, err
}

func (f *faultyFile) Sync() error { return errors.Join(f.d.fail("sync"), f.logFile.Sync()) }

func (f *faultyFile) Truncate(size int64) error {
	if err := f.d.fail("truncate"); err != nil {
		return err
	}
	return f.logFile.Truncate(size)
}

func TestFailing(t *testing.T) {
	tests := []struct {
		name  string
		room  int
		fails map[string]error
		cause error
	}{
		{"full", 0, nil, syscall.ENOSPC},
		{"full within a record", 1000, nil, syscall.ENOSPC},
		{"full, and what was written of a record stays", 1000, map[string]error{"truncate": syscall.ENOSPC}, syscall.ENOSPC},
		{"the head can't be written", -1, map[string]error{"head": syscall.EIO}, syscall.EIO},
		{"nothing can be made to last", -1, map[string]error{"sync": syscall.EIO}, syscall.EIO},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := scratch(t)
			synctest.Test(t, func(t *testing.T) { testFailing(t, dir, tt.room, tt.fails, tt.cause) })
			verified(t, dir)
		})
	}
}

// testFailing has a log fail, events come meanwhile, more than it keeps, and the fault go away.
func testFailing(t *testing.T, dir string, room int, fails map[string]error, cause error) {
	d := &faulty{room: -1}
	opt := small()
	opt.Queue = 20
	l, err := open(dir, keyOf(t, 1), opt, func(real disk) disk { d.disk = real; return d })
	must(t, err)
	for i := range 15 {
		l.Add(event(t, i))
	}
	must(t, l.Flush(t.Context()))
	must(t, l.Err())

	d.set(room, fails)
	for i := range 15 { // so that a checkpoint is due
		l.Add(event(t, i))
	}
	before := time.Now()
	if err := l.Flush(t.Context()); !errors.Is(err, cause) {
		t.Fatalf("a flush to a faulty disk: %v", err)
	}
	time.Sleep(time.Minute)
	since, err := l.Failing()
	var e *peer.Error
	if !errors.As(err, &e) || e.Op == "" || e.Path != dir || !errors.Is(err, cause) || !since.Equal(before) {
		t.Errorf("it fails since %v (now %v) with %v", since, before, err)
	}
	start := time.Now()
	for i := range 100 {
		l.Add(event(t, i))
	}
	if d := time.Since(start); d > 0 {
		t.Errorf("a log that fails made its users wait %v", d)
	}
	if _, err := l.Verify(t.Context()); err != nil && fails["head"] == nil {
		t.Errorf("meanwhile: %v", err)
	}

	d.set(-1, nil)
	time.Sleep(2 * retryEvery)
	synctest.Wait()
	if err := l.Err(); err != nil {
		t.Errorf("it still fails: %v", err)
	}
	l.Add(event(t, 0))
	must(t, l.Close())
	rep := verified(t, dir)
	got := read(t, dir, Filter{})
	if n := uint64(len(only(got, audit.KindRead))); n+rep.Dropped != 131 || rep.Dropped == 0 {
		t.Errorf("%d are recorded and %d dropped, of 131", n, rep.Dropped)
	}
	told := only(got, audit.KindDropped)
	if len(told) != 1 || told[0].Count != rep.Dropped || !told[0].First.Equal(start) || told[0].Why == "" {
		t.Errorf("the log tells %+v", told)
	}
	if len(only(got, audit.KindRecovered)) > 0 {
		t.Error("it recovered from nothing")
	}
}

// TestCrashWhileFailing ends a run whose disk was full up to the end.
func TestCrashWhileFailing(t *testing.T) {
	dir := filepath.Join(scratch(t), "log")
	d := &faulty{room: 3000, fails: map[string]error{"truncate": syscall.EIO}}
	l, err := open(dir, keyOf(t, 1), small(), func(real disk) disk { d.disk = real; return d })
	must(t, err)
	for i := range 20 {
		l.Add(event(t, i))
		_ = l.Flush(t.Context())
	}
	if err := l.Close(); !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EIO) {
		t.Errorf("closing it: %v", err)
	}
	if rep := verified(t, dir); rep.Torn == 0 {
		t.Errorf("the report is %+v", rep)
	}
	write(t, dir, small(), 0, 5)
	if rep := verified(t, dir); rep.Lost != 0 || rep.Torn != 0 {
		t.Errorf("the report is %+v", rep)
	}
}

// TestOldFileStays has a file that can't be removed, as one that somebody holds open on Windows.
func TestOldFileStays(t *testing.T) {
	dir := scratch(t)
	d := &faulty{room: -1, fails: map[string]error{"remove": syscall.EBUSY}}
	l, err := open(dir, keyOf(t, 1), small(), func(real disk) disk { d.disk = real; return d })
	must(t, err)
	grow := func() {
		for i := range 150 {
			l.Add(event(t, i))
			must(t, l.Flush(t.Context()))
		}
	}
	grow()
	verified(t, dir)
	if n := len(logFiles(t, dir)); n <= small().Files {
		t.Errorf("there are %d files", n)
	}
	// It may go at any moment, also while it is looked for, and is not missed.
	must(t, os.Truncate(logFiles(t, dir)[0], 10))
	verified(t, dir)
	must(t, os.Remove(logFiles(t, dir)[0]))
	verified(t, dir)
	d.set(-1, nil)
	grow()
	must(t, l.Close())
	verified(t, dir)
	if n := len(logFiles(t, dir)); n != small().Files {
		t.Errorf("there are %d files", n)
	}
}

// TestStartOnFullDisk opens a log where nothing can be written yet.
func TestStartOnFullDisk(t *testing.T) {
	for _, op := range []string{"open", "head"} {
		dir := scratch(t)
		synctest.Test(t, func(t *testing.T) {
			d := &faulty{room: -1, fails: map[string]error{op: syscall.EROFS}}
			l, err := open(dir, keyOf(t, 1), small(), func(real disk) disk { d.disk = real; return d })
			must(t, err)
			l.Add(event(t, 0))
			if err := l.Flush(t.Context()); !errors.Is(err, syscall.EROFS) {
				t.Errorf("%s fails: %v", op, err)
			}
			if files := logFiles(t, dir); len(files) > 0 {
				t.Errorf("%s fails, and there are %v: files without a head are a finding", op, files)
			}
			d.set(-1, nil)
			time.Sleep(2 * retryEvery)
			synctest.Wait()
			must(t, l.Err())
			must(t, l.Close())
		})
		if got := fmt.Sprint(kinds(read(t, dir, Filter{}))); got != "[read audit.checkpoint]" {
			t.Errorf("%s failed at first, and there are %v", op, got)
		}
		verified(t, dir)
	}
}

// TestHeadIsOwed has the head fail when it is to be made to last: writing it once more is not enough.
func TestHeadIsOwed(t *testing.T) {
	d := &faulty{room: -1}
	l, err := open(scratch(t), keyOf(t, 1), small(), func(real disk) disk { d.disk = real; return d })
	must(t, err)
	must(t, l.Close())
	real, err := openFolder(l.dir, true)
	must(t, err)
	d.disk = real
	w := newWriter(d, keyOf(t, 1), state{next: 1, floor: 1}, true, l.opt)
	w.add(event(t, 0), time.Now())
	must(t, w.write())
	d.set(-1, map[string]error{"head": syscall.EIO})
	if err := w.sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("a head that can't be written: %v", err)
	}
	d.set(-1, nil)
	must(t, w.write())
	must(t, w.sync())
	if !d.synced {
		t.Error("the head was not made to last")
	}
	must(t, w.close())
}

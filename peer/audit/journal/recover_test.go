package journal

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/audit"
)

// crashed is a log as a run that was killed leaves it: synced records are safe on the disk, unsynced ones came after.
func crashed(t *testing.T, synced, unsynced int) string {
	t.Helper()
	dir := filepath.Join(scratch(t), "log")
	opt := small()
	opt.CheckpointRecords, opt.FileSize = 1000, 1<<20
	l := opened(t, dir, opt)
	for i := range synced {
		l.Add(event(t, i))
	}
	must(t, l.Close())
	l = opened(t, dir, opt)
	for i := range unsynced {
		l.Add(event(t, i))
		must(t, l.Flush(t.Context()))
	}
	image := copied(t, dir)
	must(t, l.Close())
	return image
}

// shorten takes lines off the end of the newest file, and then leaves some bytes of the last of them.
func shorten(t *testing.T, dir string, lines, leave int) {
	t.Helper()
	files := logFiles(t, dir)
	file := files[len(files)-1]
	all := linesOf(t, file)
	cut := all[len(all)-lines:]
	all = all[:len(all)-lines]
	if leave > 0 {
		all = append(all, cut[0][:leave])
	}
	putLines(t, file, all)
}

func TestRecovery(t *testing.T) {
	tests := []struct {
		name   string
		spoil  func(t *testing.T, dir string)
		boot   string
		result string // of the record that tells, or "" if there is none
		lost   uint64
		torn   bool
		how    audit.How // what Verify finds afterwards
	}{
		{"killed between writes", func(*testing.T, string) {}, "one", "", 0, false, ""},
		{"killed within a write", func(t *testing.T, dir string) {
			files := logFiles(t, dir)
			file := files[len(files)-1]
			putLines(t, file, append(linesOf(t, file), `{"seq":47,"ti`))
		}, "one", audit.OK, 0, true, ""},
		{"power was lost", func(t *testing.T, dir string) { shorten(t, dir, 3, 0) }, "two", audit.OK, 3, false, ""},
		{"power was lost within a record", func(t *testing.T, dir string) { shorten(t, dir, 3, 100) }, "two", audit.OK, 3, true, ""},
		{"power was lost, and parts were never written", func(t *testing.T, dir string) {
			files := logFiles(t, dir)
			file := files[len(files)-1]
			all := linesOf(t, file)
			all[len(all)-4] = strings.Repeat("\x00", len(all[len(all)-4]))
			putLines(t, file, all)
		}, "two", audit.OK, 4, true, ""},
		{"power was lost, and one record is of before", func(t *testing.T, dir string) {
			files := logFiles(t, dir)
			file := files[len(files)-1]
			all := linesOf(t, file)
			all[len(all)-3] = all[3]
			putLines(t, file, all)
		}, "two", audit.OK, 3, true, ""},
		{"nobody knows whether power was lost", func(t *testing.T, dir string) { shorten(t, dir, 3, 0) }, " ", audit.OK, 3, false, ""},
		{"cut off without a restart", func(t *testing.T, dir string) { shorten(t, dir, 3, 0) }, "one", peer.Integrity.String(), 3, false, audit.Truncated},
		{"cut off beyond what is safe", func(t *testing.T, dir string) { shorten(t, dir, 7, 0) }, "two", peer.Integrity.String(), 7, false, audit.Truncated},
		{"the end exchanged", func(t *testing.T, dir string) {
			files := logFiles(t, dir)
			file := files[len(files)-1]
			all := linesOf(t, file)
			all[len(all)-1] = strings.Replace(all[len(all)-1], `"path":"a`, `"path":"b`, 1)
			putLines(t, file, all)
		}, "two", peer.Integrity.String(), 0, false, audit.Changed},
		{"the head removed", func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, headName))) }, "two",
			peer.Integrity.String(), 0, false, audit.Changed},
		{"the newest file emptied", func(t *testing.T, dir string) {
			files := logFiles(t, dir)
			must(t, os.Truncate(files[len(files)-1], 0))
		}, "two", peer.Integrity.String(), 46, false, audit.Removed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := crashed(t, 40, 5) // and a checkpoint
			tt.spoil(t, dir)
			opt := small()
			opt.Boot = tt.boot
			write(t, dir, opt, 0, 30)
			told := only(read(t, dir, Filter{}), audit.KindRecovered)
			switch {
			case tt.result == "" && len(told) == 0:
			case len(told) != 1 || told[0].Result != tt.result || told[0].Count != tt.lost || told[0].Why == "":
				t.Errorf("the log tells %+v", told)
			case tt.torn != (told[0].Bytes > 0):
				t.Errorf("%d bytes are torn", told[0].Bytes)
			}
			aside, err := filepath.Glob(filepath.Join(dir, tornName+"*"))
			must(t, err)
			if tt.torn != (len(aside) == 1) {
				t.Errorf("set aside is %v", aside)
			}
			if tt.how != "" {
				if b := brokenBy(t, dir); b.How != tt.how {
					t.Errorf("Verify finds %v", b)
				}
				return
			}
			if rep := verified(t, dir); rep.Lost != tt.lost {
				t.Errorf("the report is %+v", rep)
			}
			if got := len(read(t, dir, Filter{Kinds: []audit.Kind{audit.KindRead}})); uint64(got) != 75-tt.lost {
				t.Errorf("%d events are left", got)
			}
			write(t, dir, opt, 0, 1)
			if got := only(read(t, dir, Filter{}), audit.KindRecovered); len(got) != len(told) {
				t.Errorf("it is told again: %+v", got)
			}
		})
	}
}

// TestLostAnywhere cuts the files of a run that lost power at every byte behind what was safe.
func TestLostAnywhere(t *testing.T) {
	image := crashed(t, 3, 3)
	files := logFiles(t, image)
	file := filepath.Base(files[len(files)-1])
	all := linesOf(t, filepath.Join(image, file))
	safe := len(strings.Join(all[:4], ""))
	size := len(strings.Join(all, ""))
	opt := small()
	opt.Boot = "two"
	rnd := rand.New(rand.NewPCG(1, 2))
	for at := safe; at <= size; at += 1 + rnd.IntN(40) {
		dir := copied(t, image)
		must(t, os.Truncate(filepath.Join(dir, file), int64(at)))
		write(t, dir, opt, 0, 1)
		verified(t, dir)
	}
}

// TestAsideIsBounded tears the log again and again.
func TestAsideIsBounded(t *testing.T) {
	dir := crashed(t, 3, 0)
	for range 2 * maxTorn {
		files := logFiles(t, dir)
		f, err := os.OpenFile(files[len(files)-1], os.O_WRONLY|os.O_APPEND, 0)
		must(t, err)
		_, err = f.WriteString("torn")
		must(t, err)
		must(t, f.Close())
		write(t, dir, small(), 0, 1)
	}
	verified(t, dir)
	aside, err := filepath.Glob(filepath.Join(dir, tornName+"*"))
	must(t, err)
	if len(aside) != maxTorn {
		t.Errorf("%d files are set aside", len(aside))
	}
}

// childDir is set in the process that [TestKilled] kills.
const childDir = "PEERD_AUDIT_CHILD"

// TestKilled kills a process that writes a log, at random moments, and starts it again on the same log.
func TestKilled(t *testing.T) {
	if dir := os.Getenv(childDir); dir != "" {
		opt := small()
		opt.Boot, opt.FlushEvery, opt.Window = "", time.Millisecond, 10*time.Millisecond
		l := opened(t, dir, opt)
		for i := 0; ; i++ {
			e := event(t, i)
			if i%3 == 0 {
				e.Kind, e.Result = audit.KindRefused, peer.Denied.String()
			}
			l.Add(e)
			if i%50 == 0 {
				must(t, l.Flush(t.Context()))
				fmt.Println("alive")
			}
		}
	}
	dir := filepath.Join(scratch(t), "log")
	rnd := rand.New(rand.NewPCG(7, 7))
	rounds := 25
	if testing.Short() {
		rounds = 5
	}
	var told int
	for round := range rounds {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		_, err = out.Read(make([]byte, 1)) // it writes by now
		must(t, err)
		time.Sleep(time.Duration(rnd.IntN(20)) * time.Millisecond) // any moment will do
		must(t, cmd.Process.Kill())
		_ = cmd.Wait()
		l := opened(t, dir, Options{FileSize: 8 << 10, Files: 4})
		must(t, l.Close())
		rep := verified(t, dir)
		if rep.Lost > 0 {
			t.Fatalf("round %d lost %d records that were written", round, rep.Lost)
		}
		told += len(only(read(t, dir, Filter{}), audit.KindRecovered))
	}
	t.Logf("%d times a run is told to have been cut short, in what is left", told)
}

// TestUnreadable opens a folder that is a file.
func TestUnreadable(t *testing.T) {
	path := filepath.Join(scratch(t), "file")
	must(t, os.WriteFile(path, nil, 0o600))
	if _, err := Open(path, keyOf(t, 1), Options{}); err == nil {
		t.Error("it opens")
	}
	dir := scratch(t)
	must(t, os.Mkdir(filepath.Join(dir, fileName(1)), 0o700))
	if l, err := Open(dir, keyOf(t, 1), Options{}); err == nil {
		must(t, l.Close())
		t.Error("a folder in a file's place is read")
	}
	for _, err := range Read(t.Context(), filepath.Join(dir, "none"), Filter{}) {
		if peer.KindOf(err) != peer.NotFound {
			t.Errorf("reading what is not there: %v", err)
		}
	}
}

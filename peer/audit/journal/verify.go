package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/audit"
)

// Verify goes through the log in a folder, of the peer with this key, which may be writing to it. An error of kind
// [peer.Integrity] has an [audit.Break] as its cause, and the report tells of what comes before that; one of kind
// [peer.NotFound] says that there is no log.
func Verify(dir string, pub crypto.PubKey) (audit.Report, error) {
	return verify(context.Background(), dir, pub, audit.Mark{})
}

// verify expects the log to have a record, unless it is zero.
func verify(ctx context.Context, dir string, pub crypto.PubKey, known audit.Mark) (audit.Report, error) {
	d, err := openFolder(dir, false)
	if err != nil {
		return audit.Report{}, failed("verify audit", dir, err)
	}
	defer d.close()
	for try := 0; ; try++ {
		v := verifier{d: d, c: audit.NewChecker(pub, audit.Head{}, known)}
		err := v.verify(ctx, pub, known)
		var b *audit.Break
		if err == nil || !errors.As(err, &b) {
			if err != nil {
				err = failed("verify audit", dir, err)
			}
			return v.report(), err
		}
		// The writer may have removed a file while it was looked for.
		if now, err := d.readHead(pub); try == 8 || err != nil || now.Floor == v.head.Floor {
			return v.report(), &peer.Error{Op: "verify audit", Path: dir, Kind: peer.Integrity, Err: b,
				Hint: "keep a copy of the folder before anything else is done with it"}
		}
	}
}

// verifier reads what a checker judges.
type verifier struct {
	d    *folder
	head audit.Head
	c    *audit.Checker
	b    *audit.Break // the first

	files int
	torn  int64
}

func (v *verifier) report() audit.Report {
	rep := v.c.Report()
	rep.Files, rep.Torn = v.files, v.torn
	return rep
}

func (v *verifier) verify(ctx context.Context, pub crypto.PubKey, known audit.Mark) error {
	head, headErr := v.d.readHead(pub) // before the files: what it says is in them
	files, err := v.d.files()
	if err != nil {
		return err
	}
	if headErr != nil {
		return v.headless(headErr, len(files) > 0 || known.Seq > 0)
	}
	for len(files) > 1 && files[1] <= head.Floor {
		files = files[1:] // it is about to be removed, if it is still there
	}
	v.files, v.head, v.c = len(files), head, audit.NewChecker(pub, head, known)
	for i, first := range files {
		if err := v.file(ctx, first, i == len(files)-1); err != nil {
			return err
		}
	}
	if v.b != nil {
		return v.b
	}
	if b := v.c.Finish(); b != nil {
		b.File = headName
		if len(files) > 0 {
			b.File = fileName(files[len(files)-1])
		}
		return b
	}
	return nil
}

func (v *verifier) headless(err error, isLog bool) error {
	switch {
	case !errors.Is(err, fs.ErrNotExist):
		return &audit.Break{File: headName, How: audit.Changed, Why: err.Error()}
	case isLog:
		return &audit.Break{File: headName, How: audit.Removed, Why: "nothing says where the log ends"}
	}
	return err
}

// file reads one file. Once something is wrong it only looks whether the record that is missing comes later.
func (v *verifier) file(ctx context.Context, first uint64, newest bool) error {
	name := fileName(first)
	f, err := v.d.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		v.found(&audit.Break{File: name, Seq: first, How: audit.Removed, Why: "the file was there a moment ago"}, name, 0)
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	l := newLines(f)
	for n := 1; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		line, whole, err := l.next()
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if whole {
			v.line(line, name, n, first)
			continue
		}
		v.end(name, n, len(line), newest)
		return nil
	}
}

func (v *verifier) line(line []byte, name string, n int, first uint64) {
	if v.b != nil {
		if seq, ok := audit.SeqOf(line); ok && v.b.How == audit.Removed && seq == v.b.Seq {
			v.b.How = audit.Reordered
		}
		return
	}
	v.found(v.c.Line(line), name, n)
	if v.b == nil && n == 1 && v.c.Report().Last != first {
		v.found(&audit.Break{Seq: v.c.Report().Last, How: audit.Changed, Why: fmt.Sprintf("the file's name promises record %d", first)}, name, n)
	}
}

// end judges what is left of a file: only the newest may be empty or end with half a record.
func (v *verifier) end(name string, n, left int, newest bool) {
	switch {
	case newest:
		v.torn = int64(left)
	case left > 0:
		v.found(&audit.Break{Seq: v.c.Report().Last + 1, How: audit.Truncated, Why: "the file ends within it"}, name, n)
	case n == 1:
		v.found(&audit.Break{Seq: v.c.Report().Last + 1, How: audit.Truncated, Why: "the file is empty"}, name, 0)
	}
}

// found keeps the first break.
func (v *verifier) found(b *audit.Break, name string, n int) {
	if b != nil && v.b == nil {
		b.File, b.Line = name, n
		v.b = b
	}
}

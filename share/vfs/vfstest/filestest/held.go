package filestest

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
)

func (x *held) open(name string, flag int) Handle {
	x.Helper()
	f, err := x.h.Open(name, flag)
	x.ok(err)
	x.Cleanup(func() { _ = f.Close() })
	return f
}

// reads checks what an open file holds.
func (x *held) reads(f Handle, want string) {
	x.Helper()
	b := make([]byte, len(want)+10)
	n, err := f.ReadAt(b, 0)
	if string(b[:n]) != want || err != io.EOF {
		x.Fatalf("the open file holds %.60q (%d bytes), %v; want %.60q", b[:n], n, err, want)
	}
}

func (x *held) writeAt(f Handle, data string, off int64) {
	x.Helper()
	if n, err := f.WriteAt([]byte(data), off); err != nil || n != len(data) {
		x.Fatalf("%d bytes written, %v", n, err)
	}
}

func testWriteAt(x *held) {
	x.write("f", "0123456789")
	f := x.open("f", os.O_RDWR)
	x.writeAt(f, "abc", 3)
	x.reads(f, "012abc6789")
	x.writeAt(f, "XY", 9)
	x.reads(f, "012abc678XY")
	x.ok(f.Close())
	x.holds("f", "012abc678XY")
}

func testAppend(x *held) {
	x.write("f", "begin")
	f := x.open("f", os.O_WRONLY|os.O_APPEND)
	for _, s := range []string{" one", " two"} {
		_, err := f.Write([]byte(s))
		x.ok(err)
	}
	x.ok(f.Close())
	x.holds("f", "begin one two")
	f = x.open("new", os.O_WRONLY|os.O_APPEND|os.O_CREATE)
	_, err := f.Write([]byte("first"))
	x.ok(err)
	x.ok(f.Close())
	x.holds("new", "first")
}

func testTruncate(x *held) {
	x.write("f", "0123456789")
	x.ok(x.h.Truncate("f", 4))
	x.holds("f", "0123")
	x.ok(x.h.Truncate("f", 6))
	x.holds("f", "0123\x00\x00")
	f := x.open("f", os.O_RDWR)
	x.ok(f.Truncate(2))
	x.reads(f, "01")
	x.writeAt(f, "z", 5)
	x.reads(f, "01\x00\x00\x00z")
	x.ok(f.Close())
	x.holds("f", "01\x00\x00\x00z")
}

func testOpenTruncate(x *held) {
	x.write("f", "something long")
	f := x.open("f", os.O_WRONLY|os.O_TRUNC)
	i, err := x.Stat("f")
	if err != nil || i.Size != 0 {
		x.Fatalf("%+v, %v", i, err)
	}
	_, err = f.Write([]byte("short"))
	x.ok(err)
	x.ok(f.Close())
	x.holds("f", "short")
	x.ok(x.open("f", os.O_WRONLY|os.O_TRUNC).Close())
	x.holds("f", "")
}

func testOpenSurvivesRename(x *held) {
	x.write("f", "one")
	f := x.open("f", os.O_RDWR)
	x.ok(x.Rename("f", "g"))
	x.reads(f, "one")
	x.writeAt(f, "two!", 0)
	x.ok(f.Close())
	x.holds("g", "two!")
	x.gone("f")
}

func testOpenSurvivesRemove(x *held) {
	x.write("f", "still here")
	f := x.open("f", os.O_RDWR)
	x.ok(x.Remove("f"))
	x.gone("f")
	x.reads(f, "still here")
	x.writeAt(f, "w", 0)
	x.reads(f, "wtill here")
	x.write("f", "another")
	x.ok(f.Close())
	x.holds("f", "another")
	g := x.open("scratch", os.O_RDWR|os.O_CREATE|os.O_EXCL)
	x.writeAt(g, "abc", 0)
	x.ok(x.Remove("scratch"))
	x.reads(g, "abc")
	x.ok(g.Close())
	x.names("", "f")
}

func testOpenSurvivesRenameOver(x *held) {
	x.write("f", "old")
	f := x.open("f", os.O_RDONLY)
	x.reads(f, "old")
	x.write("t", "new one")
	x.ok(x.Rename("t", "f"))
	x.reads(f, "old")
	x.holds("f", "new one")
	x.ok(f.Close())
}

func testTwoHandles(x *held) {
	x.write("f", "aaaa")
	a, b := x.open("f", os.O_RDWR), x.open("f", os.O_RDWR)
	x.writeAt(a, "b", 1)
	x.reads(b, "abaa")
	x.writeAt(b, "c", 2)
	x.reads(a, "abca")
	x.ok(a.Close())
	x.reads(b, "abca")
	x.writeAt(b, "d", 3)
	x.ok(b.Close())
	x.holds("f", "abcd")
}

func testSync(x *held) {
	f := x.open("f", os.O_RDWR|os.O_CREATE)
	for i := range 5 {
		x.writeAt(f, fmt.Sprint(i), int64(i))
		x.ok(f.Sync())
	}
	x.holds("f", "01234")
	x.ok(f.Close())
	x.holds("f", "01234")
}

func testSparse(x *held) {
	const far = 8 << 20
	f := x.open("f", os.O_RDWR|os.O_CREATE)
	x.writeAt(f, "end", far)
	x.ok(f.Close())
	i, err := x.Stat("f")
	if err != nil || i.Size != far+3 {
		x.Fatalf("%+v, %v", i, err)
	}
	b, err := x.ReadRange("f", far-2, 100)
	if err != nil || string(b) != "\x00\x00end" {
		x.Fatalf("%q, %v", b, err)
	}
}

func testExec(x *held) {
	x.write("f", "#!/bin/sh\n")
	for _, want := range []bool{true, false, true} {
		x.ok(x.h.SetExec("f", want))
		if got, err := x.h.Exec("f"); err != nil || got != want {
			x.Fatalf("%v, %v; want %v", got, err, want)
		}
	}
	x.write("f", "#!/bin/bash\n")
	if got, err := x.h.Exec("f"); err != nil || !got {
		x.Fatalf("%v, %v after it was written", got, err)
	}
}

// testRandom does what fsx does: one file, many operations, every byte compared.
func testRandom(x *held) {
	r := rand.New(rand.NewPCG(3, 4))
	const most = 200_000
	var want []byte
	f := x.open("f", os.O_RDWR|os.O_CREATE)
	for step := range 400 {
		off, n := r.IntN(most), r.IntN(20_000)
		switch r.IntN(8) {
		case 0:
			size := r.IntN(most)
			x.ok(f.Truncate(int64(size)))
			want = append(want, make([]byte, max(0, size-len(want)))...)[:size:size]
		case 1:
			x.ok(f.Close())
			f = x.open("f", os.O_RDWR)
		case 2:
			x.ok(f.Sync())
		case 3, 4, 5:
			data := bytes.Repeat([]byte{byte(step)}, n)
			x.writeAt(f, string(data), int64(off))
			if n > 0 {
				want = append(want, make([]byte, max(0, off+n-len(want)))...)
				copy(want[off:], data)
			}
		default:
			b := make([]byte, n)
			got, err := f.ReadAt(b, int64(off))
			should := want[min(off, len(want)):min(off+n, len(want))]
			if err != nil && err != io.EOF || !bytes.Equal(b[:got], should) {
				x.Fatalf("step %d: %d bytes at %d differ: %d, %v", step, n, off, got, err)
			}
		}
	}
	x.ok(f.Close())
	x.holds("f", string(want))
}

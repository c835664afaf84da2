package mount_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/peerd/peerd/share"
)

const (
	kernelPage = 4 << 10
	partPages  = 16 // of what is pushed at once
)

// held is which pages of a file the kernel has.
func held(t *testing.T, f *os.File, size int) []byte {
	t.Helper()
	m, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(m) }()
	pages := make([]byte, (size+kernelPage-1)/kernelPage)
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m[0])), uintptr(size), uintptr(unsafe.Pointer(&pages[0]))); errno != 0 {
		t.Fatal(errno)
	}
	for i := range pages {
		pages[i] &= 1
	}
	return pages
}

// What is read here and there, a few times in the same part, the kernel has as a whole, and rightly.
func TestOftenReadIsHeld(t *testing.T) {
	if os.Getpagesize() != kernelPage {
		t.Skipf("pages of %d bytes", os.Getpagesize())
	}
	s, dir := docs(t, share.Full)
	settled(t, s, dir)
	b := make([]byte, 3*partPages*kernelPage+1234)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	s.Write("f", b)
	path := filepath.Join(dir, "f")
	eventually(t, "it is there", func() bool { i, err := os.Stat(path); return err == nil && i.Size() == int64(len(b)) })
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, kernelPage)
	read := func(pages ...int) {
		for _, page := range pages {
			if n, err := f.ReadAt(got, int64(page*kernelPage)); !bytes.HasPrefix(b[page*kernelPage:], got[:n]) || err != nil && n == kernelPage {
				t.Fatalf("page %d is wrong, %v", page, err)
			}
		}
	}
	read(3*partPages, 1)
	eventually(t, "the kernel has all of the part", func() bool {
		if slices.Contains(held(t, f, len(b))[partPages:2*partPages], 0) { // it may be too busy for the first few
			_ = unix.Fadvise(int(f.Fd()), partPages*kernelPage, partPages*kernelPage, unix.FADV_DONTNEED)
			read(partPages+9, partPages+1, partPages+14, partPages+4)
			time.Sleep(10 * time.Millisecond)
		}
		return !slices.Contains(held(t, f, len(b))[partPages:2*partPages], 0)
	})
	if n := bytes.Count(held(t, f, len(b)), []byte{1}); n > partPages+2 {
		t.Errorf("it has %d pages of which nobody read anything", n-partPages-2)
	}
	if got := look(path); got != string(b) {
		t.Error("the file is wrong")
	}
}

// Who writes reads what he wrote, while others read the same parts here and there.
func TestWritersReadTheirOwn(t *testing.T) {
	s, dir := docs(t, share.Full)
	settled(t, s, dir)
	const size = 2 * partPages * kernelPage
	s.Write("f", make([]byte, size))
	path := filepath.Join(dir, "f")
	eventually(t, "it is there", func() bool { i, err := os.Stat(path); return err == nil && i.Size() == size })
	stop := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(stop)
	wg.Go(func() { // one who reads all of it, in order
		for {
			select {
			case <-stop:
				return
			default:
				if len(look(path)) != size {
					t.Error("it can't be read")
				}
			}
		}
	})
	for range 2 {
		wg.Go(func() {
			for {
				f, err := os.Open(path)
				if err != nil {
					t.Error(err)
					return
				}
				_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM)
				b := make([]byte, kernelPage)
				for range 40 {
					select {
					case <-stop:
						_ = f.Close()
						return
					default:
						_, _ = f.ReadAt(b, rand.Int64N(size/kernelPage)*kernelPage)
					}
				}
				_ = f.Close()
			}
		})
	}
	for n, end := uint64(1), time.Now().Add(3*time.Second); time.Now().Before(end); n++ {
		if err := writeAndRead(path, rand.Int64N(size/kernelPage)*kernelPage, n); err != nil {
			t.Fatal(err)
		}
	}
}

// writeAndRead writes a number all over a page, and reads it where it wrote, and where it opens the file once more.
func writeAndRead(path string, off int64, n uint64) error {
	want, got := bytes.Repeat(binary.BigEndian.AppendUint64(nil, n), kernelPage/8), make([]byte, kernelPage)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(want, off)
	for range 3 {
		if _, e := f.ReadAt(got, off); err == nil && (e != nil || !bytes.Equal(got, want)) {
			err = fmt.Errorf("who wrote %d reads %d, %w", n, binary.BigEndian.Uint64(got), e)
		}
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	g, err := os.Open(path)
	if err != nil {
		return err
	}
	if _, e := g.ReadAt(got, off); e != nil || !bytes.Equal(got, want) {
		err = fmt.Errorf("after %d was written %d is read, %w", n, binary.BigEndian.Uint64(got), e)
	}
	return errors.Join(err, g.Close())
}

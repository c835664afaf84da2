//go:build linux || darwin

package face

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/peerd/peerd/share/mount/push"
	"github.com/peerd/peerd/share/vfs"
	"github.com/peerd/peerd/share/vfs/vfstest"
)

// opens opens a file as the kernel does, and gives its number.
func opens(t *testing.T, f *Face, ino vfs.Ino, flags uint32) uint64 {
	t.Helper()
	in, out := fuse.OpenIn{Flags: flags}, fuse.OpenOut{}
	in.NodeId, in.Pid = uint64(ino), nobodyElse
	if st := f.Open(make(chan struct{}), &in, &out); !st.Ok() {
		t.Fatal(st)
	}
	return out.Fh
}

// reads reads a page of each of the places in a file.
func reads(t *testing.T, f *Face, ino vfs.Ino, fh uint64, places ...uint64) {
	t.Helper()
	for _, off := range places {
		in := fuse.ReadIn{Fh: fh, Offset: off, Size: 4096}
		in.NodeId, in.Pid = uint64(ino), nobodyElse
		if _, st := f.Read(make(chan struct{}), &in, make([]byte, 4096)); !st.Ok() {
			t.Fatal(st)
		}
	}
	synctest.Wait()
}

// pushed is all that the kernel got.
func (k *kernel) pushed() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(k.told), func(s string) bool { return !strings.HasPrefix(s, "push ") })
}

// forget has it forget what it was told.
func (k *kernel) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.told = nil
}

const (
	readOnly  = 0
	readWrite = 2
	page      = 4096
)

// gets is what the kernel hears that gets the second part of the file of [pushing], last what it hears that gets the end, without
// the page that it ends in.
func gets(ino vfs.Ino, of string) string { return fmt.Sprintf("push %d 65536 65536 %s", ino, of) }
func last(ino vfs.Ino, of string) string { return fmt.Sprintf("push %d 131072 4096 %s", ino, of) }

// size is that of the file of [pushing]: two parts, a page, and a little more.
const size = 2*push.Part + page + 1000

// pushing runs a test with a file of letters.
func pushing(t *testing.T, test func(t *testing.T, f *Face, k *kernel, s *vfstest.Share, ino vfs.Ino)) {
	t.Helper()
	in(t, func(t *testing.T, f *Face, k *kernel, s *vfstest.Share) {
		s.Write("a/f", bytes.Repeat([]byte("x"), size))
		dir, _ := find(t, f, "a")
		list(t, f, dir)
		ino, _ := find(t, f, "a", "f")
		test(t, f, k, s, ino)
	})
}

// underWay has a push of the file under way, until over is called.
func underWay(t *testing.T, f *Face, k *kernel, ino vfs.Ino) (fh uint64, over func()) {
	t.Helper()
	lock := make(chan struct{})
	k.mu.Lock()
	k.locked[uint64(ino)] = lock
	k.mu.Unlock()
	fh = opens(t, f, ino, readOnly)
	reads(t, f, ino, fh, push.Part, push.Part, push.Part, push.Part)
	return fh, func() { close(lock) }
}

func TestPush(t *testing.T) {
	pushing(t, func(t *testing.T, f *Face, k *kernel, _ *vfstest.Share, ino vfs.Ino) {
		fh := opens(t, f, ino, readOnly)
		reads(t, f, ino, fh, push.Part, 0, push.Part+5*page, push.Part+page)
		if k.heard(gets(ino, "x")) {
			t.Fatalf("it has a part of which little was read: %q", k.told)
		}
		reads(t, f, ino, fh, push.Part+9*page)
		if !k.heard(gets(ino, "x")) {
			t.Errorf("it does not have a part that was read often: %q", k.told)
		}
		reads(t, f, ino, fh, 2*push.Part, 2*push.Part, 2*push.Part, 2*push.Part)
		if !k.heard(last(ino, "x")) || len(k.pushed()) != 2 {
			t.Errorf("it does not have the end of the file: %q", k.told)
		}
	})
}

// What is written here is in the kernel already, and must not be overwritten there with what was before.
func TestPushNotOverWriters(t *testing.T) {
	for name, open := range map[string]func(t *testing.T, f *Face, ino vfs.Ino) (fh uint64){
		"open": func(t *testing.T, f *Face, ino vfs.Ino) uint64 { return opens(t, f, ino, readWrite) },
		"create": func(t *testing.T, f *Face, ino vfs.Ino) uint64 {
			dir, _ := find(t, f, "a")
			in, out := fuse.CreateIn{Flags: readWrite}, fuse.CreateOut{}
			in.NodeId, in.Pid = uint64(dir), nobodyElse
			if st := f.Create(make(chan struct{}), &in, "f", &out); !st.Ok() || out.NodeId != uint64(ino) {
				t.Fatalf("%v, node %d", st, out.NodeId)
			}
			return out.Fh
		},
	} {
		t.Run(name, func(t *testing.T) {
			pushing(t, func(t *testing.T, f *Face, k *kernel, _ *vfstest.Share, ino vfs.Ino) {
				fh := opens(t, f, ino, readOnly)
				writer := open(t, f, ino)
				reads(t, f, ino, fh, push.Part, push.Part, push.Part, push.Part)
				reads(t, f, ino, writer, push.Part, push.Part, push.Part, push.Part)
				if len(k.pushed()) > 0 {
					t.Fatalf("it got what may be written meanwhile: %q", k.told)
				}
				in := fuse.ReleaseIn{Fh: writer}
				in.NodeId = uint64(ino)
				f.Release(make(chan struct{}), &in)
				reads(t, f, ino, fh, push.Part, push.Part, push.Part, push.Part)
				if !k.heard(gets(ino, "x")) {
					t.Errorf("it gets nothing once the writer is gone: %q", k.told)
				}
			})
		})
	}
}

// Who is to write waits for the push that is under way, and so does who makes the file shorter, or opens what are other bytes now.
func TestPushIsWaitedFor(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, f *Face, s *vfstest.Share, ino vfs.Ino){
		"open for writing": func(t *testing.T, f *Face, _ *vfstest.Share, ino vfs.Ino) { opens(t, f, ino, readWrite) },
		"shorten": func(t *testing.T, f *Face, _ *vfstest.Share, ino vfs.Ino) {
			var in fuse.SetAttrIn
			in.NodeId, in.Pid, in.Valid, in.Size = uint64(ino), nobodyElse, fuse.FATTR_SIZE, 10
			if st := f.SetAttr(make(chan struct{}), &in, &fuse.AttrOut{}); !st.Ok() {
				t.Error(st)
			}
		},
		"open what changed": func(t *testing.T, f *Face, s *vfstest.Share, ino vfs.Ino) {
			s.Write("a/f", bytes.Repeat([]byte("y"), size))
			time.Sleep(time.Second)
			opens(t, f, ino, readOnly)
		},
	} {
		t.Run(name, func(t *testing.T) {
			pushing(t, func(t *testing.T, f *Face, k *kernel, s *vfstest.Share, ino vfs.Ino) {
				fh, over := underWay(t, f, k, ino)
				done := make(chan struct{})
				go func() {
					defer close(done)
					change(t, f, s, ino)
				}()
				time.Sleep(2 * time.Second)
				select {
				case <-done:
					t.Error("it did not wait")
				default:
				}
				over()
				<-done
				synctest.Wait()
				reads(t, f, ino, fh, page)
				if !k.heard(gets(ino, "x")) {
					t.Errorf("nothing was pushed: %q", k.told)
				}
			})
		})
	}
}

// What changed while it was pushed is taken back.
func TestPushIsTakenBack(t *testing.T) {
	pushing(t, func(t *testing.T, f *Face, k *kernel, s *vfstest.Share, ino vfs.Ino) {
		fh, over := underWay(t, f, k, ino)
		s.Write("a/f", []byte("another"))
		time.Sleep(time.Second)
		over()
		time.Sleep(time.Second)
		if back := fmt.Sprintf("inode %d 65536", ino); !k.heard(gets(ino, "x")) || !k.heard(back) {
			t.Errorf("it was told %q", k.told)
		}
		k.forget()
		reads(t, f, ino, fh, 0, page, 2*page, 3*page)
		if len(k.pushed()) > 0 {
			t.Errorf("it got what the file is no more: %q", k.told)
		}
	})
}

// Who is told to stop does not wait for a push.
func TestPushCanBeLeft(t *testing.T) {
	pushing(t, func(t *testing.T, f *Face, k *kernel, _ *vfstest.Share, ino vfs.Ino) {
		fh, over := underWay(t, f, k, ino)
		stop := make(chan struct{})
		close(stop)
		in := fuse.OpenIn{Flags: readWrite}
		in.NodeId, in.Pid = uint64(ino), nobodyElse
		if st := f.Open(stop, &in, &fuse.OpenOut{}); st != fuse.EINTR {
			t.Errorf("%v", st)
		}
		over()
		synctest.Wait()
		k.forget()
		reads(t, f, ino, fh, 0, page, 2*page, 3*page)
		if len(k.pushed()) != 1 {
			t.Errorf("it counts as a writer still: %q", k.told)
		}
	})
}

// Who was told to stop while he waited to open what changed leaves it so that the next who opens it gets what it is now.
func TestPushLeftByAnOpener(t *testing.T) {
	pushing(t, func(t *testing.T, f *Face, k *kernel, s *vfstest.Share, ino vfs.Ino) {
		fh, over := underWay(t, f, k, ino)
		s.Write("a/f", bytes.Repeat([]byte("y"), size))
		time.Sleep(time.Second)
		f.Release(make(chan struct{}), &fuse.ReleaseIn{Fh: fh})
		stop := make(chan struct{})
		in := fuse.OpenIn{Flags: readOnly}
		in.NodeId, in.Pid = uint64(ino), nobodyElse
		time.AfterFunc(time.Second, func() { close(stop) })
		if st := f.Open(stop, &in, &fuse.OpenOut{}); st != fuse.EINTR {
			t.Fatalf("it did not wait: %v", st)
		}
		over()
		synctest.Wait()
		var out fuse.OpenOut
		if st := f.Open(make(chan struct{}), &in, &out); !st.Ok() || out.OpenFlags&fuse.FOPEN_KEEP_CACHE != 0 {
			t.Errorf("%v, and what it was before is kept: %x", st, out.OpenFlags)
		}
	})
}

// As long as somebody reads of two parts at once, whose pages wait for all of that, nothing is pushed.
func TestPushNotBesideLargeReads(t *testing.T) {
	pushing(t, func(t *testing.T, f *Face, k *kernel, _ *vfstest.Share, ino vfs.Ino) {
		fh := opens(t, f, ino, readOnly)
		done := f.pushes.Read(ino, fh, nil, push.Part-page, 2*page)
		reads(t, f, ino, fh, push.Part, push.Part, push.Part, push.Part)
		if len(k.pushed()) > 0 {
			t.Fatalf("it got %q", k.told)
		}
		done()
		reads(t, f, ino, fh, push.Part, push.Part, push.Part, push.Part)
		if !k.heard(gets(ino, "x")) {
			t.Errorf("it gets nothing afterwards: %q", k.told)
		}
	})
}

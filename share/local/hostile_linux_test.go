package local

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/local/tree"
	"github.com/peerd/peerd/share/sharetest"
)

// TestSwap (T20) exchanges a folder and a link, a file and a link, and a file and a pipe, a hundred thousand times while everything
// is read. The links lead out of the share, or to another place in it. It guards RESOLVE_NO_SYMLINKS and the look after the
// opening in tree.Kernel, and in tree.Root the comparison of what was seen with what was opened.
func TestSwap(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a while")
	}
	eachTree(t, func(t *testing.T, open func(string, Options) *FS) {
		t.Run("out", func(t *testing.T) { testSwap(t, open, memory(t), 100_000) })
		t.Run("inside", func(t *testing.T) { testSwap(t, open, "", 20_000) })
	})
}

func testSwap(t *testing.T, open func(string, Options) *FS, other string, swaps int) {
	dir := memory(t)
	if other == "" {
		other = filepath.Join(dir, "z") // in the share, but not what goes by the names that are asked for
		must(t, os.Mkdir(other, 0o755))
	}
	for name, content := range map[string]string{
		filepath.Join(dir, "d", "e", "f"): "good", filepath.Join(dir, "file"): "good",
		filepath.Join(other, "e", "f"): "secret", filepath.Join(other, "e", "secret"): "secret", filepath.Join(other, "file"): "secret",
	} {
		must(t, os.MkdirAll(filepath.Dir(name), 0o755))
		must(t, os.WriteFile(name, []byte(content), 0o644))
	}
	rel, err := filepath.Rel(dir, other) // an absolute link is refused for more than one reason
	must(t, err)
	must(t, os.Symlink(rel, filepath.Join(dir, "d.link")))
	must(t, os.Symlink(filepath.Join(rel, "file"), filepath.Join(dir, "file.link")))
	must(t, os.WriteFile(filepath.Join(dir, "pipe"), []byte("good"), 0o644))
	must(t, unix.Mkfifo(filepath.Join(dir, "pipe.link"), 0o666))

	var done atomic.Bool
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		defer done.Store(true)
		for i := range 2 * swaps {
			name := filepath.Join(dir, [...]string{"d", "file", "d", "pipe"}[i%4])
			if err := unix.Renameat2(unix.AT_FDCWD, name, unix.AT_FDCWD, name+".link", unix.RENAME_EXCHANGE); err != nil {
				t.Error(err)
				return
			}
		}
	})
	s := swapReader{t: t, fs: open(dir, Options{})}
	for _, op := range []func(){s.stat, s.open, s.list, s.walk} {
		wg.Go(func() {
			for !done.Load() && !t.Failed() {
				op()
			}
		})
	}
	wg.Wait()
	if s.good.Load() == 0 || s.refused.Load() == 0 {
		t.Errorf("%d good, %d refused: nothing was tested", s.good.Load(), s.refused.Load())
	}
	t.Logf("%d good, %d refused", s.good.Load(), s.refused.Load())
}

// swapReader reads a share that testSwap upsets.
type swapReader struct {
	t             *testing.T
	fs            *FS
	good, refused atomic.Int64
}

// check takes an error of a kind that a swap may lead to.
func (s *swapReader) check(err error) bool {
	switch {
	case err == nil:
		s.good.Add(1)
		return true
	case !slices.Contains([]peer.Kind{peer.NotFound, peer.Conflict, peer.Busy}, peer.KindOf(err)):
		s.t.Error(err)
	}
	s.refused.Add(1)
	return false
}

func (s *swapReader) entry(e share.Entry) {
	if name := e.Path.String(); !strings.HasPrefix(name, "z") && (e.Name() == "secret" || e.Kind == share.File && e.Size != 4) {
		s.t.Errorf("it gives %+v", e)
	}
}

func (s *swapReader) stat() {
	for _, name := range []string{"d/e/f", "file", "pipe"} {
		if e, err := s.fs.Stat(s.t.Context(), sharetest.P(s.t, name)); s.check(err) {
			s.entry(e)
		}
	}
}

func (s *swapReader) open() {
	for _, name := range []string{"d/e/f", "file", "pipe"} {
		f, err := s.fs.Open(s.t.Context(), sharetest.P(s.t, name))
		if !s.check(err) {
			continue
		}
		if got := readAll(f); got != "good" {
			s.t.Errorf("%s holds %q", name, got)
		}
		f.Close()
	}
}

func (s *swapReader) list() {
	for e, err := range s.fs.List(s.t.Context(), sharetest.P(s.t, "d/e")) {
		if s.check(err) {
			s.entry(e)
		}
	}
}

func (s *swapReader) walk() {
	for e, err := range s.fs.Walk(s.t.Context(), share.Path{}) {
		if s.check(err) {
			s.entry(e)
		}
	}
}

// TestSpecial (T21) has a pipe, a socket and a device in a share. It guards status.check; and, by the pipe that somebody
// waits to write to, the look before the opening.
func TestSpecial(t *testing.T) {
	eachTree(t, func(t *testing.T, open func(string, Options) *FS) {
		dir := real(t)
		pipe := filepath.Join(dir, "pipe")
		must(t, unix.Mkfifo(pipe, 0o666))
		must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o644))
		socket, err := net.Listen("unix", filepath.Join(dir, "socket"))
		must(t, err)
		defer socket.Close()
		if err := unix.Mknod(filepath.Join(dir, "device"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))); err != nil {
			t.Logf("without a device: %v", err)
		}
		writer := make(chan error, 1)
		go func() {
			f, err := os.OpenFile(pipe, os.O_WRONLY, 0) // waits for a reader
			if err == nil {
				err = f.Close()
			}
			writer <- err
		}()

		start := time.Now()
		f := open(dir, Options{})
		if got := sharetest.Collect(t, f.Walk(t.Context(), share.Path{})); !slices.Equal(got, []string{"file"}) {
			t.Errorf("Walk gives %q", got)
		}
		for range 1000 {
			for _, name := range []string{"pipe", "socket", "device", "pipe/x", "device/x"} {
				p := sharetest.P(t, name)
				if _, err := f.Stat(t.Context(), p); peer.KindOf(err) != peer.NotFound {
					t.Fatalf("Stat %s: %v", name, err)
				}
				if _, err := f.Open(t.Context(), p); peer.KindOf(err) != peer.NotFound {
					t.Fatalf("Open %s: %v", name, err)
				}
				for _, err := range f.List(t.Context(), p) {
					if peer.KindOf(err) != peer.NotFound {
						t.Fatalf("List %s: %v", name, err)
					}
				}
			}
		}
		t.Logf("15,000 operations in %v", time.Since(start))
		select {
		case <-writer:
			t.Error("a writer was woken by the share")
		default:
		}
		reader, err := os.OpenFile(pipe, os.O_RDONLY, 0)
		must(t, err)
		defer reader.Close()
		must(t, <-writer)
	})
}

// TestMounted has other file systems in a share: a mounted folder, a mounted file, and the share's own files mounted again. It
// guards RESOLVE_NO_XDEV and STATX_ATTR_MOUNT_ROOT, in tree.Root the device numbers, and Options.Mount.
func TestMounted(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may mount")
	}
	eachTree(t, func(t *testing.T, open func(string, Options) *FS) {
		dir := real(t)
		for _, name := range []string{"mounted", "again", "own"} {
			must(t, os.Mkdir(filepath.Join(dir, name), 0o755))
		}
		must(t, os.WriteFile(filepath.Join(dir, "own", "file"), nil, 0o644))
		must(t, os.WriteFile(filepath.Join(dir, "covered"), []byte("own"), 0o644))
		inNamespace(t, func(mount func(source, target, kind string, flags uintptr)) {
			_, kernel := open(dir, Options{}).tree.(tree.Kernel)
			f := open(dir, Options{})
			mount("tmpfs", filepath.Join(dir, "mounted"), "tmpfs", 0)
			must(t, os.WriteFile(filepath.Join(dir, "mounted", "secret"), []byte("secret"), 0o644))
			want := []string{"again", "covered", "own", "own/file"}
			if kernel { // what tree.Root can't tell
				mount(filepath.Join(dir, "own"), filepath.Join(dir, "again"), "", unix.MS_BIND)
				mount(filepath.Join(dir, "mounted", "secret"), filepath.Join(dir, "covered"), "", unix.MS_BIND)
				want = want[2:]
			}
			if got := sharetest.Collect(t, f.Walk(t.Context(), share.Path{})); !slices.Equal(got, want) {
				t.Errorf("Walk gives %q, want %q", got, want)
			}
			refused := []string{"mounted", "mounted/secret"}
			if kernel {
				refused = append(refused, "again", "again/file", "covered")
			}
			for _, name := range refused {
				if e, err := f.Stat(t.Context(), sharetest.P(t, name)); peer.KindOf(err) != peer.NotFound {
					t.Errorf("Stat %s: %+v, %v", name, e, err)
				}
				if _, err := f.Open(t.Context(), sharetest.P(t, name)); peer.KindOf(err) != peer.NotFound {
					t.Errorf("Open %s: %v", name, err)
				}
				for _, err := range f.List(t.Context(), sharetest.P(t, name)) {
					if peer.KindOf(err) != peer.NotFound {
						t.Errorf("List %s: %v", name, err)
					}
				}
			}

			disk := filepath.Join(dir, "mounted") // a share that is a mount point itself
			f = open(disk, Options{Mount: true})
			expect := func(when string, kind peer.Kind) {
				t.Helper()
				if _, err := f.Stat(t.Context(), share.Path{}); (err == nil) != (kind == 0) || peer.KindOf(err) != kind {
					t.Errorf("%s: %v", when, err)
				}
			}
			expect("mounted", 0)
			for range f.Walk(t.Context(), share.Path{}) {
				break
			}
			if kernel {
				must(t, unix.Unmount(filepath.Join(dir, "covered"), 0))
			}
			must(t, unix.Unmount(disk, 0)) // not busy: nothing is held open
			expect("unmounted", peer.Unreachable)
			mount("tmpfs", disk, "tmpfs", 0)
			expect("mounted again", 0)
		})
	})
}

// inNamespace runs f in a mount namespace of its own, which ends with the thread that it is on.
func inNamespace(t *testing.T, f func(mount func(source, target, kind string, flags uintptr))) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() {
		runtime.LockOSThread() // and never unlocked
		for _, err := range []error{unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")} {
			if err != nil {
				t.Errorf("no namespace: %v", err)
				return
			}
		}
		f(func(source, target, kind string, flags uintptr) {
			if err := unix.Mount(source, target, kind, flags, ""); err != nil {
				t.Errorf("mount %s: %v", target, err)
			}
		})
	})
	wg.Wait()
}

// TestNothingOpen counts descriptors after walks that were left early and after failures.
func TestNothingOpen(t *testing.T) {
	eachTree(t, func(t *testing.T, open func(string, Options) *FS) {
		dir := real(t)
		must(t, os.MkdirAll(filepath.Join(dir, "a", "b", "c"), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, "a", "file"), nil, 0o644))
		must(t, os.Symlink("a", filepath.Join(dir, "link")))
		f := open(dir, Options{})
		before := descriptors(t)
		for _, name := range []string{"", "a", "a/file", "a/none", "a/file/x", "link", "link/file"} {
			p := sharetest.P(t, name)
			f.Stat(t.Context(), p)
			if file, err := f.Open(t.Context(), p); err == nil {
				file.Close()
			}
			for stop := range 4 {
				n := 0
				for range f.Walk(t.Context(), p) {
					if n++; n > stop {
						break
					}
				}
			}
		}
		if after := descriptors(t); !slices.Equal(after, before) {
			t.Errorf("open before: %q, after: %q", before, after)
		}
	})
}

// descriptors are the files of the share's file system that this process has open.
func descriptors(t *testing.T) (open []string) {
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.Contains(target, t.Name()[:8]) {
			open = append(open, e.Name()+" "+target)
		}
	}
	return open
}

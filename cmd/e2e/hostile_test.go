//go:build linux

package e2e

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/peerd/peerd/cmd/internal/lantest"
)

const secret = "this lies outside of every share"

// TestHostileContent offers a folder with everything in it that must not be followed, opened or waited for.
func TestHostileContent(t *testing.T) {
	t.Parallel()
	dir, outside := ram(t), ram(t)
	write(t, filepath.Join(outside, "secret"), secret)
	write(t, filepath.Join(dir, "good", "file"), "good")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "link")))
	must(os.Symlink(outside, filepath.Join(dir, "folder")))
	must(os.Symlink("../../../../../../etc/passwd", filepath.Join(dir, "up")))
	must(os.Symlink("loop", filepath.Join(dir, "loop")))
	must(unix.Mkfifo(filepath.Join(dir, "fifo"), 0o644))
	must(unix.Mknod(filepath.Join(dir, "zero"), unix.S_IFCHR|0o644, int(unix.Mkdev(1, 5))))
	must(os.WriteFile(filepath.Join(dir, "bad\x1b[2Jname"), []byte("x"), 0o644))
	must(os.WriteFile(filepath.Join(dir, "not\xffutf8"), []byte("x"), 0o644))
	socket, err := net.Listen("unix", filepath.Join(dir, "socket"))
	must(err)
	defer socket.Close()

	_, receiver := pair(t, dir)
	for _, path := range []string{"link", "folder", "folder/secret", "up", "loop", "fifo", "zero", "socket", ".."} {
		r := receiver.run(quick, "cat", "//h1/data/"+path)
		if r.Status == 0 || strings.Contains(r.Stdout, secret) {
			t.Errorf("cat %s: exit status %d, %q", path, r.Status, r.Stdout)
		}
	}
	to := ram(t)
	r := receiver.run(quick, "cp", "-r", "//h1/data", to)
	t.Logf("cp -r: exit status %d %s", r.Status, r.Stderr)
	got := tree(t, filepath.Join(to, "data"))
	if len(got) != 3 || got["good"] != "dir" || got[filepath.Join("good", "file")] == "" {
		t.Errorf("arrived: %v", got)
	}
	if list := receiver.run(quick, "ls", "-l", "//h1/data"); strings.Contains(list.Stdout+list.Stderr, "\x1b") {
		t.Errorf("ls prints a terminal's control sequence: %q", list.Stdout)
	}
}

// TestSwappedFolder swaps a folder with a link to the outside, 100,000 times, while it is read. PEERD_E2E_READS is how often.
func TestSwappedFolder(t *testing.T) {
	const swaps = 100_000
	dir, outside := ram(t), ram(t)
	write(t, filepath.Join(outside, "f"), secret)
	write(t, filepath.Join(dir, "d", "f"), "inside")
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	sender, receiver := pair(t, dir)
	stop, done := make(chan struct{}), make(chan int, 1)
	go func() {
		a, b := filepath.Join(dir, "d"), filepath.Join(dir, "link")
		for n := 0; ; n++ {
			select {
			case <-stop:
				done <- n
				return
			default:
			}
			if err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE); err != nil {
				t.Errorf("swap: %v", err)
				done <- n
				return
			}
		}
	}()
	good, reads := 0, number(t, "PEERD_E2E_READS", 60)
	began := sender.usage().cpu
	for range reads {
		r := receiver.run(quick, "cat", "//h1/data/d/f")
		if strings.Contains(r.Stdout, secret) {
			t.Fatal("bytes from outside of the share were served")
		}
		if r.Status == 0 && r.Stdout == "inside" {
			good++
		}
	}
	for range max(1, reads/7) {
		to := ram(t)
		receiver.run(quick, "cp", "-r", "//h1/data", to)
		for name := range tree(t, to) {
			if b, err := os.ReadFile(filepath.Join(to, name)); err == nil && strings.Contains(string(b), secret) {
				t.Fatalf("%s holds bytes from outside of the share", name)
			}
		}
	}
	close(stop)
	n := <-done
	t.Logf("%d swaps, %d of %d reads found the folder, the owner's daemon took %v of CPU", n, good, reads, sender.usage().cpu-began)
	if n < swaps || good == 0 {
		t.Errorf("%d swaps and %d good reads prove little", n, good)
	}
}

// TestGarbage talks nonsense to the port of a daemon, which goes on serving.
func TestGarbage(t *testing.T) {
	t.Parallel()
	dir := ram(t)
	write(t, filepath.Join(dir, "f"), "fine")
	sender, receiver := pair(t, dir)
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	address := net.JoinHostPort(sender.Addr(0).String(), "4455")
	for i := range 300 {
		err := receiver.Do(func() error {
			c, err := net.Dial("tcp", address)
			if err == nil {
				open = append(open, c)
				_, err = c.Write([]byte(strings.Repeat("GET / HTTP/1.1\r\n", i%40)))
			}
			return err
		})
		if err != nil {
			t.Logf("connection %d refused: %v", i, err)
			break
		}
	}
	if got := receiver.ok(quick, "cat", "//h1/data/f"); got != "fine" {
		t.Errorf("read %q", got)
	}
	lantest.WaitFor(t, quick, "the daemon to live", func() bool { return len(sender.peers()) == 1 })
}

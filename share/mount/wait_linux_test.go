package mount_test

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/mount"
	"github.com/peerd/peerd/share/vfs/vfstest"
)

// silent gives a mounted share whose owner stops to answer, and two of its files: one that was never looked at.
func silent(t *testing.T) (p *vfstest.Peer, dir string) {
	t.Helper()
	w := vfstest.NewWorld()
	p = w.Add("anna")
	s := p.Share("docs", share.Full)
	s.Write("f", []byte("late"))
	s.Write("d/f", []byte("late"))
	dir = show(t, vfstest.Running(t, w), mount.Options{Root: []string{"anna", "docs"}})
	if _, err := os.ReadDir(dir); err != nil {
		t.Fatal(err)
	}
	p.Silence()
	t.Cleanup(p.Return)
	return p, dir
}

// waits reports whether a process waits in the kernel for us.
func waits(pid int) bool {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "syscall"))
	if err != nil {
		return false
	}
	n, _, _ := strings.Cut(string(b), " ")
	return n == strconv.Itoa(unix.SYS_READ) || n == strconv.Itoa(unix.SYS_OPENAT) || n == strconv.Itoa(unix.SYS_PREAD64)
}

// Who waits for an owner that says nothing can be stopped, at once.
func TestInterrupt(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM, os.Kill} {
		for _, name := range []string{"f", "d/f"} { // for bytes, and for an answer about a name
			interrupt(t, sig, name)
		}
	}
}

func interrupt(t *testing.T, sig os.Signal, name string) {
	t.Run(sig.String()+" "+name, func(t *testing.T) {
		_, dir := silent(t)
		c := exec.Command("cat", filepath.Join(dir, name))
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it waits", func() bool { return waits(c.Process.Pid) })
		ended := make(chan error, 1)
		go func() { ended <- c.Wait() }()
		select {
		case err := <-ended:
			t.Fatalf("it did not wait: %v", err)
		case <-time.After(200 * time.Millisecond):
		}
		if err := c.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != sig {
				t.Errorf("it ended by %v, not by %v", err, sig)
			}
		case <-time.After(4 * time.Second): // less than anybody waits for an owner
			_ = c.Process.Kill()
			t.Error("it could not be stopped")
		}
	})
}

// A signal that asks for nothing does not make a file fail.
func TestSignalsThatAskForNothing(t *testing.T) {
	p, dir := silent(t)
	c := child(t, "tick", filepath.Join(dir, "d", "f"))
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs strings.Builder
	c.Stderr = &errs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err, errs.String())
	}
	thread, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it waits", func() bool { return waits(thread) })
	for range 20 {
		for _, sig := range []syscall.Signal{syscall.SIGWINCH, syscall.SIGALRM} {
			if err := unix.Tgkill(c.Process.Pid, thread, sig); err != nil {
				t.Fatalf("%v; %s", err, errs.String())
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.Return()
	rest, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil || string(rest) != "late\n" {
		t.Errorf("%q, %v; %s", rest, err, errs.String())
	}
}

// One who waits keeps nobody from what is known: not in the same folder, not on the same mount.
func TestOthersDoNotWait(t *testing.T) {
	_, dir := silent(t)
	c := exec.Command("cat", filepath.Join(dir, "f"))
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	}()
	eventually(t, "it waits", func() bool { return waits(c.Process.Pid) })
	done := make(chan error, 1)
	go func() {
		_, err := os.ReadDir(dir)
		_, e := os.Stat(filepath.Join(dir, "f"))
		var s unix.Statfs_t
		done <- errors.Join(err, e, unix.Statfs(dir, &s))
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("they waited")
	}
}

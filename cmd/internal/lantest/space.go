//go:build linux

package lantest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// mark stands in the environment of every program that a space starts: the process that owns it, by ID and start time.
const mark = "PEERD_LANTEST_OWNER="

// space is a set of namespaces (network, host name, mounts) held by one thread that runs what it is sent.
type space struct {
	tid  int
	work chan func()
	done chan struct{}

	mu    sync.Mutex
	procs []*exec.Cmd // started and perhaps still running, each the leader of its process group
}

func newSpace(hostname string) (*space, error) {
	s := &space{work: make(chan func()), done: make(chan struct{})}
	ready := make(chan error)
	go s.thread(hostname, ready)
	if err := <-ready; err != nil {
		return nil, err
	}
	return s, nil
}

// thread never unlocks, so the thread ends with it and takes the namespaces along. The first thread of a process can't
// end; if this is it, a second goroutine is given another while this one holds it.
func (s *space) thread(hostname string, ready chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		defer runtime.UnlockOSThread()
		go s.thread(hostname, ready)
		<-s.done
		return
	}
	defer close(s.done)
	if err := enter(hostname); err != nil {
		ready <- err
		return
	}
	s.tid = unix.Gettid()
	ready <- nil
	for f := range s.work {
		f()
	}
}

// enter gives the calling thread fresh namespaces, with an empty /run for the sockets of D-Bus and Avahi.
func enter(hostname string) error {
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Sethostname([]byte(hostname)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("keep mounts apart: %w", err)
	}
	if err := unix.Mount("lantest", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	return nil
}

// do runs f on the thread, inside the namespaces.
func (s *space) do(f func() error) error {
	result := make(chan error, 1)
	s.work <- func() { result <- f() }
	return <-result
}

// start starts cmd inside, as the leader of a process group that dies with the thread.
func (s *space) start(cmd *exec.Cmd) error {
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, mark+self())
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := s.do(cmd.Start); err != nil {
		return err
	}
	s.mu.Lock()
	s.procs = append(s.procs, cmd)
	s.mu.Unlock()
	return nil
}

// close ends every program that was started inside, and the namespaces.
func (s *space) close() {
	s.mu.Lock()
	for _, cmd := range s.procs {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // the group may be gone
	}
	s.mu.Unlock()
	close(s.work)
	<-s.done
}

// output runs a tool of the harness inside and gives what it prints, in the error as well.
func (s *space) output(name string, args ...string) (string, error) {
	var out bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := s.do(cmd.Run); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out.Bytes()))
	}
	return out.String(), nil
}

func (s *space) run(name string, args ...string) error {
	_, err := s.output(name, args...)
	return err
}

func (s *space) ip(args ...string) error { return s.run("ip", args...) }

// sysctl writes a network setting: /proc/sys/net is that of the thread that opens it.
func (s *space) sysctl(name, value string) error {
	return s.do(func() error { return os.WriteFile("/proc/sys/"+name, []byte(value), 0) })
}

// proc is the path of a file in the thread's own folder of /proc, readable from any thread.
func (s *space) proc(name string) string {
	return fmt.Sprintf("/proc/%d/task/%d/%s", os.Getpid(), s.tid, name)
}

// self names this process for good: IDs are used again, an ID with its start time is not.
func self() string { return strconv.Itoa(os.Getpid()) + ":" + startTime(os.Getpid()) }

// startTime is field 22 of /proc/PID/stat, see proc(5), or "" when there is no such process.
func startTime(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(b[max(0, bytes.LastIndexByte(b, ')')):]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 20 {
		return ""
	}
	return fields[19]
}

// sweep ends the programs whose test process is no more.
func sweep(t testing.TB) {
	t.Helper()
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range environs {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // ended meanwhile, or not ours to read
		}
		for _, v := range strings.Split(string(b), "\x00") {
			owner, ok := strings.CutPrefix(v, mark)
			if !ok {
				continue
			}
			id, started, _ := strings.Cut(owner, ":")
			if pid, err := strconv.Atoi(id); err != nil || started == "" || startTime(pid) == started {
				continue
			}
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
				t.Logf("lantest: ending process %d, left by a test process that is no more", pid)
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
}

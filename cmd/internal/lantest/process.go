//go:build linux

package lantest

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	startLimit = 10 * time.Second // for a program to start
	stopLimit  = 10 * time.Second // for a program to end once asked
	pollEvery  = 5 * time.Millisecond
)

// Process is a running program on a host. It is killed at the end of the test, if it still runs then.
type Process struct {
	Cmd *exec.Cmd

	t     testing.TB
	out   output
	began time.Time
	ended chan struct{}
	took  time.Duration // these two once ended is closed
	err   error
}

// Start starts a command made by [Host.Command]. What it writes is kept, unless the command has its own outputs.
func (h *Host) Start(cmd *exec.Cmd) *Process {
	h.lan.t.Helper()
	p := &Process{Cmd: cmd, t: h.lan.t, began: time.Now(), ended: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = &p.out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &p.out
	}
	if err := h.space.start(cmd); err != nil {
		h.lan.t.Fatalf("lantest: %s: start: %v", h.Name, err)
	}
	go func() {
		p.err = cmd.Wait()
		p.took = time.Since(p.began)
		h.space.forget(cmd)
		close(p.ended)
	}()
	h.lan.t.Cleanup(func() { p.Kill() })
	return p
}

// forget takes a command that ended off the list, so that its number is never signalled when another process has it.
func (s *space) forget(cmd *exec.Cmd) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, c := range s.procs {
		if c == cmd {
			s.procs = append(s.procs[:i], s.procs[i+1:]...)
			return
		}
	}
}

// Result is how a command ended.
type Result struct {
	Stdout, Stderr string
	Status         int // exit status; -1 when a signal ended it
	Took           time.Duration
}

// Run runs a command made by [Host.Command] to its end, which must come within the limit.
func (h *Host) Run(limit time.Duration, cmd *exec.Cmd) Result {
	h.lan.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	p := h.Start(cmd)
	if _, ok := p.Wait(limit); !ok {
		p.Kill()
		h.lan.t.Fatalf("%s: %q was not done after %v\n%s%s", h.Name, cmd.Args, limit, stdout.Bytes(), stderr.Bytes())
	}
	return Result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode(), p.Took()}
}

// Wait waits for the end of the program, at most limit, and reports whether it came.
func (p *Process) Wait(limit time.Duration) (error, bool) {
	if limit > 0 {
		select {
		case <-p.ended:
		case <-time.After(limit):
		}
	}
	select { // on its own, or chance decides where both came
	case <-p.ended:
		return p.err, true
	default:
		return nil, false
	}
}

// Took is how long an ended program ran.
func (p *Process) Took() time.Duration {
	<-p.ended
	return p.took
}

// Output is all that it wrote so far.
func (p *Process) Output() string { return p.out.String() }

// WaitOutput waits until it has written text; ending before, or not doing so within the limit, fails the test.
func (p *Process) WaitOutput(text string, limit time.Duration) {
	p.t.Helper()
	WaitFor(p.t, limit, "output "+text, func() bool {
		if strings.Contains(p.Output(), text) {
			return true
		}
		if _, ended := p.Wait(0); ended && !strings.Contains(p.Output(), text) {
			p.t.Fatalf("%q ended (%v) before it wrote %q:\n%s", p.Cmd.Args, p.err, text, p.Output())
		}
		return false
	})
}

// Stop asks the program to end (SIGTERM) and waits for it; it gives the exit status.
func (p *Process) Stop() int {
	p.t.Helper()
	_ = p.Cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	if _, ok := p.Wait(stopLimit); !ok {
		p.Kill()
		p.t.Errorf("%q did not end within %v of SIGTERM:\n%s", p.Cmd.Args, stopLimit, p.Output())
	}
	return p.Cmd.ProcessState.ExitCode()
}

// Kill ends the program and its process group by SIGKILL, and returns once it is gone.
func (p *Process) Kill() {
	if _, ended := p.Wait(0); ended {
		return
	}
	if err := syscall.Kill(-p.Cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		p.t.Errorf("kill %q: %v", p.Cmd.Args, err)
	}
	<-p.ended
}

// WaitFor polls until cond holds and gives the time that took; it fails the test after the limit.
func WaitFor(t testing.TB, limit time.Duration, what string, cond func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !cond() {
		if time.Since(began) > limit {
			t.Fatalf("waited %v for %s, in vain", limit, what)
		}
		time.Sleep(pollEvery)
	}
	return time.Since(began)
}

// output is a buffer that one goroutine fills and others read.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write keeps p.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

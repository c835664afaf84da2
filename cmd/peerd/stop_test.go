//go:build unix

package main

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/peerd/peerd/cmd/internal/config"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/peer/control/controltest"
	"github.com/peerd/peerd/peer/control/server"
)

// program runs commands against a workgroup in memory.
func program(t *testing.T, fake *controltest.Fake) func(args ...string) *exec.Cmd {
	t.Helper()
	home := filepath.Join(t.TempDir(), "home")
	paths, err := config.FindPaths(home, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	l, err := server.Listen(paths.Socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var served sync.WaitGroup
	served.Go(func() {
		if err := server.Serve(ctx, l, fake, slog.New(slog.DiscardHandler)); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); served.Wait() })
	return func(args ...string) *exec.Cmd {
		cmd := exec.Command(process, args...) // TestMain put it there
		cmd.Env = append(os.Environ(), "PEERD_HOME="+home, "TZ=UTC", "GORACE=atexit_sleep_ms=0")
		return cmd
	}
}

// start starts a command and what it will run as a group of processes, of which none outlives the test.
func start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil { // the test failed before it ended
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			_ = cmd.Wait()
		}
	})
}

// stopped starts a command, waits until it printed all of some texts, sends it a signal, and gives its exit status and all that it
// printed.
func stopped(t *testing.T, cmd *exec.Cmd, texts []string, sig os.Signal) (status int, text string) {
	t.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = in, in
	start(t, cmd)
	in.Close()
	if err := out.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	for slices.ContainsFunc(texts, func(s string) bool { return !strings.Contains(text, s) }) {
		next, err := r.ReadString('\n')
		text += next
		if err != nil {
			t.Fatalf("it printed %q, then %v", text, err)
		}
	}
	if err := cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("it printed %q, then %v", text+string(rest), err)
	}
	_ = cmd.Wait() // the status says it
	return cmd.ProcessState.ExitCode(), text + string(rest)
}

// TestStopping ends what goes on until it is stopped.
func TestStopping(t *testing.T) {
	fake := controltest.New()
	fake.Happened = happened()
	run := program(t, fake)
	for _, tc := range []struct {
		args   []string
		texts  []string // that say that it goes on
		sig    os.Signal
		status int
	}{
		{[]string{"watch", "//anna/docs"}, []string{"removed"}, os.Interrupt, 0},
		{[]string{"ls", "--watch", "--json", "//anna/docs"}, []string{`"seq":9`}, os.Interrupt, 0},
		{[]string{"watch", "//anna/docs"}, []string{"removed"}, syscall.SIGTERM, 0},
		{[]string{"lock", "//anna/docs/plan.txt"}, []string{"it shows that you work on it"}, os.Interrupt, 0},
		{[]string{"lock", "--json", "//anna/docs/plan.txt"}, []string{`{"peer":"12D3KooWMeMeMeMeMeMe","name":"me"`}, os.Interrupt, 0},
		// Somebody was there before.
		{[]string{"lock", "//anna/docs/notes/todo.txt"}, []string{"todo.txt: it is open by bob (55555bob) since 2026-03-01 12:30, too"}, os.Interrupt, 0},
		// The signal is the command's business.
		{[]string{"lock", "//anna/docs/plan.txt", "--", "sh", "-c", "trap 'echo bye; exit 9' TERM; echo here; while :; do sleep 0.05; done"}, []string{"here"}, syscall.SIGTERM, 9},
		{[]string{"lock", "//anna/docs/plan.txt", "--", "sh", "-c", "echo here; read x; echo over"}, []string{"here"}, syscall.SIGTERM, 128 + 15},
		{[]string{"lock", "//anna/docs/notes/todo.txt", "--", "sh", "-c", "trap 'exit 3' TERM; echo here; while :; do sleep 0.05; done"}, []string{"here", "it is open by bob (55555bob)"}, syscall.SIGTERM, 3},
	} {
		cmd := run(tc.args...)
		keyboard, typing, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdin = keyboard
		status, text := stopped(t, cmd, tc.texts, tc.sig)
		keyboard.Close()
		typing.Close()
		if status != tc.status {
			t.Errorf("%q ended with the status %d, want %d, having printed\n%s", tc.args, status, tc.status, text)
		}
		waitUnlocked(t, fake)
	}
}

// waitUnlocked waits for the daemon to notice that a command is gone.
func waitUnlocked(t *testing.T, fake *controltest.Fake) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		e, err := fake.Stat(t.Context(), control.Ref{Peer: "anna", Share: "docs", Path: "plan.txt"})
		switch {
		case err != nil:
			t.Fatal(err)
		case e.Lock == nil:
			return
		case time.Now().After(end):
			t.Fatal("the command is gone, and its lock stays")
		}
		time.Sleep(time.Millisecond)
	}
}

// TestLockOutlivesTheKeyboard sends the signal that a terminal sends to a program and to the command that it runs: the lock
// stays until the command ends, however often.
func TestLockOutlivesTheKeyboard(t *testing.T) {
	fake := controltest.New()
	cmd := program(t, fake)("lock", "//anna/docs/plan.txt", "--", "sh", "-c",
		"trap 'n=$((n+1)); echo heard $n' INT; echo here; while [ ${n:-0} -lt 3 ]; do sleep 0.05; done; exit 5")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start(t, cmd)
	lines := bufio.NewScanner(out)
	for i := 0; lines.Scan(); i++ {
		if i == 3 { // the third time it heard the signal, and ends
			continue
		}
		e, err := fake.Stat(t.Context(), control.Ref{Peer: "anna", Share: "docs", Path: "plan.txt"})
		if err != nil || e.Lock == nil {
			t.Errorf("after %q nothing shows that the file is open: %v", lines.Text(), err)
		}
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
	}
	if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != 5 {
		t.Errorf("it ended with %v", cmd.ProcessState)
	}
	waitUnlocked(t, fake)
}

// TestNowhere: a name that is relative to a folder which is there no more is a wrong use of the command, and not something that was
// not found.
func TestNowhere(t *testing.T) {
	run := program(t, controltest.New())
	for _, args := range [][]string{
		{"mount", "//anna/docs", "m"}, {"umount", "m"}, {"share", "add", "d", "--read", "open"}, {"cp", "//anna/docs/plan.txt", "."}, {"cp", "f", "//anna/docs"},
		{"run", "--share", "d"}, {"run", "--share", "d=name"}, {"--home", "h", "peers"}, {"--home", "h", "run"},
	} {
		dir := filepath.Join(t.TempDir(), "gone")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := run(args...)
		cmd.Args = slices.Concat([]string{"sh", "-c", `cd "$1" && rmdir "$1" && shift && exec "$@"`, "sh", dir}, cmd.Args)
		cmd.Path = "/bin/sh"
		out, _ := cmd.CombinedOutput()
		code, says := cmd.ProcessState.ExitCode(), string(out)
		if code != 2 || !strings.Contains(says, "is there no more") || !strings.Contains(says, "go to another folder") {
			t.Errorf("%q: status %d, %s", args, code, out)
		}
	}
}

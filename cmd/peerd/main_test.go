package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/peerd/peerd/cmd/internal/config"
	"github.com/peerd/peerd/cmd/internal/ui"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/peer/control/controltest"
	"github.com/peerd/peerd/peer/control/server"
)

// process is the name by which scripts start the program as a process of its own.
const process = "peerd-process"

func TestMain(m *testing.M) {
	time.Local = time.UTC // commands that run in this process show local times as well
	testscript.Main(m, map[string]func(){process: func() {
		os.Args[0] = "peerd"
		_ = os.Setenv("PEERD_UNHURRIED", "1") // executed again, this would be the tests
		main()
	}})
}

// TestScripts runs the program as people do, against a small workgroup in memory behind a real control socket. To start a
// process takes longer than anything that it does, above all with the race detector: a command has one where it needs one.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           filepath.Join("testdata", "script"),
		UpdateScripts: *update,
		Setup:         setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"peerd":    command,
			"status":   status,
			"stop":     stop,
			"alone":    alone,
			"tamper":   tamper,
			"password": password,
			"suspend":  suspend,
			"bytes":    bytes,
		},
	})
}

var update = flag.Bool("update", false, "write what the program prints into scripts and docs/manual.md")

// workgroup is what a script talks to.
type workgroup struct {
	fake *controltest.Fake
	stop func()
}

func setup(env *testscript.Env) error {
	home := filepath.Join(env.WorkDir, "home")
	env.Setenv("PEERD_HOME", home)
	env.Setenv("HOME", home)
	env.Setenv("TZ", "UTC")
	env.Setenv("GORACE", "atexit_sleep_ms=0") // or every command of a script takes a second longer under the race detector
	paths, err := config.FindPaths(home, env.Getenv)
	if err != nil {
		return err
	}
	l, err := server.Listen(paths.Socket)
	if err != nil {
		return err
	}
	env.Setenv("SOCKET", paths.Socket)
	w := &workgroup{fake: controltest.New()}
	close(w.fake.Events) // so that watching ends
	close(w.fake.FileEvents)
	w.fake.Happened = happened()
	ctx, cancel := context.WithCancel(context.Background())
	var served sync.WaitGroup
	served.Go(func() {
		if err := server.Serve(ctx, l, w.fake, slog.New(slog.DiscardHandler)); err != nil {
			env.T().Log(err)
		}
	})
	w.stop = func() { cancel(); served.Wait() }
	env.Defer(w.stop)
	env.Values["workgroup"] = w
	return nil
}

// command runs peerd, which has to succeed; with ! it has to fail.
func command(ts *testscript.TestScript, neg bool, args []string) {
	if got := exitCode(ts, args); (got == 0) == neg {
		ts.Fatalf("exit status %d", got)
	}
}

// status N peerd... runs a command that has to end with the exit status N.
func status(ts *testscript.TestScript, _ bool, args []string) {
	if args[1] != "peerd" {
		ts.Fatalf("status is that of peerd, not of %s", args[1])
	}
	if got := exitCode(ts, args[2:]); strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit status %d", got)
	}
}

// exitCode runs peerd, and gives its exit status.
func exitCode(ts *testscript.TestScript, args []string) int {
	if !processNeeded(args) {
		return runHere(ts, args)
	}
	var exit *exec.ExitError
	err := ts.Exec(process, args...)
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	ts.Check(err)
	return 0
}

// processNeeded says whether a command needs a process of its own: for the standard input or a terminal, for files that
// are named from the working folder, for variables that the library for commands reads, or for its children.
func processNeeded(args []string) bool {
	inside := []string{"ls", "tree", "stat", "find", "cat", "rm", "mv", "mkdir", "versions", "watch", "logout", "whoami", "mounts",
		"block", "unblock", "audit", "help", "version", "status", "peers", completeCommand}
	shares := []string{"ls", "rm", "set", "allow", "deny", "undo", "resume"}
	named := func(arg string) bool { return strings.HasSuffix(arg, "-file") }
	switch {
	case len(args) == 0 || slices.ContainsFunc(args, named):
		return true
	case len(args) > 1 && args[0] == "share":
		return !slices.Contains(shares, args[1])
	}
	return !slices.Contains(inside, args[0])
}

// runHere runs peerd in the process of the test.
func runHere(ts *testscript.TestScript, args []string) int {
	var files [3]*os.File // as the three of a process
	var err error
	files[0], err = os.Open(os.DevNull)
	ts.Check(err)
	defer files[0].Close()
	for i := range files[1:] {
		files[1+i], err = os.CreateTemp(ts.Getenv("TMPDIR"), "")
		ts.Check(err)
		defer os.Remove(files[1+i].Name())
		defer files[1+i].Close()
	}
	status := run(&env{Terminal: ui.New(files[0], files[1], files[2]), getenv: ts.Getenv, home: ts.Getenv("PEERD_HOME")},
		append([]string{"peerd"}, args...))
	for i, w := range []io.Writer{ts.Stdout(), ts.Stderr()} {
		_, err = files[1+i].Seek(0, io.SeekStart)
		ts.Check(err)
		_, err = io.Copy(w, files[1+i])
		ts.Check(err)
	}
	return status
}

// stop ends the daemon.
func stop(ts *testscript.TestScript, _ bool, _ []string) { ts.Value("workgroup").(*workgroup).stop() }

// alone sends everybody else home.
func alone(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Value("workgroup").(*workgroup).fake.Alone()
}

// tamper changes the audit behind the daemon's back.
func tamper(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Value("workgroup").(*workgroup).fake.Tamper()
}

// happened is one of each kind of event.
func happened() []control.FileEvent {
	docs := control.Ref{Peer: "anna", Share: "docs"}
	file := func(name string) control.Entry {
		return control.Entry{Ref: docs.Join(name), Kind: control.KindFile, Size: 2048, ModTime: controltest.When()}
	}
	const bob = "12D3KooWBob55555bob"
	return []control.FileEvent{
		{Event: control.FileWatching, Time: controltest.When()},
		{Event: control.FileCreated, Entry: control.Entry{Ref: docs.Join("new"), Kind: control.KindDir}, Peer: bob, Name: "bob", Time: controltest.When(), Seq: 1},
		{Event: control.FileChanged, Entry: file("plan.txt"), Time: controltest.When(), Seq: 2},
		{Event: control.FileMoved, Entry: file("b.txt"), From: docs.Join("a.txt"), Peer: bob, Time: controltest.When(), Seq: 3},
		{Event: control.FileGap},
		{Event: control.FileRemoved, Entry: file(controltest.Hostile), Peer: bob, Name: controltest.Hostile, Time: controltest.When(), Seq: 9},
	}
}

// suspend SHARE ID has a peer suspended.
func suspend(ts *testscript.TestScript, _ bool, args []string) {
	ts.Value("workgroup").(*workgroup).fake.Suspend(args[0], args[1])
}

// password SHARE RIGHT PASSWORD checks what was set.
func password(ts *testscript.TestScript, neg bool, args []string) {
	got := ts.Value("workgroup").(*workgroup).fake.Password(args[0], control.Right(args[1]))
	if (got == args[2]) == neg {
		ts.Fatalf("the password for %s of %s is %q", args[1], args[0], got)
	}
}

// bytes FILE TEXT checks the whole content of a file, or of stdout; \n in TEXT ends a line.
func bytes(ts *testscript.TestScript, neg bool, args []string) {
	if got := ts.ReadFile(args[0]); (got == strings.ReplaceAll(args[1], `\n`, "\n")) == neg {
		ts.Fatalf("%s has %q", args[0], got)
	}
}

// TestRuns: the daemon is started by the lines that say so, whatever options come with it.
func TestRuns(t *testing.T) {
	app := newApp(&env{Terminal: new(ui.Terminal), getenv: func(string) string { return "" }})
	for line, want := range map[string]bool{
		"": true, "run": true, "--share /tmp": true, "--home /x run --no-mdns": true, "run --share /a -v": true,
		"status": false, "help run": false, "run --help": false, "--version": false, "cp //a/b run": false, "ls -- run": false, "--home": false,
	} {
		if got := runs(arrange(app, strings.Fields(line))); got != want {
			t.Errorf("peerd %s: %v", line, got)
		}
	}
}

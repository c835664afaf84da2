package main

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/peerd/peerd/cmd/internal/config"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/peer/control/controltest"
	"github.com/peerd/peerd/peer/control/server"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"peerd": main})
}

// TestScripts runs the program as people do, against a small workgroup in memory behind a real control socket.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           filepath.Join("testdata", "script"),
		UpdateScripts: *update,
		Setup:         setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
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

// status N COMMAND... runs a command that has to end with the exit status N.
func status(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit status %d", got)
	}
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

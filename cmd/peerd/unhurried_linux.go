package main

import (
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// timerSlack is how late the kernel may let go a thread of the daemon that sleeps: far less than anything here waits for.
const timerSlack = time.Millisecond

// unhurriedMark stands in the environment of a program that has been executed again.
const unhurriedMark = "PEERD_UNHURRIED"

// unhurried executes the program again, once, with threads that the kernel need not wake to the microsecond. Where that fails the
// program goes on as it is.
//
// It is for sysmon, the thread of Go's runtime that looks after the others (runtime/proc.go). As soon as a program that was idle
// does anything it sleeps for 20 µs, fifty times, and a daemon in a swarm is idle and does something some thousand times a
// second: that was a sixth of its processor time. A thread can have only its own slack made larger (prctl(2), PR_SET_TIMERSLACK),
// those that it starts inherit it, and sysmon is there before any code of ours. execve(2) keeps the slack.
func unhurried() {
	if os.Getenv(unhurriedMark) != "" {
		_ = os.Unsetenv(unhurriedMark)
		return
	}
	program, err := os.Executable()
	if err != nil {
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || before >= int(timerSlack) || unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0, 0, 0) != nil {
		return
	}
	var files unix.Rlimit // which Exec sets back to what the program was started with
	err = unix.Getrlimit(unix.RLIMIT_NOFILE, &files)
	_ = syscall.Exec(program, os.Args, append(os.Environ(), unhurriedMark+"=1"))
	if err == nil {
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &files)
	}
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(before), 0, 0, 0)
}

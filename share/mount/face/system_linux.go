package face

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// renameNoReplace is the flag of renameat2(2).
const renameNoReplace = unix.RENAME_NOREPLACE

// opensFolders reports whether the kernel opens folders without asking once it is told that nobody answers. One before 5.1 doesn't.
func opensFolders(k *fuse.InitIn) bool { return k.Flags64()&fuse.CAP_NO_OPENDIR_SUPPORT != 0 }

// idle are signals that a program gets while it goes on working: none of them, where it is caught, asks it to stop.
var idle = []syscall.Signal{syscall.SIGCHLD, syscall.SIGCONT, syscall.SIGURG, syscall.SIGALRM, syscall.SIGVTALRM, syscall.SIGPROF,
	syscall.SIGWINCH, syscall.SIGIO, syscall.SIGTSTP, syscall.SIGSTOP, syscall.SIGTTIN, syscall.SIGTTOU}

// meant reports whether a signal waits for a thread that asks it to stop, whether by ending it or by a handler. One of
// which nothing can be learned is gone, and wants nothing any more.
func meant(thread uint32) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	return err != nil || stops(b)
}

// stops reads the status of a thread, in proc's form.
func stops(status []byte) bool {
	masks := map[string]uint64{}
	for s := bufio.NewScanner(bytes.NewReader(status)); s.Scan(); {
		key, value, _ := strings.Cut(s.Text(), ":")
		if slices.Contains([]string{"SigPnd", "ShdPnd", "SigBlk"}, key) {
			masks[key], _ = strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		}
	}
	waiting := (masks["SigPnd"] | masks["ShdPnd"]) &^ masks["SigBlk"]
	for _, sig := range idle {
		waiting &^= 1 << (sig - 1)
	}
	return waiting != 0
}

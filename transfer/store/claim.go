package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"

	"github.com/peerd/peerd/peer"
)

// Bounds of looking for a temporary file that is free.
const (
	maxClaims  = 64 // copies of the same file at the same time
	claimTries = 8  // how often the file may be promoted by its last user just as it is opened
)

var errTaken = errors.New("somebody else uses the file")

// claim gives the temporary file called name, or the first that is free of name-1, name-2 and so on: copies of the same
// file into the same folder must not write into each other's. The lock lasts until it is closed, or the process ends.
func claim(dir *os.Root, name string, mode fs.FileMode) (temp string, lock *os.File, err error) {
	for n := range maxClaims {
		temp = name
		if n > 0 {
			temp += "-" + strconv.Itoa(n)
		}
		lock, err = claimOne(dir, temp, mode)
		if !errors.Is(err, errTaken) {
			return temp, lock, err
		}
	}
	return "", nil, &peer.Error{Kind: peer.Busy, Err: fmt.Errorf("it is being copied %d times already", maxClaims)}
}

func claimOne(dir *os.Root, temp string, mode fs.FileMode) (*os.File, error) {
	for range claimTries {
		f, err := dir.OpenFile(temp, os.O_RDWR|os.O_CREATE, mode)
		if err != nil {
			return nil, err
		}
		ours, err := own(dir, temp, f)
		if ours {
			return f, nil
		}
		f.Close()
		if err != nil {
			return nil, err
		}
	}
	return nil, errTaken
}

// own locks a temporary file and reports whether it still is one: its last user may have given it its final name just then,
// or crashed while it had both names.
func own(dir *os.Root, temp string, f *os.File) (bool, error) {
	if err := tryLock(f); err != nil {
		return false, err
	}
	is, err := f.Stat()
	if err != nil {
		return false, err
	}
	named, err := dir.Lstat(temp)
	if err != nil || !os.SameFile(is, named) {
		return false, nil
	}
	if !is.Mode().IsRegular() {
		return false, errTaken
	}
	if links(is) > 1 {
		return false, dir.Remove(temp)
	}
	return true, nil
}

// renamesOpen says whether a file that is open can get another name.
const renamesOpen = runtime.GOOS != "windows"

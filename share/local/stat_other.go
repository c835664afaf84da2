//go:build !unix

package local

import (
	"errors"
	"io/fs"
	"os"
)

const openFlags = os.O_RDONLY

func statusOf(info fs.FileInfo) status {
	return status{mode: info.Mode(), size: info.Size(), mtime: info.ModTime()}
}

// missing reports whether there is no such path.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// exhausted reports whether a limit of the system was reached.
func exhausted(error) bool { return false }

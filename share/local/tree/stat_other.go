//go:build !unix

package tree

import (
	"errors"
	"io/fs"
	"os"
)

const openFlags = os.O_RDONLY

// Of gives the status that a FileInfo tells of.
func Of(info fs.FileInfo) Status {
	return Status{Mode: info.Mode(), Size: info.Size(), ModTime: info.ModTime()}
}

// Missing reports whether there is no such path.
func Missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// Exhausted reports whether a limit of the system was reached.
func Exhausted(error) bool { return false }

package doctor

import (
	"errors"

	"golang.org/x/sys/windows"
)

// fileLimit is 0: there is no such limit.
func fileLimit() uint64 { return 0 }

// isTaken also knows what Windows says when another program took the port by SO_EXCLUSIVEADDRUSE.
func isTaken(err error) bool {
	return errors.Is(err, windows.WSAEADDRINUSE) || errors.Is(err, windows.WSAEACCES)
}

func isRefused(err error) bool { return errors.Is(err, windows.WSAECONNREFUSED) }

package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// realProgram is where the tests of the real peerd build it.
var realProgram string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "doctor-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	realProgram = filepath.Join(dir, "peerd")
	status := m.Run()
	if err := goleak.Find(); err != nil && status == 0 {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	_ = os.RemoveAll(dir)
	os.Exit(status)
}

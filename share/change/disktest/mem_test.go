package disktest

import (
	"testing"
	"time"
)

func TestMem(t *testing.T) {
	for name, swaps := range map[string]bool{"swaps": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			Run(t, func(t *testing.T) Fixture {
				m := NewMem(swaps)
				return Fixture{Disk: m, Swaps: swaps,
					Write: func(_ *testing.T, path, data string) { m.Write(path, data, time.Unix(1e9, 0)) },
					Read:  func(_ *testing.T, path string) string { return m.Files(true)[path] },
				}
			})
		})
	}
}

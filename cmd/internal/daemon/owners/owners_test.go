package owners

import (
	"testing"
	"testing/synctest"
)

// TestChangedWhileLooking holds that what changes while somebody looks at the workgroup is told after.
func TestChangedWhileLooking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &World{ctx: t.Context(), changed: make(chan struct{})}
		go func() {
			synctest.Wait()
			w.Tell()
		}()
		times := 0
		for range w.Changed(t.Context()) {
			if times++; times == 2 {
				return
			}
			w.Tell()
		}
		t.Errorf("told %d times", times)
	})
}

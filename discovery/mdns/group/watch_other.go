//go:build !linux

package group

import (
	"context"
	"time"
)

// Watch calls changed at once, as something may have changed before, and then now and then until ctx ends.
func Watch(ctx context.Context, changed func()) error {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	changed()
	for {
		select {
		case <-tick.C:
			changed()
		case <-ctx.Done():
			return nil
		}
	}
}

package daemon

import (
	"context"
	"fmt"
	"iter"

	"github.com/peerd/peerd/peer/control"
)

// Doctor examines why a peer may not be seen and where time goes.
func (d *daemon) Doctor(context.Context) iter.Seq2[control.Finding, error] {
	return func(yield func(control.Finding, error) bool) {
		if err := d.hasState(); err != nil {
			yield(control.Finding{Level: control.Bad, Check: "state", Text: err.Error(), Hint: "peerd keeps its keys there"}, nil)
			return
		}
		yield(control.Finding{Level: control.OK, Check: "peers", Text: fmt.Sprintf("%d peers of %s are here", len(d.lan.view.Snapshot()), d.cfg.Workgroup)}, nil)
	}
}

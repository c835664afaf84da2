package daemon

import (
	"context"
	"iter"
	"os"
	"time"

	"github.com/peerd/peerd/cmd/internal/config"
	"github.com/peerd/peerd/cmd/internal/doctor"
	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/transfer/manifest"
)

// Doctor examines why a peer may not be seen and where time goes.
func (d *daemon) Doctor(ctx context.Context) iter.Seq2[control.Finding, error] {
	return func(yield func(control.Finding, error) bool) {
		state, err := os.OpenRoot(d.cfg.State)
		if err != nil {
			yield(control.Finding{Level: control.Bad, Check: "state", Text: err.Error(), Hint: "peerd keeps its keys there"}, nil)
			return
		}
		defer state.Close()
		for f, err := range doctor.Examine(ctx, d.patient(state)) {
			if !yield(f, err) {
				return
			}
		}
	}
}

// patient is this daemon as the doctor sees it.
func (d *daemon) patient(state *os.Root) doctor.Patient {
	hasher := new(manifest.Hasher)
	return doctor.Patient{
		ID: d.host.ID(), Workgroup: d.cfg.Workgroup, Port: d.host.Port(), UsualPort: config.DefaultPort, Addrs: d.host.Addrs(),
		MDNS: d.lan.MDNS(), PID: os.Getpid(), Writable: d.hasState, State: state, System: os.DirFS("/"), Network: doctor.System{},
		View: d.lan.View(), Host: d.host, Introduce: d.introduction, Announce: d.lan.Announce, Programs: doctor.Programs,
		Hash: func(b []byte) { hasher.Subtree(b, 0) }, Step: manifest.Step, Now: time.Now,
	}
}

// introduction is what a peer says of itself just now.
func (d *daemon) introduction(ctx context.Context, p discovery.Peer) (peer.Info, error) {
	in, err := d.lan.Introduce(ctx, p.ID, p.Revision)
	return in.Info, err
}

package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/cmd/internal/ui"
	"github.com/peerd/peerd/peer/control"
)

func newPeers(e *env) *cli.Command {
	var watch bool
	return &cli.Command{
		Name:      "peers",
		Usage:     "show the workgroup",
		UsageText: "peerd peers [--watch] [--json]",
		Description: `Shows every other peer of the workgroup: its name and ID, how many shares it offers, since when it is here, whether
it proved its ID, by which way it was found, and its addresses. With --watch the peers that are here and then every
change, a line each, until it is stopped.

Examples:
  peerd peers
  peerd peers --watch
  peerd peers --json | jq '.peers[].name'`,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "watch", Aliases: []string{"w"}, Usage: "go on and show changes", Destination: &watch}},
		Action: func(c *cli.Context) error {
			if _, err := arguments(c, 0, 0); err != nil {
				return err
			}
			if watch {
				return runWatchPeers(c.Context, e)
			}
			return runPeers(c.Context, e)
		},
	}
}

// peersAnswer is what "peers" and "ls" without arguments answer in JSON.
type peersAnswer struct {
	Peers control.List[control.Peer] `json:"peers"`
}

func runPeers(ctx context.Context, e *env) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	peers, err := d.Peers(ctx, false)
	if err != nil {
		return err
	}
	if len(peers) == 0 {
		e.alone()
	}
	return e.answer(peersAnswer{peers}, func() {
		if len(peers) == 0 {
			return
		}
		rows := [][]string{{"NAME", "ID", "SHARES", "SINCE", "VERIFIED", "FOUND BY", "ADDRESS"}}
		for _, p := range peers {
			row := []string{p.Name, p.ID, shareCount(p), ui.Time(p.Since.Time), p.Verified, strings.Join(p.Ways, ","), ""}
			for i, a := range p.Addrs {
				if i > 0 { // the others stand below
					rows = append(rows, row)
					row = make([]string, len(row))
				}
				row[len(row)-1] = a
			}
			rows = append(rows, row)
		}
		e.Table(rows)
	})
}

func runWatchPeers(ctx context.Context, e *env) error {
	d, err := e.daemon()
	if err != nil {
		return err
	}
	for event, err := range d.WatchPeers(ctx) {
		switch {
		case ctx.Err() != nil:
			return nil // stopping it is how it ends
		case err != nil:
			return err
		}
		err := e.answer(event, func() {
			e.Printf("%-7s  %s  %s  %s", event.Event, event.Peer.Name, event.Peer.ID, shareCount(event.Peer)+" shares")
		})
		if err != nil {
			return err
		}
		if err := e.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func shareCount(p control.Peer) string {
	if p.Count < 0 {
		return "?"
	}
	return fmt.Sprint(p.Count)
}

// alone says what to try when nobody is here.
func (e *env) alone() {
	e.Note(`nobody else is in this workgroup yet; "peerd doctor" looks for the reason, "peerd --join HOST" calls somebody by address`)
}

package main

import (
	"log/slog"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/peerd/peerd/cmd/internal/config"
	"github.com/peerd/peerd/cmd/internal/daemon"
	"github.com/peerd/peerd/cmd/internal/ui"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
)

func newRun(e *env) *cli.Command {
	return &cli.Command{
		Name:  "run",
		Usage: "start the daemon",
		UsageText: "peerd [run] [--share DIR[=NAME]]... [--name NAME] [--workgroup WG] [--listen ADDR]... [--join ADDR]... [--no-mdns]\n" +
			"      [--no-dht] [--relay] [--no-seed] [--advertise HOW] [--upload-limit RATE] [--download-limit RATE]",
		Description: `Starts the daemon in the foreground and prints one line when it is ready. SIGINT and SIGTERM stop it in order, a
second one at once. Options win over the file config.toml. A RATE is one of bytes, 10MB/s or 500k, or of bits, 80Mbit,
or "unlimited"; it holds for all other peers together, which share it equally.

Examples:
  peerd
  peerd --share ~/Public
  peerd run --share ~/music=tunes --name anna --workgroup HOME
  peerd --no-mdns --join 10.0.0.7
  peerd run --upload-limit 10MB/s`,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "share", Usage: "offer `DIR[=NAME]` for this run, open for reading"},
			&cli.StringFlag{Name: "name", Usage: "call this computer `NAME`"},
			&cli.StringFlag{Name: "workgroup", Usage: "see the peers of the workgroup `WG`"},
			&cli.StringSliceFlag{Name: "listen", Usage: "listen on `ADDR`: a port, an IP address, IP:PORT or a multiaddr"},
			&cli.StringSliceFlag{Name: "join", Usage: "call the peer at `ADDR`: HOST or HOST:PORT"},
			&cli.BoolFlag{Name: "no-mdns", Usage: "neither look nor announce by multicast"},
			&cli.BoolFlag{Name: "no-dht", Usage: "do not look for peers beyond the local network"},
			&cli.BoolFlag{Name: "no-seed", Usage: "give on nothing that was fetched from others"},
			&cli.BoolFlag{Name: "relay", Usage: "carry bytes for peers that can't reach each other"},
			&cli.StringFlag{Name: "advertise", Usage: "tell the network of shares by `HOW`: names, count or none"},
			&cli.StringFlag{Name: "upload-limit", Usage: "send no more than `RATE` to others"},
			&cli.StringFlag{Name: "download-limit", Usage: "fetch no more than `RATE` from others"},
		},
		Action: func(c *cli.Context) error { return runDaemon(c, e) },
	}
}

func runDaemon(c *cli.Context, e *env) error {
	if _, err := arguments(c, 0, 0); err != nil {
		return err
	}
	cfg, err := daemonConfig(c, e)
	if err != nil {
		return err
	}
	daemon.Prepare()
	level := slog.LevelWarn
	switch {
	case e.Verbose:
		level = slog.LevelDebug
	case e.Quiet:
		level = slog.LevelError
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	daemon.LogLibrariesTo(log)
	return daemon.Run(c.Context, cfg, log, func(r daemon.Ready) {
		if err := e.ready(r); err != nil {
			log.Error("tell that the daemon is ready", "err", err)
		}
	})
}

func (e *env) ready(r daemon.Ready) error {
	err := e.answer(struct {
		Name      string `json:"name"`
		Workgroup string `json:"workgroup"`
		ID        string `json:"id"`
		Shares    int    `json:"shares"`
	}{r.Name, r.Workgroup, r.ID, r.Shares}, func() {
		e.Printf(`peerd: ready as "%s" in %s (%s), %s`, r.Name, r.Workgroup, r.ID, ui.Plural(r.Shares, "share"))
	})
	if err != nil {
		return err
	}
	return e.Flush()
}

// daemonConfig is the configuration: defaults, then the file, then the options.
func daemonConfig(c *cli.Context, e *env) (config.Config, error) {
	paths, err := config.FindPaths(e.home, e.getenv)
	if err != nil {
		return config.Config{}, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "" // then the default name stands in
	}
	cfg := config.Default(paths, host)
	cfg.Version = version().Version
	if err := cfg.ReadFile(); err != nil {
		return cfg, err
	}
	if c.IsSet("name") {
		cfg.Name = peer.Name(c.String("name"))
	}
	if c.IsSet("workgroup") {
		cfg.Workgroup = c.String("workgroup")
	}
	if c.IsSet("listen") {
		cfg.Listen = c.StringSlice("listen")
	}
	if c.IsSet("join") {
		cfg.Join = c.StringSlice("join")
	}
	if c.IsSet("advertise") {
		cfg.Advertise = config.Advertise(c.String("advertise"))
	}
	for name, limit := range map[string]*transfer.Rate{"upload-limit": &cfg.Upload, "download-limit": &cfg.Download} {
		if c.IsSet(name) {
			if *limit, err = transfer.ParseRate(c.String(name)); err != nil {
				return cfg, err
			}
		}
	}
	if c.Bool("no-mdns") {
		cfg.MDNS = false
	}
	if c.Bool("no-dht") {
		cfg.DHT = false
	}
	if c.Bool("no-seed") {
		cfg.Give = false
	}
	if c.Bool("relay") {
		cfg.Relay = true
	}
	for _, s := range c.StringSlice("share") {
		share, err := config.ParseShare(s)
		if err != nil {
			return cfg, err
		}
		cfg.Shares = append(cfg.Shares, share)
	}
	return cfg, cfg.Validate()
}

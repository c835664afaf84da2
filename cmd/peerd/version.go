package main

import (
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

func newVersion(e *env) *cli.Command {
	return &cli.Command{
		Name:      "version",
		Usage:     "show the version of this program",
		UsageText: "peerd version [--json]",
		Description: `Shows what this program was built from. The daemon may be another one: "peerd status" shows its version.

Examples:
  peerd version`,
		Action: func(c *cli.Context) error {
			if _, err := arguments(c, 0, 0); err != nil {
				return err
			}
			v := version()
			return e.answer(v, func() { e.Printf("peerd %s, %s, %s/%s", v.Version, v.Go, v.OS, v.Arch) })
		},
	}
}

// build is what a program knows of how it was made.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
}

func version() build {
	b := build{Version: "devel", Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.Revision = s.Value
		}
	}
	return b
}

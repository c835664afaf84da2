//go:build linux

package e2e

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/peerd/peerd/cmd/internal/lantest"
)

// entrant is a tool that brings a fleet's file to many.
type entrant struct {
	name  string
	needs []string
	once  bool // the owner's link alone decides how long it takes: one run says all
	ready func(f *fleet, n int) run
}

// run is a tool that is set up for one run to n peers.
type run struct {
	standing [][]*lantest.Process                 // what runs already, by host
	start    func(i int) *lantest.Process         // has host i fetch the file
	done     func(i int, p *lantest.Process) bool // reports whether host i has it
	stop     func()
}

// entrants are all that can be measured.
var entrants = []entrant{
	{"peerd", nil, false, peerdSwarm},
	{"https (nginx, curl)", []string{"nginx", "curl", "openssl"}, true, httpsSwarm},
	{"BitTorrent (aria2c, opentracker)", []string{"aria2c", "opentracker", "curl"}, false, torrentSwarm},
}

func peerdSwarm(f *fleet, n int) run {
	all := f.start(f.hosts[:n+1]...)
	r := run{done: f.succeeded, stop: func() { stop(all...) }}
	for _, p := range all {
		r.standing = append(r.standing, []*lantest.Process{p.daemon})
	}
	r.start = func(i int) *lantest.Process {
		return f.hosts[i].Start(all[i].command("cp", "//h1/src/big.bin", f.inbox(i)))
	}
	return r
}

// succeeded reports whether a command ended, and fails the test when it ended badly.
func (f *fleet) succeeded(i int, p *lantest.Process) bool {
	f.tb.Helper()
	err, ended := p.Wait(0)
	if err != nil {
		f.tb.Fatalf("%s: %q: %v\n%s", f.hosts[i].Name, p.Cmd.Args, err, p.Output())
	}
	return ended
}

func httpsSwarm(f *fleet, n int) run {
	server, curl := https(f.rig)
	r := run{standing: make([][]*lantest.Process, n+1), done: f.succeeded, stop: server.Kill}
	r.standing[0] = []*lantest.Process{server}
	r.start = func(i int) *lantest.Process {
		return f.hosts[i].Start(curl(f.hosts[i], "big.bin", f.inbox(i)+"/big.bin"))
	}
	return r
}

// torrentSwarm starts a tracker and a seed. Who has the file goes on seeding; a program that it calls then says when.
func torrentSwarm(f *fleet, n int) run {
	w := f.folder("torrent")
	torrent, id := f.torrent("http://" + f.address + ":6969/announce")
	write(f.tb, w+"/tracker/white", id+"\n") // it serves no others, and reads this as nobody
	if err := os.WriteFile(w+"/done", []byte("#!/bin/sh\n: >\"$DONE\"\n"), 0o755); err != nil {
		f.tb.Fatal(err)
	}
	aria2 := func(i int, dir string, more ...string) *exec.Cmd {
		args := append([]string{"--no-conf", "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false",
			"--enable-peer-exchange=true", "--file-allocation=falloc", "--console-log-level=warn", "--summary-interval=0",
			"--show-console-readout=false", "--bt-max-peers=0", "--seed-ratio=0", "--listen-port=6881", "--dir=" + dir}, more...)
		return f.hosts[i].Command("aria2c", append(args, torrent)...)
	}
	tracker := f.serve("6969", "opentracker", "-i", f.address, "-p", "6969", "-P", "6969", "-d", w+"/tracker", "-w", "/white",
		"-A", f.client.Addr(0).String())
	all := []*lantest.Process{tracker, f.server.Start(aria2(0, f.src, "--bt-seed-unverified=true"))}
	r := run{standing: make([][]*lantest.Process, n+1)}
	r.standing[0] = all
	lantest.WaitFor(f.tb, quick, "the tracker to know the seed", func() bool {
		stats := f.client.Run(quick, f.client.Command("curl", "-s", "http://"+f.address+":6969/stats"))
		return strings.HasPrefix(stats.Stdout, "1\n1\n") // one peer, one seed
	})
	done := func(i int) string { return filepath.Join(w, "done."+strconv.Itoa(i)) }
	for i := range n + 1 {
		_ = os.Remove(done(i))
	}
	r.start = func(i int) *lantest.Process {
		cmd := aria2(i, f.inbox(i), "--on-bt-download-complete="+w+"/done")
		cmd.Env = append(cmd.Env, "DONE="+done(i))
		p := f.hosts[i].Start(cmd)
		all = append(all, p)
		return p
	}
	r.done = func(i int, p *lantest.Process) bool {
		if err, ended := p.Wait(0); ended {
			f.tb.Fatalf("%s: aria2c ended: %v\n%s", f.hosts[i].Name, err, p.Output())
		}
		_, err := os.Stat(done(i))
		return err == nil
	}
	r.stop = func() {
		for _, p := range all {
			p.Kill()
		}
	}
	return r
}

// torrent describes the file to BitTorrent, in pieces of 256 KiB, and gives the torrent's ID in hexadecimal.
func (f *fleet) torrent(announce string) (name, id string) {
	f.tb.Helper()
	const piece = 256 << 10
	content, err := os.ReadFile(f.src + "/big.bin")
	if err != nil {
		f.tb.Fatal(err)
	}
	var info bytes.Buffer
	fmt.Fprintf(&info, "d6:lengthi%de4:name7:big.bin12:piece lengthi%de6:pieces%d:", len(content), piece, (len(content)+piece-1)/piece*sha1.Size)
	for at := 0; at < len(content); at += piece {
		h := sha1.Sum(content[at:min(at+piece, len(content))])
		info.Write(h[:])
	}
	info.WriteString("e")
	h := sha1.Sum(info.Bytes())
	name = filepath.Join(f.work, "big.torrent")
	write(f.tb, name, fmt.Sprintf("d8:announce%d:%s4:info%se", len(announce), announce, info.Bytes()))
	return name, hex.EncodeToString(h[:])
}

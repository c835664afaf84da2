//go:build linux

package e2e

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/cmd/internal/lantest"
)

const gib = 1 << 30

// pair is a sender that offers a folder as "data", and a receiver that sees it.
func pair(t *testing.T, dir string) (sender, receiver *node) {
	t.Helper()
	all, _ := nodes(t, lantest.Options{Hosts: 2})
	all[0].start("--share", dir+"=data")
	all[1].start()
	fullView(t, quick, all...)
	return all[0], all[1]
}

// TestGoTree fetches the source tree of Go: many files of every size.
func TestGoTree(t *testing.T) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	src := filepath.Join(strings.TrimSpace(string(root)), "src")
	sender, receiver := pair(t, src)
	to := ram(t)
	began := time.Now()
	receiver.ok(slow, "cp", "-r", "//h1/data", to)
	took := time.Since(began)
	t.Logf("%d files and folders in %v; peak RSS %d MiB sender, %d MiB receiver", sameTree(t, src, filepath.Join(to, "data")), took,
		sender.usage().hwm>>20, receiver.usage().hwm>>20)

	before := receiver.Traffic(0).ReceivedBytes
	receiver.ok(slow, "cp", "-r", "//h1/data", to)
	if again := receiver.Traffic(0).ReceivedBytes - before; again > 16<<20 {
		t.Errorf("fetching what is here already took %d bytes", again)
	}
}

// TestGiB fetches one big file.
func TestGiB(t *testing.T) {
	dir, want := big(t, gib)
	sender, receiver := pair(t, dir)
	to := ram(t)
	r := receiver.run(slow, "cp", "//h1/data/big.bin", to)
	if got := sum(t, filepath.Join(to, "big.bin")); r.Status != 0 || got != want {
		t.Fatalf("exit status %d, sum %s, want %s\n%s", r.Status, got, want, r.Stderr)
	}
	s, v := sender.usage(), receiver.usage()
	t.Logf("1 GiB in %v: %.0f MB/s; since start: sender %v CPU, peak RSS %d MiB; receiver %v CPU, peak RSS %d MiB",
		r.Took.Round(time.Millisecond), gib/1e6/r.Took.Seconds(), s.cpu, s.hwm>>20, v.cpu, v.hwm>>20)
}

// TestInterrupted disturbs the transfer of a big file at half. It goes on by itself or when asked again, whatever was
// verified stays, and nothing has the final name before it is whole.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	const (
		size     = gib / 4
		overhead = size / 20 // headers and encryption
		inFlight = 64 << 20  // not verified yet when it happened
		tries    = 3
	)
	dir, want := big(t, size)
	for _, c := range []struct {
		name    string
		kept    bool // the share is one that outlives the daemon
		disturb func(t *testing.T, dir string, sender, receiver *node)
	}{
		{"receiver killed", false, func(_ *testing.T, _ string, _, receiver *node) {
			receiver.daemon.Kill()
			receiver.start()
		}},
		{"sender killed", false, func(_ *testing.T, dir string, sender, _ *node) {
			sender.daemon.Kill()
			sender.start("--share", dir+"=data")
		}},
		{"sender with a kept share killed", true, func(t *testing.T, dir string, sender, _ *node) {
			sender.daemon.Kill()
			sender.start()
			if list := sender.ok(quick, "share", "ls"); !strings.Contains(list, "kept") {
				t.Errorf("the share is lost:\n%s", list)
			}
		}},
		{"cable pulled for 30 s", false, func(_ *testing.T, _ string, _, receiver *node) {
			receiver.Unplug(0)
			time.Sleep(30 * time.Second) // the length is the test
			receiver.Plug(0)
		}},
		{"sender's address changed", false, func(_ *testing.T, _ string, sender, _ *node) {
			sender.ChangeAddress(0, netip.MustParseAddr("10.77.1.99"))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			sender, receiver := pair(t, dir)
			sender.Limit(0, "500mbit") // so that half of it is seen to have passed before all has
			to, from := filepath.Join(ram(t), "copy.bin"), "//h1/data/big.bin"
			if c.kept {
				sender.ok(quick, "share", "add", dir, "--name", "kept", "--read", "open")
				from = "//h1/kept/big.bin"
				lantest.WaitFor(t, quick, "the share to be seen", func() bool { return receiver.run(quick, "ls", "//h1/kept").Status == 0 })
			}
			received := func() uint64 { return receiver.Traffic(0).ReceivedBytes }
			start := received()
			cp := receiver.Host.Start(receiver.command("cp", from, to))
			lantest.WaitFor(t, slow, "half of the file", func() bool {
				if err, ended := cp.Wait(0); ended {
					t.Fatalf("cp ended before half: %v\n%s", err, cp.Output())
				}
				return received()-start > size/2
			})
			c.disturb(t, dir, sender, receiver)
			disturbed := time.Now()
			if _, err := os.Stat(to); err == nil {
				if _, ended := cp.Wait(0); !ended {
					t.Error("the final name is there before the file is whole")
				}
			}
			if _, ended := cp.Wait(slow); !ended {
				t.Fatalf("cp hangs\n%s", receiver.log())
			}
			first := cp.Cmd.ProcessState.ExitCode()
			t.Logf("%v after the disturbance the first cp ended with status %d %s", time.Since(disturbed).Round(time.Millisecond), first, tail(cp.Output(), 300))
			status, asked := first, 1
			for ; status != 0 && asked < tries; asked++ {
				if _, err := os.Stat(to); err == nil {
					t.Error("cp failed and left something under the final name")
				}
				fullView(t, quick, sender, receiver)
				r := receiver.run(slow, "cp", from, to)
				if status = r.Status; status != 0 {
					t.Logf("cp again: status %d %s", r.Status, r.Stderr)
				}
			}
			if status != 0 {
				t.Fatalf("%d times asked and never done\n%s", asked, receiver.log())
			}
			if got := sum(t, to); got != want {
				t.Errorf("sum %s, want %s", got, want)
			}
			all := received() - start
			t.Logf("asked %d times, %d MiB received in all", asked, all>>20)
			if all > size+overhead+inFlight {
				t.Errorf("received %d MiB for a file of %d: what was verified was fetched again", all>>20, size>>20)
			}
		})
	}
}

// TestChanging reads a file that its owner rewrites again and again: every version is filled with one byte, so a mix shows.
func TestChanging(t *testing.T) {
	t.Parallel()
	const size = 32 << 20
	dir := ram(t)
	name := filepath.Join(dir, "f")
	version := func(b byte) []byte {
		p := make([]byte, size)
		for i := range p {
			p[i] = b
		}
		return p
	}
	texts := [][]byte{version('a'), version('b'), version('c')}
	if err := os.WriteFile(name, texts[0], 0o644); err != nil {
		t.Fatal(err)
	}
	for _, way := range []struct {
		name    string
		rewrite func(p []byte) error
	}{
		{"in place", func(p []byte) error {
			f, err := os.OpenFile(name, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt(p, 0)
			return err
		}},
		{"by rename", func(p []byte) error {
			if err := os.WriteFile(name+".new", p, 0o644); err != nil {
				return err
			}
			return os.Rename(name+".new", name)
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			_, receiver := pair(t, dir)
			to := filepath.Join(ram(t), "f")
			pauses := []time.Duration{0, 25 * time.Millisecond, 0, 100 * time.Millisecond, 0, 400 * time.Millisecond}
			stop, stopped := make(chan struct{}), make(chan error, 1)
			go func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						stopped <- nil
						return
					case <-time.After(pauses[i%len(pauses)]):
					}
					if err := way.rewrite(texts[i%len(texts)]); err != nil {
						stopped <- err
						return
					}
				}
			}()
			whole, changed := 0, 0
			for range 25 {
				r := receiver.run(slow, "cp", "-f", "//h1/data/f", to)
				switch {
				case r.Status == 0:
					whole++
					b, err := os.ReadFile(to)
					if err != nil || len(b) != size || strings.Count(string(b), string(b[:1])) != size {
						t.Fatalf("a mix of versions arrived (%d bytes, %v)", len(b), err)
					}
				case r.Status == 6 && strings.Contains(r.Stderr, "changed"):
					changed++
				default:
					t.Fatalf("exit status %d\n%s", r.Status, r.Stderr)
				}
			}
			close(stop)
			if err := <-stopped; err != nil {
				t.Fatal(err)
			}
			t.Logf("%d whole versions, %d times changed meanwhile", whole, changed)
			receiver.ok(slow, "cp", "-f", "//h1/data/f", to) // quiet again
			if sum(t, to) != sum(t, name) {
				t.Error("the last version did not arrive")
			}
		})
	}
}

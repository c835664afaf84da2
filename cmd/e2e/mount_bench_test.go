//go:build linux

package e2e

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/peerd/peerd/cmd/internal/config"
	"github.com/peerd/peerd/cmd/internal/lantest"
)

// What of the comparison of mounts is run: the mounters and rows whose names fit.
var (
	onlyMounter = flag.String("mounter", "", "regexp of the mounters that BenchmarkMount compares; all if empty")
	onlyRow     = flag.String("row", "", "regexp of the rows that BenchmarkMount measures; all if empty")
)

// mounter is a program that mounts a folder of the rig's server at its client.
type mounter struct {
	name  string
	needs []string
	serve func(r *rig)                    // once
	mount func(r *rig, dir string) func() // and gives what unmounts it
}

func mounters() []mounter {
	return []mounter{
		{"peerd", []string{"fusermount3"}, servePeerd, mountPeerd},
		{"sshfs", []string{"sshfs", "sshd", "ssh-keygen"}, serveSSH, mountSSH},
		{"rclone webdav", []string{"rclone", "fusermount3"}, serveDav, func(r *rig, dir string) func() {
			return r.rclone(dir, "R:", "TYPE=webdav", "URL=http://"+r.address+":8090", "VENDOR=other")
		}},
		{"rclone sftp", []string{"rclone", "sshd", "ssh-keygen", "fusermount3"}, serveSSH, func(r *rig, dir string) func() {
			// without a shell for checksums: what root's start-up files do is not what is measured
			return r.rclone(dir, "R:"+r.src, "TYPE=sftp", "HOST="+r.address, "USER=root", "KEY_FILE="+r.work+"/ssh/id", "SHELL_TYPE=none",
				"DISABLE_HASHCHECK=true")
		}},
		{"davfs2", []string{"rclone", "mount.davfs"}, serveDav, mountDav},
	}
}

func servePeerd(r *rig) {
	owner, guest := r.peers[0], r.peers[1]
	owner.start()
	owner.open(r.src, "src")
	owner.ok(quick, "share", "set", "src", "--brake", "off")
	// As much as davfs2 may keep; without a word it would be a part of what memory is free.
	write(r.tb, filepath.Join(guest.home, config.FileName), "[swarm]\ncache_gb = 2\n")
	guest.start()
	fullView(r.tb, quick, owner, guest)
	guest.knows("//h1/src")
}

// mountPeerd mounts with nothing kept from before.
func mountPeerd(r *rig, dir string) func() {
	guest := r.peers[1]
	guest.daemon.Stop()
	for _, kept := range []string{"cache", "tree"} {
		if err := os.RemoveAll(filepath.Join(guest.home, kept)); err != nil {
			r.tb.Fatal(err)
		}
	}
	guest.start()
	fullView(r.tb, quick, r.peers[:2]...)
	guest.knows("//h1/src")
	guest.ok(quick, "mount", "//h1/src", dir)
	return func() { guest.ok(slow, "umount", dir) }
}

func serveSSH(r *rig) {
	if _, err := os.Stat(r.work + "/ssh/id"); err == nil {
		return // it runs already
	}
	scpTool(r)
}

func serveDav(r *rig) {
	if _, err := os.Stat(r.work + "/dav"); err == nil {
		return
	}
	r.folder("dav")
	r.serve("8090", "rclone", "serve", "webdav", "--addr", r.address+":8090", r.src)
}

// lasting starts a program that mounts dir, and waits until it has; the function that it gives ends both. It gives nil if nothing is
// mounted.
func (r *rig) lasting(dir string, cmd *exec.Cmd) func() {
	r.tb.Helper()
	p := r.client.Start(cmd)
	for began := time.Now(); r.client.Run(quick, r.client.Command("mountpoint", "-q", dir)).Status != 0; time.Sleep(20 * time.Millisecond) {
		if err, ended := p.Wait(0); ended && err != nil || time.Since(began) > quick {
			r.tb.Logf("%s does not mount: %v\n%s", cmd.Args[0], err, p.Output())
			p.Kill()
			return nil
		}
	}
	return func() {
		lantest.WaitFor(r.tb, slow, cmd.Args[0]+" to unmount", func() bool {
			return r.client.Run(slow, r.client.Command("umount", dir)).Status == 0 ||
				r.client.Run(quick, r.client.Command("mountpoint", "-q", dir)).Status != 0
		})
		p.Wait(quick)
	}
}

func mountSSH(r *rig, dir string) func() {
	ssh := "ssh -F none -i " + r.work + "/ssh/id -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes"
	return r.lasting(dir, r.client.Command("sshfs", "-f", "-o", "ssh_command="+ssh, "root@"+r.address+":"+r.src, dir))
}

// rclone mounts a remote called R, with its settings.
func (r *rig) rclone(dir, remote string, settings ...string) func() {
	if err := os.RemoveAll(r.work + "/rclone"); err != nil {
		r.tb.Fatal(err)
	}
	cmd := r.client.Command("rclone", "mount", remote, dir, "--vfs-cache-mode", "full", "--cache-dir", r.work+"/rclone", "--vfs-write-back", "0s")
	cmd.Env = append(cmd.Env, "RCLONE_CONFIG=/dev/null")
	for _, s := range settings {
		cmd.Env = append(cmd.Env, "RCLONE_CONFIG_R_"+s)
	}
	return r.lasting(dir, cmd)
}

// mountDav has davfs2 read folders in large steps: with its usual ones new kernels give it EINVAL.
func mountDav(r *rig, dir string) func() {
	cache := r.work + "/davcache"
	if err := os.Chmod(filepath.Dir(r.work), 0o755); err != nil { // it gives up root's rights
		r.tb.Fatal(err)
	}
	if res := r.client.Run(quick, r.client.Command("sh", "-c", "rm -rf "+cache+"; mkdir -p /run/mount.davfs "+cache+"; chown root:davfs2 /run/mount.davfs "+cache+"; chmod 1775 /run/mount.davfs "+cache)); res.Status != 0 {
		r.tb.Logf("mount.davfs: %s", res.Stderr)
		return nil
	}
	write(r.tb, r.work+"/davsecrets", "")
	write(r.tb, r.work+"/davfs.conf", fmt.Sprintf("cache_dir %s\nask_auth 0\nsecrets %s/davsecrets\ncache_size 2048\nbuf_size 1040\ndelay_upload 0\n", cache, r.work))
	if err := os.Chmod(r.work+"/davsecrets", 0o600); err != nil {
		r.tb.Fatal(err)
	}
	return r.lasting(dir, r.client.Command("mount.davfs", "http://"+r.address+":8090/", dir, "-o", "conf="+r.work+"/davfs.conf,uid=root,gid=root"))
}

// job is one row of the comparison: a shell's line that is run in a mount, M, with the number of the run, N, and the rig's own files,
// W. K, the mounter and the run, is in the names of what a line makes: were they used again, a server that does not notice what the
// benchmark removes behind its back would think that they are still there. Before the first of a mount nothing of it was read.
type job struct {
	name, unit string
	line       string
	after      string                                          // another line, run before the clock stops, at the server with its folder as S
	arrived    func(r *rig, made string) bool                  // stops the clock in place of after, which then says whether it is true; nil if there is none
	figure     func(took time.Duration, output string) float64 // what is told; more is better where unit has a slash
}

const mountedFile = 256 << 20

// beside begins the name of the row that is measured beside the mount of peerd, by a daemon that keeps nothing of what was read.
const beside = "peerd cp"

// afresh is the name of the row that is measured in a mount made anew, as by another computer, of what was read before: peerd's owner
// has hashed it by then, once for all who come.
const afresh = "read 256 MiB, cold, read by another before"

// readsOf names the variable that has the test's program read a file here and there, and print how often it did in a second, from
// before it opened it until it was closed: some mounts fetch all of a file when it is opened.
const readsOf = "PEERD_E2E_READS"

// readHereAndThere does it, and gives the exit status.
func readHereAndThere(path string) int {
	const size, reads = 64 << 20, 2048
	rnd := rand.New(rand.NewPCG(7, 7))
	b := make([]byte, 4<<10)
	began := time.Now()
	f, err := os.Open(path)
	for i := 0; i < reads && err == nil; i++ {
		_, err = f.ReadAt(b, rnd.Int64N(size/int64(len(b)))*int64(len(b)))
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(reads / time.Since(began).Seconds())
	return 0
}

func mountJobs() []job {
	rate := func(took time.Duration, _ string) float64 { return mountedFile / 1e6 / took.Seconds() }
	seconds := func(took time.Duration, _ string) float64 { return took.Seconds() }
	// What shells and pipes take to begin is longer than such a find, and no mount's doing.
	const find = `bash -c 'TIMEFORMAT=%R; time find $M/small -type f >$W/found' 2>&1 && test $(wc -l <$W/found) = 10000`
	itself := func(_ time.Duration, output string) float64 {
		s, err := strconv.ParseFloat(strings.Replace(strings.TrimSpace(output), ",", ".", 1), 64)
		if err != nil {
			return math.NaN()
		}
		return s
	}
	return []job{
		{"read 256 MiB, cold", "MB/s", `dd if=$M/read$N of=/dev/null bs=1M status=none`, "", nil, rate},
		{afresh, "MB/s", `dd if=$M/read$N of=/dev/null bs=1M status=none`, "", nil, rate},
		{"read 256 MiB, warm", "MB/s", `dd if=$M/read$N of=/dev/null bs=1M status=none`, "", nil, rate},
		{"write 256 MiB, at the owner", "MB/s", `dd if=$W/write of=$M/written$K bs=1M conv=fsync status=none`, `test "$(stat -c %s $S/written$K)" = "$(stat -c %s $W/write)" && cmp -s $S/written$K $W/write`, nil, rate},
		{"random 4 KiB reads, with opening", "1/s", readsOf + `=$M/random$N $T`, "", nil, itself},
		// Each page of the file once. What it takes to open it fio does not count.
		{"random 4 KiB reads of all 64 MiB, by fio", "1/s", `fio --name=r --filename=$M/whole$N --rw=randread --bs=4k --size=64M --runtime=4 --randseed=7 --minimal | cut -d';' -f8`, "", nil, itself},
		{"find in 10,000 files, cold", "s", find, "", nil, itself},
		{"find in 10,000 files, warm", "s", find, "", nil, itself},
		{"cp -r of go/src/net, at the owner", "s", `cp -r $W/net $M/net$K`, `test "$(find $S/net$K | wc -l)" = "$(find $W/net | wc -l)" && diff -rq $W/net $S/net$K >/dev/null`,
			func(r *rig, made string) bool { return sameSizes(r.work+"/net", r.src+"/net"+made) }, seconds},
		{"git status, second", "s", `git -C $M/repo status >/dev/null`, "", nil, seconds},
		// Of what its owner hashed as little as of what the first row reads.
		{beside + " of 256 MiB", "MB/s", `$P --home $H cp //h1/src/copied$N $D/copy$N && rm $D/copy$N`, "", nil, rate},
	}
}

// sameSizes reports whether a folder holds what another does, by names and sizes.
func sameSizes(want, got string) bool {
	missing := errors.New("missing")
	return filepath.WalkDir(want, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		a, err := d.Info()
		if err != nil {
			return err
		}
		b, err := os.Stat(got + strings.TrimPrefix(path, want))
		if err != nil || a.Mode().Type() != b.Mode().Type() || !d.IsDir() && a.Size() != b.Size() {
			return missing
		}
		return nil
	}) == nil
}

// prepare makes what the jobs read.
func (r *rig) prepareMounts(b *testing.B, rounds int) {
	for i := range rounds {
		for _, name := range []string{"read", "copied"} {
			fill(b, fmt.Sprintf("%s/%s%d", r.src, name, i), mountedFile, byte(i))
		}
		fill(b, fmt.Sprintf("%s/random%d", r.src, i), 64<<20, byte(100+i))
		fill(b, fmt.Sprintf("%s/whole%d", r.src, i), 64<<20, byte(150+i))
	}
	fill(b, r.work+"/write", mountedFile, 200)
	for i := range 10_000 {
		write(b, fmt.Sprintf("%s/small/d%02d/f%02d", r.src, i/100, i%100), "x")
	}
	sh := fmt.Sprintf(`set -e; cp -r "$(go env GOROOT)/src/net" %[1]s/net; cp -r %[1]s/net %[2]s/repo; cd %[2]s/repo; git init -q; git add -A
git -c user.name=b -c user.email=b@b commit -qm x`, r.work, r.src)
	if out, err := exec.Command("sh", "-c", sh).CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
}

// BenchmarkMount compares what programs see in a mount, over a network without delay.
func BenchmarkMount(b *testing.B) { compareMounts(b, "no delay", 0, "") }

// compareMounts runs each job by each installed mounter in turn, and prints the medians. rate limits the client's cable, see
// [lantest.Host.Limit].
func compareMounts(b *testing.B, title string, delay time.Duration, rate string) {
	lantest.Need(b, "git", "mountpoint")
	r := newRig(b, 2)
	r.client.Limit(0, rate)
	if delay > 0 {
		r.client.Delay(0, delay/2)
	}
	r.prepareMounts(b, *runs)
	var all []mounter
	for _, m := range mounters() {
		if !fits(b, *onlyMounter, m.name) {
			continue
		}
		if !installed(m.needs) {
			b.Logf("%s is left out: not installed", m.name)
			continue
		}
		m.serve(r)
		all = append(all, m)
	}
	jobs := slices.DeleteFunc(mountJobs(), func(j job) bool { return !fits(b, *onlyRow, j.name) })
	figures := make(map[string][]float64) // by mounter and job
	for round := range *runs {
		for _, m := range all {
			name := strings.ReplaceAll(m.name, " ", "-")
			dir, made := filepath.Join(r.client.Home, "mnt-"+name), fmt.Sprint(name, round)
			if err := errors.Join(os.MkdirAll(dir, 0o755), os.MkdirAll(r.dst, 0o755)); err != nil {
				b.Fatal(err)
			}
			_ = os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0) // names and attributes that the kernel keeps
			unmount := m.mount(r, dir)
			if unmount == nil {
				continue
			}
			for _, j := range jobs {
				isBeside := strings.HasPrefix(j.name, beside)
				if isBeside && m.name != "peerd" {
					continue
				}
				if j.name == afresh && *onlyRow != "" { // the first row did not read it
					_, _ = r.job(j, dir, round, made)
				}
				if j.name == afresh || isBeside {
					unmount()
					if unmount = m.mount(r, dir); unmount == nil {
						break
					}
				}
				if v, why := r.job(j, dir, round, made); why == "" {
					figures[m.name+j.name] = append(figures[m.name+j.name], v)
					fmt.Printf("%s: %s: %.4g %s\n", m.name, j.name, v, j.unit)
				} else {
					b.Logf("%s: %s: %s", m.name, j.name, why)
				}
			}
			if unmount != nil {
				unmount()
			}
			for _, begin := range []string{"written", "net"} {
				_ = os.RemoveAll(filepath.Join(r.src, begin+made))
			}
		}
	}
	printMountFigures(title, all, jobs, figures)
}

// fits reports whether a name is one that was asked for.
func fits(b *testing.B, asked, name string) bool {
	b.Helper()
	ok, err := regexp.MatchString(asked, name)
	if err != nil {
		b.Fatal(err)
	}
	return ok
}

// job runs one job and gives its figure, or why there is none.
func (r *rig) job(j job, dir string, round int, made string) (figure float64, why string) {
	self, err := os.Executable()
	if err != nil {
		r.tb.Fatal(err)
	}
	run := func(h *lantest.Host, line string) lantest.Result {
		cmd := h.Command("timeout", "150", "sh", "-c", line)
		cmd.Env = append(cmd.Env, "M="+dir, "W="+r.work, "S="+r.src, "D="+r.dst, "T="+self, "P="+r.peers[1].peerd, "H="+r.peers[1].home, fmt.Sprint("N=", round), "K="+made)
		return h.Run(slow, cmd)
	}
	if strings.HasSuffix(j.name, "second") || strings.HasSuffix(j.name, "warm") && *onlyRow != "" {
		run(r.client, j.line)
	}
	r.touch(4 * mountedFile)
	// What nobody read since it was made is slower to read, and whichever mounter is first would pay for it.
	if res := run(r.server, "cat $S/read$N $S/copied$N $S/random$N $S/whole$N >/dev/null"); res.Status != 0 {
		return 0, "what is to be read is not there: " + tail(res.Stderr, 500)
	}
	began := time.Now()
	res := run(r.client, j.line)
	if res.Status != 0 {
		return 0, fmt.Sprintf("exit status %d\n%s", res.Status, tail(res.Stderr, 500))
	}
	took := res.Took
	if j.arrived != nil {
		for !j.arrived(r, made) {
			if time.Since(began) > slow {
				return 0, "it never was at the owner"
			}
			time.Sleep(5 * time.Millisecond)
		}
		took = time.Since(began)
		if run(r.server, j.after).Status != 0 {
			return 0, "something else is at the owner"
		}
	} else if j.after != "" {
		for run(r.server, j.after).Status != 0 {
			if time.Since(began) > slow {
				return 0, "it never was at the owner"
			}
			time.Sleep(50 * time.Millisecond) // else looking takes the time of what is looked for
		}
		took = time.Since(began)
	}
	return j.figure(took, res.Stdout), ""
}

func printMountFigures(title string, all []mounter, jobs []job, figures map[string][]float64) {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "mounts, %s, median of %d runs in turn\t\t", title, *runs)
	for _, m := range all {
		fmt.Fprintf(w, "%s\t", m.name)
	}
	fmt.Fprintln(w)
	for _, j := range jobs {
		fmt.Fprintf(w, "%s\t%s\t", j.name, j.unit)
		for _, m := range all {
			v := slices.Sorted(slices.Values(figures[m.name+j.name]))
			if len(v) == 0 {
				fmt.Fprint(w, "fails\t")
				continue
			}
			fmt.Fprintf(w, "%.4g\t", v[len(v)/2])
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	fmt.Printf("\n%s\n", out.String())
}

// BenchmarkMountCable is BenchmarkMount on the cables that homes and offices have, 1 and 2.5 Gbit/s, where the network is the bound and not
// the processors.
func BenchmarkMountCable(b *testing.B) {
	for _, rate := range []string{"1gbit", "2500mbit"} {
		b.Run(rate, func(b *testing.B) { compareMounts(b, "cable of "+rate, 0, rate) })
	}
}

// BenchmarkMountFar is BenchmarkMount with a round trip of 5 ms, on a cable of 1 Gbit/s and on one without a limit, and of 20 ms.
func BenchmarkMountFar(b *testing.B) {
	for _, far := range []struct {
		delay time.Duration
		rate  string
	}{{5 * time.Millisecond, "1gbit"}, {5 * time.Millisecond, ""}, {20 * time.Millisecond, ""}} {
		name := strings.TrimSpace(far.delay.String() + " " + far.rate)
		b.Run(name, func(b *testing.B) { compareMounts(b, name+" round trip", far.delay, far.rate) })
	}
}

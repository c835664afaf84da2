//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/peerd/peerd/cmd/internal/lantest"
)

// rig is two hosts, a folder to serve on the first, and a folder for what the second fetches.
type rig struct {
	tb             testing.TB
	server, client *lantest.Host
	address        string // of the server
	src, dst, work string
	peers          []*node // peerd on both
}

// touch has memory ready. A virtual machine has memory of its host that it never used, or gave back, only once it is written to, which
// took six times as long as the copy itself: whoever is measured first, or with the most files, would pay for all.
func (r *rig) touch(bytes int64) {
	r.tb.Helper()
	ballast := filepath.Join(ram(r.tb), "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		r.tb.Fatal(err)
	}
	defer f.Close()
	defer os.Remove(ballast)
	zeros := make([]byte, 1<<20)
	for ; bytes > 0; bytes -= int64(len(zeros)) {
		if _, err := f.Write(zeros); err != nil {
			r.tb.Fatal(err)
		}
	}
}

// tool is a program that fetches files over a network, started for one benchmark. The exact commands stand in its maker.
type tool struct {
	name   string
	server []*lantest.Process // started, serving rig.src
	client []*lantest.Process // what helps the command on the client's side
	big    *exec.Cmd          // fetches src/big/big.bin as dst/big.bin
	small  *exec.Cmd          // fetches src/small as dst/small
}

// toolMaker starts a tool, if the programs that it needs are there.
type toolMaker struct {
	name  string
	needs []string
	make  func(*rig) tool
}

// toolMakers are all that can be measured, the present peerd first.
var toolMakers = []toolMaker{
	{"peerd", nil, peerdTool},
	{"https (nginx, curl)", []string{"nginx", "curl", "openssl"}, httpsTool},
	{"scp (aes128-gcm)", []string{"sshd", "scp", "ssh-keygen"}, scpTool},
	{"SMB3 plain", []string{"smbd", "smbclient", "smbpasswd"}, func(r *rig) tool { return smbTool(r, "4450", "server signing = auto") }},
	{"SMB3 encrypted", []string{"smbd", "smbclient", "smbpasswd"}, func(r *rig) tool { return smbTool(r, "4451", "smb encrypt = required") }},
	{"rsync daemon (plain)", []string{"rsync"}, rsyncTool},
}

// listening waits until the server accepts connections.
func (r *rig) listening(port string) {
	r.tb.Helper()
	lantest.WaitFor(r.tb, quick, "port "+port, func() bool {
		return r.client.Do(func() error {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			var number int
			if _, err := fmt.Sscan(port, &number); err != nil {
				return err
			}
			return unix.Connect(fd, &unix.SockaddrInet4{Port: number, Addr: r.server.Addr(0).As4()})
		}) == nil
	})
}

// serve runs a server's command in a folder of its own.
func (r *rig) serve(port, name string, args ...string) *lantest.Process {
	r.tb.Helper()
	p := r.server.Start(r.server.Command(name, args...))
	r.listening(port)
	return p
}

// setUp runs a command that prepares a server.
func (r *rig) setUp(stdin, name string, args ...string) {
	r.tb.Helper()
	cmd := r.server.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if res := r.server.Run(quick, cmd); res.Status != 0 {
		r.tb.Fatalf("%s: exit status %d\n%s%s", name, res.Status, res.Stdout, res.Stderr)
	}
}

func (r *rig) folder(name string) string {
	r.tb.Helper()
	dir := filepath.Join(r.work, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		r.tb.Fatal(err)
	}
	return dir
}

func peerdTool(r *rig) tool { return peerdPair(r, r.peers[0], r.peers[1], "WORKGROUP") }

// peerdPair starts two daemons in a workgroup.
func peerdPair(r *rig, owner, fetcher *node, workgroup string) tool {
	owner.start("--workgroup", workgroup, "--share", r.src+"=src")
	fetcher.start("--workgroup", workgroup)
	fullView(r.tb, quick, owner, fetcher)
	return tool{
		server: []*lantest.Process{owner.daemon},
		client: []*lantest.Process{fetcher.daemon},
		big:    fetcher.command("cp", "//"+owner.Name+"/src/big/big.bin", r.dst),
		small:  fetcher.command("cp", "-r", "//"+owner.Name+"/src/small", r.dst),
	}
}

func httpsTool(r *rig) tool {
	p, curl := https(r)
	return tool{server: []*lantest.Process{p}, big: curl(r.client, "big/big.bin", r.dst+"/big.bin")}
}

// https serves the rig's folder, and gives the command that fetches a file of it.
func https(r *rig) (server *lantest.Process, curl func(at *lantest.Host, name, to string) *exec.Cmd) {
	w := r.folder("https")
	r.setUp("", "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", w+"/key",
		"-out", w+"/crt", "-days", "2", "-subj", "/CN="+r.address, "-addext", "subjectAltName=IP:"+r.address)
	write(r.tb, w+"/conf", fmt.Sprintf(`daemon off; user root; worker_processes auto; pid %[1]s/pid; error_log %[1]s/err;
events { worker_connections 1024; }
http { access_log off; sendfile on; tcp_nopush on;
 client_body_temp_path %[1]s/b; fastcgi_temp_path %[1]s/f; scgi_temp_path %[1]s/s; uwsgi_temp_path %[1]s/u; proxy_temp_path %[1]s/p;
 server { listen 443 ssl; ssl_certificate %[1]s/crt; ssl_certificate_key %[1]s/key; ssl_protocols TLSv1.3; root %[2]s; } }
`, w, r.src))
	server = r.serve("443", "nginx", "-c", w+"/conf", "-e", w+"/err")
	return server, func(at *lantest.Host, name, to string) *exec.Cmd {
		return at.Command("curl", "-sSf", "--cacert", w+"/crt", "-o", to, "https://"+r.address+"/"+name)
	}
}

func scpTool(r *rig) tool {
	w := r.folder("ssh")
	r.setUp("", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", w+"/host")
	r.setUp("", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", w+"/id")
	write(r.tb, w+"/conf", fmt.Sprintf(`Port 22
HostKey %[1]s/host
AuthorizedKeysFile %[1]s/id.pub
StrictModes no
PidFile none
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
Subsystem sftp internal-sftp
`, w))
	if err := r.server.Do(func() error { return os.MkdirAll("/run/sshd", 0o755) }); err != nil {
		r.tb.Fatal(err)
	}
	sshd, err := exec.LookPath("sshd") // it wants its full path
	if err != nil {
		r.tb.Fatal(err)
	}
	p := r.serve("22", sshd, "-D", "-e", "-f", w+"/conf")
	options := []string{"-q", "-r", "-F", "none", "-c", "aes128-gcm@openssh.com", "-i", w + "/id", "-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"}
	scp := func(from, to string) *exec.Cmd {
		return r.client.Command("scp", append(options[:len(options):len(options)], "root@"+r.address+":"+from, to)...)
	}
	return tool{
		server: []*lantest.Process{p},
		big:    scp(r.src+"/big/big.bin", r.dst+"/big.bin"),
		small:  scp(r.src+"/small", r.dst+"/small"),
	}
}

func smbTool(r *rig, port, option string) tool {
	const password = "benchmark"
	w := r.folder("smb" + port)
	for _, dir := range []string{"private", "lock", "state", "cache", "pid", "rpc"} {
		r.folder("smb" + port + "/" + dir)
	}
	write(r.tb, w+"/conf", fmt.Sprintf(`[global]
server role = standalone server
private dir = %[1]s/private
lock directory = %[1]s/lock
state directory = %[1]s/state
cache directory = %[1]s/cache
pid directory = %[1]s/pid
ncalrpc dir = %[1]s/rpc
log file = %[1]s/log
passdb backend = tdbsam:%[1]s/private/passdb.tdb
disable netbios = yes
smb ports = %[2]s
load printers = no
printing = bsd
printcap name = /dev/null
server min protocol = SMB3
%[3]s
[s]
path = %[4]s
`, w, port, option, r.src))
	r.setUp(password+"\n"+password+"\n", "smbpasswd", "-c", w+"/conf", "-a", "-s", "root")
	p := r.serve(port, "smbd", "-F", "--no-process-group", "-s", w+"/conf", "--debug-stdout")
	get := func(commands string) *exec.Cmd {
		return r.client.Command("smbclient", "-s", "/dev/null", "-m", "SMB3", "-p", port, "-U", "root%"+password, "//"+r.address+"/s", "-c", commands)
	}
	return tool{
		server: []*lantest.Process{p},
		big:    get("get big/big.bin " + r.dst + "/big.bin"),
		small:  get("recurse on; prompt off; lcd " + r.dst + "; mget small"),
	}
}

func rsyncTool(r *rig) tool {
	w := r.folder("rsync")
	write(r.tb, w+"/conf", fmt.Sprintf("uid=root\ngid=root\nuse chroot=no\nlog file=/dev/null\npid file=%s/pid\nreverse lookup=no\n[s]\npath=%s\n", w, r.src))
	p := r.serve("873", "rsync", "--daemon", "--no-detach", "--config="+w+"/conf", "--port=873")
	url := "rsync://" + r.address + "/s/"
	return tool{
		server: []*lantest.Process{p},
		big:    r.client.Command("rsync", "-a", url+"big/big.bin", r.dst+"/big.bin"),
		small:  r.client.Command("rsync", "-a", url+"small", r.dst),
	}
}

// installed reports whether all the programs are there.
func installed(programs []string) bool {
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			return false
		}
	}
	return true
}

// clone gives a command that was not started yet.
func clone(c *exec.Cmd) *exec.Cmd {
	again := exec.Command(c.Args[0], c.Args[1:]...)
	again.Path, again.Dir, again.Env = c.Path, c.Dir, append([]string(nil), c.Env...)
	return again
}

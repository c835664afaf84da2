package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What the system tells in files: Linux's, and nothing where there are none.

// Firewall is one that is in force on this computer.
type Firewall string

// The firewalls that are known by name.
const (
	UFW       Firewall = "ufw"
	Firewalld Firewall = "firewalld"
	NFTables  Firewall = "nftables"
	IPTables  Firewall = "iptables"
)

// linkFacts tells the speed of links in Mbit/s, as far as the driver says, and which are Wi-Fi.
func linkFacts(sys fs.FS, links []Link) (speeds map[string]int, wireless map[string]bool) {
	speeds, wireless = make(map[string]int), make(map[string]bool)
	for _, l := range links {
		dir := path.Join("sys/class/net", l.Name)
		if b, err := fs.ReadFile(sys, path.Join(dir, "speed")); err == nil {
			if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && n > 0 {
				speeds[l.Name] = n
			}
		}
		for _, sign := range []string{"wireless", "phy80211"} {
			if _, err := fs.Stat(sys, path.Join(dir, sign)); err == nil {
				wireless[l.Name] = true
			}
		}
	}
	return speeds, wireless
}

// openFiles is how many files are open, 0 where that is not known, and how many may be.
func openFiles(sys fs.FS) files {
	list, _ := fs.ReadDir(sys, "proc/self/fd") // 0 then
	return files{open: uint64(len(list)), limit: fileLimit()}
}

// holders names the other programs that have UDP port 5353, as far as we may know.
func holders(sys fs.FS, self int) []string {
	inodes := make(map[string]bool)
	for _, table := range []string{"proc/net/udp", "proc/net/udp6"} {
		b, err := fs.ReadFile(sys, table)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			// sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode; addresses in hexadecimal
			if f := strings.Fields(line); len(f) > 9 && strings.HasSuffix(f[1], ":14E9") {
				inodes["socket:["+f[9]+"]"] = true
			}
		}
	}
	var names []string
	for pid, name := range processes(sys) {
		if pid != self && hasSocket(sys, pid, name, inodes) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// hasSocket reports whether a process has any of some sockets. What other users' processes have is not told to
// everybody; of those the usual one is taken for it.
func hasSocket(sys fs.FS, pid int, name string, inodes map[string]bool) bool {
	if len(inodes) == 0 {
		return false
	}
	dir := path.Join("proc", strconv.Itoa(pid), "fd")
	list, err := fs.ReadDir(sys, dir)
	if err != nil {
		return errors.Is(err, fs.ErrPermission) && name == "avahi-daemon"
	}
	return slices.ContainsFunc(list, func(d fs.DirEntry) bool {
		target, err := fs.ReadLink(sys, path.Join(dir, d.Name()))
		return err == nil && inodes[target]
	})
}

// processes are the names of all that runs, by process ID.
func processes(sys fs.FS) map[int]string {
	list, _ := fs.ReadDir(sys, "proc") // none then
	names := make(map[int]string)
	for _, d := range list {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		if b, err := fs.ReadFile(sys, path.Join("proc", d.Name(), "comm")); err == nil {
			names[pid] = strings.TrimSpace(string(b))
		}
	}
	return names
}

// firewalls are those that files tell of, which is all that one who is not root can know.
func firewalls(sys fs.FS) []Firewall {
	var list []Firewall
	if b, err := fs.ReadFile(sys, "etc/ufw/ufw.conf"); err == nil {
		for line := range strings.Lines(string(b)) {
			if strings.EqualFold(strings.TrimSpace(line), "ENABLED=yes") {
				list = append(list, UFW)
			}
		}
	}
	for _, name := range processes(sys) {
		if name == "firewalld" {
			list = append(list, Firewalld)
			break
		}
	}
	return list
}

// Programs asks nft and iptables for rules that drop what comes in. They answer root alone.
func Programs(ctx context.Context) []Firewall {
	const limit = time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "nft", "-j", "list", "ruleset").Output(); err == nil {
		if nftDrops(out) { // it knows iptables' rules as well
			return []Firewall{NFTables}
		}
		return nil
	}
	if out, err := exec.CommandContext(ctx, "iptables", "-S", "INPUT").Output(); err == nil && iptablesDrops(string(out)) {
		return []Firewall{IPTables}
	}
	return nil
}

// nftDrops reports whether a rule set, in nft's JSON, has a chain for what comes in that drops or rejects anything.
func nftDrops(rules []byte) bool {
	type chain struct {
		Family, Table, Name, Chain, Hook, Policy string
		Expr                                     []map[string]json.RawMessage
	}
	var set struct {
		Nftables []struct{ Chain, Rule *chain }
	}
	if json.Unmarshal(rules, &set) != nil {
		return false
	}
	inward := make(map[[3]string]bool)
	for _, o := range set.Nftables {
		if c := o.Chain; c != nil && c.Hook == "input" {
			if c.Policy == "drop" {
				return true
			}
			inward[[3]string{c.Family, c.Table, c.Name}] = true
		}
	}
	for _, o := range set.Nftables {
		if r := o.Rule; r != nil && inward[[3]string{r.Family, r.Table, r.Chain}] {
			for _, e := range r.Expr {
				if _, drops := e["drop"]; drops {
					return true
				}
				if _, rejects := e["reject"]; rejects {
					return true
				}
			}
		}
	}
	return false
}

// iptablesDrops reports whether the rules that iptables -S prints drop or reject anything.
func iptablesDrops(rules string) bool {
	for line := range strings.Lines(rules) {
		f := strings.Fields(line)
		if slices.Equal(f, []string{"-P", "INPUT", "DROP"}) {
			return true
		}
		if i := slices.Index(f, "-j"); i >= 0 && i+1 < len(f) && (f[i+1] == "DROP" || f[i+1] == "REJECT") {
			return true
		}
	}
	return false
}

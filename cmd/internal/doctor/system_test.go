package doctor

import (
	"io/fs"
	"maps"
	"slices"
	"testing"
	"testing/fstest"
)

// linux is a file system as far as the doctor reads it: Avahi and dnsmasq have port 5353, we have process ID 7.
func linux() fstest.MapFS {
	text := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	link := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s), Mode: fs.ModeSymlink} }
	const udp = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  100: 00000000:14E9 00000000:0000 07 00000000:00000000 00:00000000 00000000   104        0 111 2 0000000000000000 0
  101: 00000000:14E9 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 777 2 0000000000000000 0
  102: 00000000:0044 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 555 2 0000000000000000 0
  broken
`
	const udp6 = "  sl\n  1: 00000000000000000000000000000000:14E9 00000000000000000000000000000000:0000 07 0:0 00:0 0 0 0 222 2 0 0\n"
	return fstest.MapFS{
		"proc/net/udp": text(udp), "proc/net/udp6": text(udp6),
		"proc/7/comm": text("peerd\n"), "proc/7/fd/3": link("socket:[777]"),
		"proc/10/comm": text("avahi-daemon\n"), "proc/10/fd/12": link("socket:[111]"), "proc/10/fd/13": link("/dev/null"),
		"proc/11/comm": text("dnsmasq\n"), "proc/11/fd/4": link("socket:[222]"),
		"proc/12/comm": text("dhclient\n"), "proc/12/fd/4": link("socket:[555]"),
		"proc/13/comm":   text("firewalld\n"),
		"proc/self/fd/0": text(""), "proc/self/fd/1": text(""),
		"etc/ufw/ufw.conf":              text("# a comment\nENABLED=yes\nLOGLEVEL=low\n"),
		"sys/class/net/eth0/speed":      text("1000\n"),
		"sys/class/net/wlan0/speed":     text("-1\n"),
		"sys/class/net/wlan0/phy80211":  {Mode: fs.ModeDir},
		"sys/class/net/unrelated/speed": text("10"),
	}
}

// closed keeps a folder to others, as /proc does.
type closed struct {
	fstest.MapFS
	dir string
}

func (c closed) ReadDir(name string) ([]fs.DirEntry, error) {
	if name == c.dir {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return c.MapFS.ReadDir(name)
}

func TestHolders(t *testing.T) {
	ended := linux()
	delete(ended, "proc/net/udp")
	delete(ended, "proc/net/udp6")
	for _, tt := range []struct {
		name string
		sys  fs.FS
		want []string
	}{
		{"all seen", linux(), []string{"avahi-daemon", "dnsmasq"}},
		{"of another user", closed{linux(), "proc/10/fd"}, []string{"avahi-daemon", "dnsmasq"}},
		{"unknown, of another user", closed{linux(), "proc/11/fd"}, []string{"avahi-daemon"}},
		{"nobody has it", closed{ended, "proc/10/fd"}, nil},
		{"not Linux", fstest.MapFS{}, nil},
	} {
		if got := holders(tt.sys, 7); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestFirewalls(t *testing.T) {
	off := linux()
	off["etc/ufw/ufw.conf"] = &fstest.MapFile{Data: []byte("#ENABLED=yes\nENABLED=no\n")}
	delete(off, "proc/13/comm")
	if got := firewalls(linux()); !slices.Equal(got, []Firewall{UFW, Firewalld}) {
		t.Errorf("%q", got)
	}
	if got := firewalls(off); len(got) != 0 {
		t.Errorf("%q although none is on", got)
	}
}

func TestLinkFacts(t *testing.T) {
	speeds, wireless := linkFacts(linux(), []Link{{Name: "eth0"}, {Name: "wlan0"}, {Name: "gone0"}})
	if want := map[string]int{"eth0": 1000}; !maps.Equal(speeds, want) {
		t.Errorf("speeds %v, want %v", speeds, want)
	}
	if want := map[string]bool{"wlan0": true}; !maps.Equal(wireless, want) {
		t.Errorf("wireless %v, want %v", wireless, want)
	}
}

func TestOpenFiles(t *testing.T) {
	if f := openFiles(linux()); f.open != 2 {
		t.Errorf("%d files are open, want 2", f.open)
	}
}

func TestNFTDrops(t *testing.T) {
	const (
		accepting = `{"chain":{"family":"inet","table":"t","name":"in","type":"filter","hook":"input","prio":0,"policy":"accept"}}`
		dropping  = `{"chain":{"family":"inet","table":"t","name":"in","hook":"input","policy":"drop"}}`
		forward   = `{"chain":{"family":"inet","table":"t","name":"fwd","hook":"forward","policy":"drop"}}`
		accept    = `{"rule":{"family":"inet","table":"t","chain":"in","expr":[{"match":{}},{"accept":null}]}}`
		drop      = `{"rule":{"family":"inet","table":"t","chain":"in","expr":[{"match":{}},{"drop":null}]}}`
		reject    = `{"rule":{"family":"inet","table":"t","chain":"in","expr":[{"reject":{"type":"tcp reset"}}]}}`
		elsewhere = `{"rule":{"family":"ip","table":"t","chain":"in","expr":[{"drop":null}]}}`
	)
	for _, tt := range []struct {
		name, rules string
		want        bool
	}{
		{"nothing", ``, false},
		{"no rules", `{"metainfo":{"version":"1.0.6"}}`, false},
		{"all accepted", accepting + "," + accept, false},
		{"by default", dropping, true},
		{"what passes through", forward, false},
		{"by a rule", drop + "," + accepting, true},
		{"rejected", accepting + "," + reject, true},
		{"in another table", accepting + "," + elsewhere, false},
	} {
		if got := nftDrops([]byte(`{"nftables":[` + tt.rules + `]}`)); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	if nftDrops([]byte("no JSON")) {
		t.Error("what is no JSON drops")
	}
}

func TestIPTablesDrops(t *testing.T) {
	for rules, want := range map[string]bool{
		"-P INPUT ACCEPT\n": false,
		"-P INPUT DROP\n":   true,
		"-P INPUT ACCEPT\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n":                              false,
		"-P INPUT ACCEPT\n-A INPUT -j REJECT --reject-with icmp-host-prohibited\n":                    true,
		"-P INPUT ACCEPT\n-A INPUT -p udp -j DROP\n":                                                  true,
		"-P INPUT ACCEPT\n-A INPUT -m comment --comment \"we DROP nothing\" -j ACCEPT\n-A INPUT -j\n": false,
	} {
		if got := iptablesDrops(rules); got != want {
			t.Errorf("%q: %v", rules, got)
		}
	}
}

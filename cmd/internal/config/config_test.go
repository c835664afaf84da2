package config

import (
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

func env(vars map[string]string) func(string) string {
	return func(name string) string { return vars[name] }
}

func TestFindPaths(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the XDG folders are for Linux")
	}
	deep := "/" + strings.Repeat("d", 120)
	for _, tc := range []struct {
		name, home string
		vars       map[string]string
		want       Paths
	}{
		{"home", "/h", nil, Paths{"/h", "/h", "/h/run/ctl.sock"}},
		{"home wins", "/h", map[string]string{"XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s", "XDG_RUNTIME_DIR": "/r"},
			Paths{"/h", "/h", "/h/run/ctl.sock"}},
		{"defaults", "", map[string]string{"HOME": "/u"},
			Paths{"/u/.config/peerd", "/u/.local/state/peerd", "/u/.local/state/peerd/run/ctl.sock"}},
		{"XDG", "", map[string]string{"XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s", "XDG_RUNTIME_DIR": "/r"},
			Paths{"/c/peerd", "/s/peerd", "/r/peerd/ctl.sock"}},
		{"relative XDG is no XDG", "", map[string]string{"HOME": "/u", "XDG_CONFIG_HOME": "c", "XDG_RUNTIME_DIR": "r"},
			Paths{"/u/.config/peerd", "/u/.local/state/peerd", "/u/.local/state/peerd/run/ctl.sock"}},
		{"deep home", deep, map[string]string{"XDG_RUNTIME_DIR": "/r"}, Paths{deep, deep, "/r/peerd-HASH/ctl.sock"}},
		{"deep home and runtime folder", deep, map[string]string{"XDG_RUNTIME_DIR": deep}, Paths{deep, deep, "/tmp/peerd-UID-HASH/ctl.sock"}},
	} {
		got, err := FindPaths(tc.home, env(tc.vars))
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		if len(got.Socket) > control.MaxSocketPath {
			t.Errorf("%s: the socket's path has %d bytes", tc.name, len(got.Socket))
		}
		prefix, rest, hashed := strings.Cut(tc.want.Socket, "HASH")
		if prefix, _, _ = strings.Cut(prefix, "UID"); hashed && strings.HasPrefix(got.Socket, prefix) && strings.HasSuffix(got.Socket, rest) {
			got.Socket = tc.want.Socket
		}
		if got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
	if _, err := FindPaths("", env(nil)); peer.KindOf(err) != peer.Usage {
		t.Errorf("without a home: %v", err)
	}
	one, _ := FindPaths(deep, env(nil))
	other, _ := FindPaths(deep+"2", env(nil))
	if one.Socket == other.Socket {
		t.Error("two homes have one socket")
	}
}

func TestReadFile(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       func(*Config)
		err        string
	}{
		{"none", "", func(*Config) {}, ""},
		{"all", `
name = "anna"
workgroup = "HOME"
listen = ["127.0.0.1:4460", ":4461"]
join = ["10.0.0.7", "bob.local:4456"]
[discovery]
mdns = false
advertise = "count"
[limits]
upload = "10MB/s"
download = "80Mbit"
`, func(c *Config) {
			c.Name, c.Workgroup, c.MDNS, c.Advertise = "anna", "HOME", false, Count
			c.Upload, c.Download = 10_000_000, 10_000_000
			c.Listen, c.Join = []string{"127.0.0.1:4460", ":4461"}, []string{"10.0.0.7:4455", "bob.local:4456"}
		}, ""},
		{"a slip", "nmae = 'anna'", nil, `"nmae" is not known`},
		{"a slip below", "[discovery]\nadvertize = 'none'", nil, `"discovery.advertize" is not known`},
		{"broken", "name = ", nil, "expected value"},
		{"wrong kind", "name = 3", nil, "incompatible types"},
		{"bad name", "name = 'a/b'", nil, "a name has no slash"},
		{"bad workgroup", "workgroup = ''", nil, "parse workgroup"},
		{"bad advertise", "discovery.advertise = 'all'", nil, "it is one of names, count, none"},
		{"no limit", "limits.upload = 'unlimited'", func(*Config) {}, ""},
		{"bad limit", "limits.upload = '10Mb'", nil, "may be bytes or bits"},
		{"bad listen", "listen = ['nowhere']", nil, "parse listen address"},
		{"bad join", "join = ['http://x']", nil, "write HOST or HOST:PORT"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			if tc.text != "" {
				if err := os.WriteFile(filepath.Join(dir, FileName), []byte(tc.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, want := Default(Paths{Config: dir}, "anna.example.org"), Default(Paths{Config: dir}, "anna")
			err := got.ReadFile()
			if err == nil {
				err = got.Validate()
			}
			if tc.err != "" {
				if peer.KindOf(err) != peer.Usage || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("the error is %v, want %q", err, tc.err)
				}
				return
			}
			if tc.want(&want); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, %v\nwant %+v", got, err, want)
			}
		})
	}
}

func TestDefaultName(t *testing.T) {
	for host, want := range map[string]peer.Name{"anna": "anna", "anna.example.org": "anna", "": "peer", "\x1b\u202e": "peer", "a/b": "ab"} {
		if got := Default(Paths{}, host).Name; got != want {
			t.Errorf("on %q the name is %q, want %q", host, got, want)
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, tc := range []struct {
		parse    func(string) (string, error)
		in, want string // want is empty where in is refused
	}{
		{listenAddr, "4460", ":4460"},
		{listenAddr, ":0", ":0"},
		{listenAddr, "127.0.0.1", "127.0.0.1:4455"},
		{listenAddr, "127.0.0.1:4460", "127.0.0.1:4460"},
		{listenAddr, "::1", "[::1]:4455"},
		{listenAddr, "[::1]:4460", "[::1]:4460"},
		{listenAddr, "/ip4/127.0.0.1/tcp/4460", "/ip4/127.0.0.1/tcp/4460"},
		{listenAddr, "/ip4/127.0.0.1/what", ""},
		{listenAddr, "127.0.0.1:99999", ""},
		{listenAddr, "anna:4460", ""},
		{listenAddr, "99999", ""},
		{listenAddr, "", ""},
		{joinAddr, "anna", "anna:4455"},
		{joinAddr, "anna.local:4460", "anna.local:4460"},
		{joinAddr, "10.0.0.7", "10.0.0.7:4455"},
		{joinAddr, "fe80::1%eth0", "[fe80::1%eth0]:4455"},
		{joinAddr, "[fe80::1%eth0]:4460", "[fe80::1%eth0]:4460"},
		{joinAddr, "anna:port", ""},
		{joinAddr, "a b", ""},
		{joinAddr, ":4460", ""},
		{joinAddr, "", ""},
	} {
		if got, err := tc.parse(tc.in); err == nil && got != tc.want || err != nil && tc.want != "" {
			t.Errorf("%q became %q, %v; want %q", tc.in, got, err, tc.want)
		}
	}
}

func TestParseShare(t *testing.T) {
	dir := t.TempDir()
	odd := filepath.Join(dir, "a=b")
	for _, d := range []string{odd, filepath.Join(dir, "music")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		in   string
		want Share
		kind peer.Kind
	}{
		{dir + "/music", Share{filepath.Join(dir, "music"), "music"}, 0},
		{dir + "/music/", Share{filepath.Join(dir, "music"), "music"}, 0},
		{dir + "/music=tunes", Share{filepath.Join(dir, "music"), "tunes"}, 0},
		{odd, Share{odd, "a=b"}, 0},
		{odd + "=c", Share{odd, "c"}, 0},
		{dir + "/music=a/b", Share{}, peer.Usage},
		{dir + "/music=CON", Share{}, peer.Usage},
		{"/", Share{}, peer.Usage},
		{dir + "/none", Share{}, peer.NotFound},
		{"=x", Share{}, peer.Usage},
	} {
		got, err := ParseShare(tc.in)
		if got != tc.want || peer.KindOf(err) != tc.kind {
			t.Errorf("ParseShare(%q) = %+v, %v", tc.in, got, err)
		}
	}
	c := Default(Paths{}, "x")
	c.Shares = []Share{{"/a", "Music"}, {"/b", "music"}}
	if err := c.Validate(); peer.KindOf(err) != peer.Usage {
		t.Errorf("two shares of one name: %v", err)
	}
}

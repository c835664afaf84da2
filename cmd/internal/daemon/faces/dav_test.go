package faces

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

// TestWays: for each system, the commands that a user can type.
func TestWays(t *testing.T) {
	local := control.Webdav{URL: "http://127.0.0.1:8080/m/t/"}
	far := control.Webdav{URL: "https://10.0.0.1:4443/", User: "peerd"}
	for _, tc := range []struct {
		system string
		w      control.Webdav
		dir    string
		want   []string
	}{
		{"linux", local, "/home/me/it's", []string{"gio mount dav://127.0.0.1:8080/m/t/", `mount -t davfs http://127.0.0.1:8080/m/t/ '/home/me/it'\''s'`}},
		{"linux", far, "", []string{"gio mount davs://10.0.0.1:4443/", "mount -t davfs https://10.0.0.1:4443/ DIR"}},
		{"darwin", local, "/a", []string{"mount_webdav -s -S http://127.0.0.1:8080/m/t/ /a", "open http://127.0.0.1:8080/m/t/"}},
		{"darwin", far, "", []string{"mount_webdav -s -S -i https://10.0.0.1:4443/ DIR", "open https://10.0.0.1:4443/"}},
		{"windows", local, "P:", []string{"net use P: http://127.0.0.1:8080/m/t/", "explorer http://127.0.0.1:8080/m/t/"}},
		{"windows", far, "", []string{"net use X: https://10.0.0.1:4443/ /user:peerd *", "explorer https://10.0.0.1:4443/"}},
	} {
		if got := commands(tc.system, tc.w, tc.dir); !slices.Equal(got, tc.want) {
			t.Errorf("%s, %s: %q", tc.system, tc.w.URL, got)
		}
	}
	for system, has := range map[string]bool{"linux": false, "darwin": true, "windows": true} {
		if mount, unmount := native(system, local.URL, "P:"); (mount != nil) != has || (unmount != nil) != has {
			t.Errorf("%s: %q, %q", system, mount, unmount)
		}
	}
}

// TestServedNoMore: who serves is told when the daemon ends it, and not when they end it themselves.
func TestServedNoMore(t *testing.T) {
	for _, own := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		tb := table(t, t.TempDir(), newSystem())
		told := error(nil)
		for w, err := range tb.Webdav(ctx, control.WebdavRequest{}) {
			switch {
			case err != nil:
				told = err
			case own:
				cancel()
			case w.URL != "":
				tb.Close()
			}
		}
		tb.Close()
		if want := peer.NotRunning; own && told != nil || !own && peer.KindOf(told) != want {
			t.Errorf("ended by oneself %v: %v", own, told)
		}
	}
}

func TestListenAddr(t *testing.T) {
	for addr, want := range map[string]string{
		"": "local", "127.0.0.1:0": "local", "localhost:80": "local", "[::1]:80": "local", ":80": "far", "0.0.0.0:80": "far", "10.0.0.1:443": "far",
		"10.0.0.1": "bad", "example.org:80": "bad", "nonsense": "bad", ":99999": "bad",
		"127.0.0.1:-1": "bad", "127.0.0.1:no-such-port": "bad",
	} {
		local, err := listenAddr(addr)
		got := map[bool]string{true: "local", false: "far"}[local]
		if err != nil {
			got = "bad"
			if peer.KindOf(err) != peer.Usage {
				t.Errorf("%s: %v", addr, err)
			}
		}
		if got != want {
			t.Errorf("%q is %s, want %s", addr, got, want)
		}
	}
}

// TestServed: what other computers reach is served by TLS with the certificate that was told of, to who has the password; on
// loopback the URL is the secret. Both end.
func TestServed(t *testing.T) {
	state := t.TempDir()
	tb := table(t, state, newSystem())
	defer tb.Close()
	var sum string
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true,
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			sum = fingerprint(tls.Certificate{Certificate: raw})
			return nil
		}}}}
	get := func(w control.Webdav, user, password string) int {
		t.Helper()
		r, err := http.NewRequest(http.MethodGet, w.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if user != "" {
			r.SetBasicAuth(user, password)
		}
		res, err := client.Do(r)
		if err != nil {
			return 0
		}
		defer res.Body.Close()
		_, _ = io.Copy(io.Discard, res.Body)
		return res.StatusCode
	}
	serve := func(req control.WebdavRequest, with func(control.Webdav)) {
		t.Helper()
		for w, err := range tb.Webdav(t.Context(), req) {
			if err != nil {
				t.Fatal(err)
			}
			with(w)
			return
		}
	}
	var last control.Webdav
	serve(control.WebdavRequest{}, func(w control.Webdav) {
		last = w
		if s := get(w, "", ""); s != http.StatusOK {
			t.Errorf("the URL gives %d", s)
		}
	})
	if s := get(last, "", ""); s != 0 {
		t.Errorf("once it ended, the URL gives %d", s)
	}
	serve(control.WebdavRequest{Listen: "0.0.0.0:0"}, func(w control.Webdav) {
		if !strings.HasPrefix(w.URL, "https://") || get(w, "", "") != http.StatusUnauthorized || get(w, w.User, "guess") != http.StatusUnauthorized ||
			get(w, w.User, w.Password) != http.StatusOK {
			t.Errorf("%+v does not ask for the password", w)
		}
		if sum != w.Certificate {
			t.Errorf("the certificate is %s, and %s was told", sum, w.Certificate)
		}
		last = w
	})
	serve(control.WebdavRequest{Listen: "0.0.0.0:0"}, func(w control.Webdav) {
		if w.Certificate != last.Certificate || w.Password == last.Password {
			t.Error("the certificate is new, or the password is not")
		}
	})
	info, err := os.Stat(filepath.Join(state, certName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v, %v", info, err)
	}
	for _, err := range tb.Webdav(t.Context(), control.WebdavRequest{Listen: "203.0.113.1:1"}) {
		if err == nil {
			t.Error("it listens where this computer is not")
		}
		break
	}
}

func TestCertificate(t *testing.T) {
	now := time.Now()
	text, err := newCertificate(now, []net.IP{net.IPv4(10, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(text, text)
	if err != nil {
		t.Fatal(err)
	}
	if err := cert.Leaf.VerifyHostname("10.0.0.1"); err != nil || cert.Leaf.NotAfter.Before(now.Add(certLife-time.Hour)) || cert.Leaf.IsCA {
		t.Errorf("%v, until %v", err, cert.Leaf.NotAfter)
	}
	if d := cert.Leaf.NotAfter.Sub(cert.Leaf.NotBefore); d > 825*24*time.Hour {
		t.Errorf("it lasts for %v: Apple's systems don't trust it", d)
	}
	at := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 1} }
	if !covers(cert.Leaf, at("10.0.0.1")) || covers(cert.Leaf, at("10.0.0.2")) {
		t.Error("it is of use at another address than it names")
	}
	if all := together([]net.IP{net.IPv4(10, 0, 0, 2)}, cert.Leaf.IPAddresses); len(all) != 2 || len(together(make([]net.IP, maxNames), all)) != maxNames {
		t.Errorf("in another network it names %v", all)
	}
	if _, err := hex.DecodeString(fingerprint(cert)); err != nil || len(fingerprint(cert)) != 64 {
		t.Errorf("fingerprint %q", fingerprint(cert))
	}
}

// TestCertificateOfNetworks: the certificate that a program came to trust in one network is the same once the computer is back there.
func TestCertificateOfNetworks(t *testing.T) {
	tb := table(t, t.TempDir(), newSystem())
	defer tb.Close()
	get := func(ip string) string {
		t.Helper()
		_, sum, err := tb.certificate(&net.TCPAddr{IP: net.ParseIP(ip)})
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	home := get("127.0.0.1")
	if again := get("127.0.0.1"); again != home {
		t.Error("it is made anew each time")
	}
	away, err := newCertificate(time.Now(), []net.IP{net.IPv4(203, 0, 113, 7)}) // as if this computer had that address then
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tb.cfg.State, certName), away, 0o600); err != nil {
		t.Fatal(err)
	}
	both := get("127.0.0.1")
	if got := get("203.0.113.7"); got != both {
		t.Error("one that named the other network's address does no more")
	}
}

// TestPropertiesLast: what a file manager keeps beside a file is there after a restart, and for another listener.
func TestPropertiesLast(t *testing.T) {
	state := t.TempDir()
	const body = `<D:propertyupdate xmlns:D="DAV:" xmlns:Z="urn:schemas-microsoft-com:"><D:set><D:prop><Z:Win32FileAttributes>00000022</Z:Win32FileAttributes></D:prop></D:set></D:propertyupdate>`
	const find = `<propfind xmlns="DAV:" xmlns:Z="urn:schemas-microsoft-com:"><prop><Z:Win32FileAttributes/></prop></propfind>`
	ask := func(tb *Table, r control.WebdavRequest, method, path, body string) string {
		t.Helper()
		for w, err := range tb.Webdav(t.Context(), r) {
			if err != nil {
				t.Fatal(err)
			}
			q, err := http.NewRequest(method, w.URL+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			q.Header.Set("Depth", "0")
			q.Close = true
			res, err := http.DefaultClient.Do(q)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			text, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != http.StatusMultiStatus {
				t.Fatalf("%s: %s, %v\n%s", method, res.Status, err, text)
			}
			return string(text)
		}
		return ""
	}
	first := table(t, state, newSystem())
	ask(first, control.WebdavRequest{}, "PROPPATCH", "anna/docs/f", body)
	if got := ask(first, control.WebdavRequest{Ref: ref(t, "//anna/docs")}, "PROPFIND", "f", find); !strings.Contains(got, "00000022") {
		t.Errorf("another listener says %s", got)
	}
	first.Close()
	second := table(t, state, newSystem())
	if got := ask(second, control.WebdavRequest{}, "PROPFIND", "anna/docs/f", find); !strings.Contains(got, "00000022") {
		t.Errorf("after a restart it says %s", got)
	}
	second.Close()
	if err := os.WriteFile(filepath.Join(state, propertiesName), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	third := table(t, state, newSystem()) // which is no reason not to start
	defer third.Close()
	if got := ask(third, control.WebdavRequest{}, "PROPFIND", "anna/docs/f", find); strings.Contains(got, "00000022") {
		t.Errorf("from nothing it knows %s", got)
	}
}

package faces

import (
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

func TestListenAddr(t *testing.T) {
	for addr, want := range map[string]string{
		"": "local", "127.0.0.1:0": "local", "localhost:80": "local", "[::1]:80": "local", ":80": "far", "0.0.0.0:80": "far", "10.0.0.1:443": "far",
		"10.0.0.1": "bad", "example.org:80": "bad", "nonsense": "bad",
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
	if _, err := hex.DecodeString(fingerprint(cert)); err != nil || len(fingerprint(cert)) != 64 {
		t.Errorf("fingerprint %q", fingerprint(cert))
	}
}

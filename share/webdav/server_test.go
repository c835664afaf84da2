package webdav_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs/vfstest"
	"github.com/peerd/peerd/share/webdav"
)

// certificate makes one for 127.0.0.1 that nobody vouches for.
func certificate(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "peerd"}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
}

// TestServeRefuses holds that what others could reach is never served without TLS and a password.
func TestServeRefuses(t *testing.T) {
	secure := certificate(t)
	for _, c := range []struct {
		name, listen string
		o            webdav.ServeOptions
		ok           bool
	}{
		{"token here", "127.0.0.1:0", webdav.ServeOptions{Token: "t"}, true},
		{"password here", "127.0.0.1:0", webdav.ServeOptions{User: "u", Password: "p"}, true},
		{"nothing here", "127.0.0.1:0", webdav.ServeOptions{}, false},
		{"token everywhere", "0.0.0.0:0", webdav.ServeOptions{Token: "t", TLS: secure}, false},
		{"password everywhere, without TLS", "0.0.0.0:0", webdav.ServeOptions{User: "u", Password: "p"}, false},
		{"password everywhere", "0.0.0.0:0", webdav.ServeOptions{User: "u", Password: "p", TLS: secure}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := net.Listen("tcp4", c.listen)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			c.o.Log = slog.New(slog.DiscardHandler)
			if err := webdav.Serve(ctx, l, vfstest.Running(t, vfstest.NewWorld()), c.o); (err == nil) != c.ok || err != nil && peer.KindOf(err) != peer.Usage {
				t.Errorf("%v", err)
			}
			if conn, err := net.Dial("tcp4", strings.Replace(l.Addr().String(), "0.0.0.0", "127.0.0.1", 1)); err == nil {
				conn.Close()
				t.Error("it still listens")
			}
		})
	}
}

func TestServeTLS(t *testing.T) {
	w := vfstest.NewWorld()
	fs := vfstest.Running(t, w)
	s := owner{w.Add("anna").Share("docs", share.Full), t, fs}
	secure := certificate(t)
	at := serve(t, fs, "127.0.0.1:0", webdav.ServeOptions{User: "office", Password: "correct horse", TLS: secure})
	if !strings.HasPrefix(at, "https://127.0.0.1:") {
		t.Errorf("its URL is %s", at)
	}
	pool := x509.NewCertPool()
	cert, err := x509.ParseCertificate(secure.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(cert)
	for _, http2 := range []bool{false, true} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: http2}
		defer transport.CloseIdleConnections()
		ask := func(method, password string, body io.Reader) int {
			t.Helper()
			r, err := http.NewRequestWithContext(t.Context(), method, at+"anna/docs/f", body)
			if err != nil {
				t.Fatal(err)
			}
			if password != "" {
				r.SetBasicAuth("office", password)
			}
			resp, err := transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if want := 1; http2 {
				want = 2
				if resp.ProtoMajor != want {
					t.Errorf("HTTP/%d", resp.ProtoMajor)
				}
			}
			if resp.StatusCode == 401 && !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), `Basic realm="peerd"`) {
				t.Errorf("%v", resp.Header)
			}
			return resp.StatusCode
		}
		if code := ask("PUT", "correct horse", strings.NewReader("x")); code != 201 && code != 204 {
			t.Errorf("PUT: %d", code)
		}
		if code := ask("PUT", "wrong", strings.NewReader("y")); code != 401 {
			t.Errorf("PUT with a wrong password: %d", code)
		}
		if code := ask("GET", "", nil); code != 401 {
			t.Errorf("GET without a password: %d", code)
		}
	}
	if b, _ := s.Read("f"); string(b) != "x" {
		t.Errorf("the owner has %q", b)
	}
	resp, err := http.Get(strings.Replace(at, "https:", "http:", 1))
	if err == nil {
		resp.Body.Close()
		if resp.StatusCode != 400 {
			t.Errorf("without TLS: %s", resp.Status)
		}
	}
}

// TestServeOnLoopback holds that requests that a web page can make a browser send come to nothing.
func TestServeOnLoopback(t *testing.T) {
	s, c := folder(t, share.Full)
	s.Write("f", []byte("old"))
	for _, x := range []struct {
		name, method string
		h            head
		want         int
	}{
		{"rebound name", "GET", head{"Host": "evil.example"}, 421},
		{"rebound name, our port", "GET", head{"Host": "evil.example:" + c.base[len("http://127.0.0.1:"):strings.Index(c.base, "/m/")]}, 421},
		{"foreign page reads", "GET", head{"Origin": "http://evil.example"}, 403},
		{"foreign page writes", "PUT", head{"Origin": "http://evil.example"}, 403},
		{"foreign page deletes", "DELETE", head{"Origin": "null"}, 403},
		{"foreign page embeds", "GET", head{"Sec-Fetch-Site": "cross-site"}, 403},
		{"form of a foreign page", "POST", head{"Origin": "http://evil.example", "Content-Type": "application/x-www-form-urlencoded"}, 403},
		{"form of a foreign page that hides itself", "POST", head{"Sec-Fetch-Site": "cross-site", "Content-Type": "text/plain"}, 403},
		{"form of an old browser", "POST", head{"Content-Type": "multipart/form-data; boundary=x"}, 405},
		{"form that claims to be a PUT", "POST", head{"Content-Type": "text/plain", "X-Http-Method-Override": "PUT"}, 405},
		{"link of a foreign page", "GET", head{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 403},
		{"foreign page asks first", "OPTIONS", head{"Origin": "http://evil.example", "Access-Control-Request-Method": "PUT"}, 403},
	} {
		if a := c.do(x.method, "f", x.h, "changed"); a.code != x.want || a.header.Get("Access-Control-Allow-Origin") != "" || strings.Contains(a.body, "old") {
			t.Errorf("%s: status %d %v", x.name, a.code, a.header)
		}
	}
	if b, _ := s.Read("f"); string(b) != "old" {
		t.Errorf("the owner has %q", b)
	}
	guess := client{t, strings.Replace(c.base, "/m/", "/m/A", 1)}
	guess.want("GET", "f", nil, "", 404)
	guess.want("PUT", "f", nil, "x", 404)
	// A MOVE can't name what the token does not lead to.
	c.want("MOVE", "f", head{"Destination": guess.base + "g"}, "", 502)
}

// TestOwnerAway holds that an owner that is known to be away is told of at once, and comes back without anything being started anew.
func TestOwnerAway(t *testing.T) {
	w := vfstest.NewWorld()
	anna := w.Add("anna")
	s := anna.Share("docs", share.Full)
	s.Write("f", []byte("x"))
	c := client{t, serve(t, vfstest.Running(t, w), "127.0.0.1:0", webdav.ServeOptions{}) + "anna/docs/"}
	anna.Leave()
	if a := c.want("GET", "f", nil, "", 503); a.header.Get("Retry-After") == "" {
		t.Errorf("%v", a.header)
	}
	c.want("PROPFIND", "sub", head{"Depth": "1"}, "", 503)
	c.want("MKCOL", "d", nil, "", 503)
	root := client{t, strings.TrimSuffix(c.base, "anna/docs/")}
	if m := root.propfind("", "1", ""); len(m.Responses) != 2 {
		t.Errorf("the root: %+v", m)
	}
	anna.Return()
	for began := time.Now(); c.do("GET", "f", nil, "").code == 503 && time.Since(began) < 10*time.Second; { // the tree is told soon
		time.Sleep(time.Millisecond)
	}
	c.want("GET", "f", nil, "", 200)
	c.want("MKCOL", "d", nil, "", 201)
}

// TestStops holds that a server that is told to stop does, though a client still sends.
func TestStops(t *testing.T) {
	w := vfstest.NewWorld()
	anna := w.Add("anna")
	fs := vfstest.Running(t, w)
	s := owner{anna.Share("docs", share.Full), t, fs}
	s.Write("f", noise(1<<20))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := webdav.ServeOptions{Token: "t", Options: webdav.Options{Log: slog.New(slog.DiscardHandler)}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- webdav.Serve(ctx, l, fs, o) }()
	c := client{t, o.URL(l.Addr()) + "anna/docs/"}
	c.want("HEAD", "f", nil, "", 200)
	body, send := io.Pipe()
	sent := make(chan error)
	go func() {
		_, err := c.try("PUT", "new", nil, body)
		sent <- err
	}()
	if _, err := send.Write(noise(1 << 20)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("it ended with %v", err)
	}
	send.CloseWithError(io.ErrClosedPipe)
	<-sent
	if got := s.Paths(); len(got) != 1 {
		t.Errorf("then there is %q", got)
	}
}

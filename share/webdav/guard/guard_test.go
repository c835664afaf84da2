package guard

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// ask sends a request as it comes from a connection to 127.0.0.1:8000, and gives the answer's status; 200 has passed.
func ask(h http.Handler, method, path string, change func(r *http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	r.Host = "127.0.0.1:8000"
	r.RemoteAddr = "127.0.0.1:50000"
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{Port: 8000}))
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func passed(o Options) http.Handler {
	o.Log = slog.New(slog.DiscardHandler)
	return New(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "passed") }), o)
}

func TestGuard(t *testing.T) {
	token := NewSecret()
	byToken, byPassword := Options{Token: token, Local: true}, Options{User: "u", Password: "p", Local: true}
	lan := Options{User: "u", Password: "p"}
	basic := func(user, password string) func(r *http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(user, password) }
	}
	head := func(name, value string) func(r *http.Request) {
		return func(r *http.Request) { r.SetBasicAuth("u", "p"); r.Header.Add(name, value) }
	}
	host := func(h string) func(r *http.Request) {
		return func(r *http.Request) { r.SetBasicAuth("u", "p"); r.Host = h }
	}
	for _, c := range []struct {
		name   string
		o      Options
		path   string
		change func(r *http.Request)
		want   int
	}{
		{"token", byToken, "/m/" + token + "/a", nil, 200},
		{"token alone", byToken, "/m/" + token, nil, 200},
		{"no token", byToken, "/", nil, 404},
		{"wrong token", byToken, "/m/" + token[1:] + "x/", nil, 404},
		{"beginning of the token", byToken, "/m/" + token[:5] + "/", nil, 404},
		{"token elsewhere", byToken, "/x/m/" + token + "/", nil, 404},
		{"empty token", Options{}, "/m//", nil, 404},
		{"nothing given", Options{}, "/", basic("", ""), 404},
		{"token for a password", byPassword, "/m/" + token, nil, 401},
		{"password", byPassword, "/", basic("u", "p"), 200},
		{"wrong password", byPassword, "/", basic("u", "P"), 401},
		{"wrong user", byPassword, "/", basic("v", "p"), 401},
		{"no password", byPassword, "/", nil, 401},

		{"localhost", byPassword, "/", host("LocalHost:8000"), 200},
		{"IPv6", byPassword, "/", host("[::1]:8000"), 200},
		{"127.0.0.2", byPassword, "/", host("127.0.0.2:8000"), 200},
		{"rebound name", byPassword, "/", host("evil.example:8000"), 421},
		{"name that begins well", byPassword, "/", host("localhost.evil.example:8000"), 421},
		{"other address", byPassword, "/", host("192.0.2.1:8000"), 421},
		{"other port", byPassword, "/", host("127.0.0.1:8001"), 421},
		{"no port", byPassword, "/", host("127.0.0.1"), 421},
		{"rebound name with the token", byToken, "/m/" + token, host("evil.example:8000"), 421},
		{"any name on the LAN", lan, "/", host("anna.local:8000"), 200},

		{"own page", byPassword, "/", head("Origin", "http://127.0.0.1:8000"), 200},
		{"foreign page", byPassword, "/", head("Origin", "http://evil.example"), 403},
		{"no page's page", byPassword, "/", head("Origin", "null"), 403},
		{"page of another port", byPassword, "/", head("Origin", "http://127.0.0.1:8001"), 403},
		{"page of another scheme", byPassword, "/", head("Origin", "https://127.0.0.1:8000"), 403},
		{"empty origin", byPassword, "/", head("Origin", ""), 403},
		{"link of a foreign page", byPassword, "/", head("Sec-Fetch-Site", "cross-site"), 403},
		{"page of a neighbour", byPassword, "/", head("Sec-Fetch-Site", "same-site"), 403},
		{"typed", byPassword, "/", head("Sec-Fetch-Site", "none"), 200},
		{"own link", byPassword, "/", head("Sec-Fetch-Site", "same-origin"), 200},
		{"own page with TLS", lan, "/", func(r *http.Request) {
			r.SetBasicAuth("u", "p")
			r.TLS = &tls.ConnectionState{}
			r.Header.Set("Origin", "https://127.0.0.1:8000")
		}, 200},
		{"foreign page with the token", byToken, "/m/" + token, head("Origin", "http://evil.example"), 403},
		{"two origins", byPassword, "/", func(r *http.Request) {
			r.SetBasicAuth("u", "p")
			r.Header["Origin"] = []string{"http://127.0.0.1:8000", "http://evil.example"}
		}, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := ask(passed(c.o), http.MethodGet, c.path, c.change)
			if w.Code != c.want || (w.Body.String() == "passed") != (c.want == 200) {
				t.Errorf("status %d, want %d: %s", w.Code, c.want, w.Body)
			}
			if got := w.Header().Get("WWW-Authenticate"); (got != "") != (c.want == 401) {
				t.Errorf("status %d with the challenge %q", w.Code, got)
			}
		})
	}
}

func TestOptionsOfTheRoot(t *testing.T) {
	w := ask(passed(Options{Token: "x", Local: true}), http.MethodOptions, "/", nil)
	if w.Code != 200 || w.Header().Get("DAV") != "1, 2" || w.Body.Len() != 0 {
		t.Errorf("status %d, %v, %q", w.Code, w.Header(), w.Body)
	}
}

func TestWindowsLooksForTheShare(t *testing.T) {
	h := passed(Options{Token: "x", Local: true})
	mini := func(r *http.Request) { r.Header.Set("User-Agent", "Microsoft-WebDAV-MiniRedir/10.0.22631") }
	if w := ask(h, "PROPFIND", "/m", mini); w.Code != 207 || !strings.Contains(w.Body.String(), "<D:collection/>") {
		t.Errorf("status %d, %q", w.Code, w.Body)
	}
	if w := ask(h, "PROPFIND", "/m/y", mini); w.Code != 404 {
		t.Errorf("of another path: status %d", w.Code)
	}
	if w := ask(h, "PROPFIND", "/m", nil); w.Code != 404 {
		t.Errorf("for others: status %d", w.Code)
	}
}

func TestSecrets(t *testing.T) {
	a, b := NewSecret(), NewSecret()
	if a == b || len(a) != 22 || strings.ContainsAny(a, "/+=%") {
		t.Errorf("%q, %q", a, b)
	}
	if got := (Options{Token: a}).Prefix(); got != "/m/"+a {
		t.Error(got)
	}
	if got := (Options{Token: a, Password: "p"}).Prefix(); got != "" {
		t.Error(got)
	}
}

func TestGuessing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := passed(Options{User: "u", Password: "p"})
		try := func(from, password string) int {
			return ask(h, http.MethodGet, "/", func(r *http.Request) { r.SetBasicAuth("u", password); r.RemoteAddr = from }).Code
		}
		for i := range burst {
			if got := try("192.0.2.1:1", "x"); got != 401 {
				t.Fatalf("guess %d: %d", i, got)
			}
		}
		for what, c := range map[string]struct {
			from, password string
			want           int
		}{
			"a guess too many":               {"192.0.2.1:2", "x", 429},
			"the right one, by the guesser":  {"192.0.2.1:2", "p", 429},
			"the same, written as IPv6":      {"[::ffff:192.0.2.1]:3", "p", 429},
			"the right one, by somebody":     {"192.0.2.2:1", "p", 200},
			"somebody of IPv6":               {"[2001:db8::1]:1", "p", 200},
			"without a password by guessers": {"192.0.2.1:2", "", 429},
		} {
			if got := try(c.from, c.password); got != c.want {
				t.Errorf("%s: %d, want %d", what, got, c.want)
			}
		}
		if got := ask(h, http.MethodGet, "/", func(r *http.Request) { r.RemoteAddr = "192.0.2.1:9" }).Code; got != 401 {
			t.Errorf("a request without credentials is no guess: %d", got)
		}
		time.Sleep(refill + time.Second)
		if got := try("192.0.2.1:2", "p"); got != 200 {
			t.Errorf("later, the right one: %d", got)
		}
		for i := range burst {
			try(fmt.Sprintf("[2001:db8:0:1::%x]:1", i), "x")
		}
		if got := try("[2001:db8:0:1::ffff]:1", "p"); got != 429 {
			t.Errorf("an address of a network that guessed: %d", got)
		}
	})
}

func TestThrottleIsBounded(t *testing.T) {
	th, now := newThrottle(3), time.Unix(1e9, 0)
	at := func(i int) netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 32) }
	for i := range 200 {
		th.try(at(i), false, now)
	}
	if len(th.full) > 4 {
		t.Errorf("%d addresses are kept", len(th.full))
	}
	if th.try(at(0), true, now) > 0 {
		t.Error("who guessed once must wait for the others")
	}
	if th.try(at(250), true, now) == 0 {
		t.Error("a flood of addresses is let through")
	}
	later := now.Add(time.Hour)
	if wait := th.try(at(250), false, later); wait > 0 || len(th.full) != 1 {
		t.Errorf("an hour later: %v, and %d are kept", wait, len(th.full))
	}
}

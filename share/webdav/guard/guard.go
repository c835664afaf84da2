// Package guard stands before a handler that listens on TCP, where anybody on this computer can connect, any web page can make a
// browser do so, and beyond loopback anybody on the network.
package guard

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Options say who is let in. One of Token and Password must be given, or nobody is.
type Options struct {
	// Token is what a path starts with, /m/TOKEN, if there is no password: for programs that can't ask for one.
	Token string
	// User and Password are asked for by Basic, which needs TLS beyond loopback.
	User, Password string
	// Local refuses what was not meant for a name of loopback: a page whose own name was made to point here.
	Local bool
	Log   *slog.Logger
}

// NewSecret makes a token or password of 128 random bits, which stands in paths as it is.
func NewSecret() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// Prefix is the path that all paths begin with.
func (o Options) Prefix() string {
	if o.Password != "" {
		return ""
	}
	return "/m/" + o.Token
}

// New lets those through to next that o allows.
func New(next http.Handler, o Options) http.Handler {
	return &guard{next: next, o: o, guesses: newThrottle(maxAddresses)}
}

type guard struct {
	next    http.Handler
	o       Options
	guesses *throttle
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case g.o.Local && !loopbackHost(r):
		http.Error(w, "this address has no such name", http.StatusMisdirectedRequest)
	case !sameOrigin(r):
		http.Error(w, "a page of another site may not ask this", http.StatusForbidden)
	case g.o.Password != "":
		if g.password(w, r) {
			g.next.ServeHTTP(w, r)
		}
	case g.token(r):
		g.next.ServeHTTP(w, r)
	case r.Method == http.MethodOptions:
		// Windows asks the root of a server, before it asks for a folder, whether it speaks WebDAV.
		w.Header().Set("DAV", "1, 2")
		w.Header().Set("MS-Author-Via", "DAV")
		w.Header().Set("Allow", "OPTIONS")
	case r.Method == "PROPFIND" && strings.Trim(r.URL.Path, "/") == "m" && strings.HasPrefix(r.UserAgent(), "Microsoft-WebDAV-MiniRedir/"):
		// To Windows the first part of the path is a share, which must be there, though nobody looks into it.
		w.Header().Set("Content-Type", "application/xml; charset=utf-8")
		w.WriteHeader(http.StatusMultiStatus)
		_, _ = io.WriteString(w, bareFolder) // who asked may be gone
	default:
		http.NotFound(w, r)
	}
}

const bareFolder = `<?xml version="1.0" encoding="utf-8"?>
<D:multistatus xmlns:D="DAV:"><D:response><D:href>/m/</D:href><D:propstat><D:prop><D:resourcetype><D:collection/></D:resourcetype>` +
	"</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response></D:multistatus>\n"

// loopbackHost reports whether the Host header names loopback, at the port of the connection if that is known.
func loopbackHost(r *http.Request) bool {
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		host, port = strings.Trim(r.Host, "[]"), "80"
	}
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok && port != strconv.Itoa(a.Port) {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// sameOrigin reports whether a request comes from no web page, or from one of this server. Browsers say where they come from.
func sameOrigin(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
	default:
		return false
	}
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return true
	}
	u, err := url.Parse(origins[0])
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return err == nil && len(origins) == 1 && u.Scheme == scheme && strings.EqualFold(u.Host, r.Host)
}

func (g *guard) token(r *http.Request) bool {
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), "/m/")
	token, _, _ := strings.Cut(rest, "/")
	return ok && g.o.Token != "" && equal(token, g.o.Token)
}

// password checks the Basic credentials of a request, and answers it if they don't hold.
func (g *guard) password(w http.ResponseWriter, r *http.Request) bool {
	user, password, given := r.BasicAuth()
	from := Address(r.RemoteAddr)
	if given {
		// Both are compared, whatever the first says, so that the time tells nothing.
		right := equal(password, g.o.Password)
		right = equal(user, g.o.User) && right
		if wait := g.guesses.try(from, right, time.Now()); wait > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
			http.Error(w, "too many wrong passwords", http.StatusTooManyRequests)
			return false
		}
		if right {
			return true
		}
		g.o.Log.Warn("webdav: wrong user or password", "from", from)
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="peerd", charset="UTF-8"`)
	http.Error(w, "user and password are wanted", http.StatusUnauthorized)
	return false
}

// equal compares in a time that depends on the lengths alone.
func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// Address is whom what comes from IP:PORT is charged to: an IPv4 address, or the /64 of an IPv6 one, of which a host has all.
func Address(remote string) netip.Prefix {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	ip := ap.Addr().Unmap().WithZone("")
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	p, _ := ip.Prefix(bits) // fits
	return p
}

//go:build linux

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peerd/peerd/cmd/internal/lantest"
	"github.com/peerd/peerd/peer/control"
)

// webdav starts to serve by WebDAV, and gives where.
func (n *node) webdav(args ...string) (w control.Webdav, p *lantest.Process) {
	n.t.Helper()
	p = n.Host.Start(n.command(append([]string{"webdav", "--json"}, args...)...))
	p.WaitOutput("\n", quick)
	if err := json.Unmarshal([]byte(p.Output()), &w); err != nil {
		n.t.Fatalf("%v: %s", err, p.Output())
	}
	return w, p
}

// TestWebdav asks for what a peer shares as curl does, on this computer and from another.
func TestWebdav(t *testing.T) {
	t.Parallel()
	lantest.Need(t, "curl")
	owner, guests, dir := shared(t, 1)
	guest := guests[0]
	body := pattern(3 << 20)
	write(t, filepath.Join(dir, "docs", "file.txt"), string(body))
	curl := func(at *node, args ...string) lantest.Result {
		t.Helper()
		return at.Host.Run(quick, at.Command("curl", append([]string{"-sS", "-w", "\n%{http_code}"}, args...)...))
	}
	is := func(what string, r lantest.Result, status, has string) {
		t.Helper()
		text, code := r.Stdout, ""
		if i := strings.LastIndexByte(text, '\n'); i >= 0 {
			text, code = text[:i], text[i+1:]
		}
		if code != status || !strings.Contains(text, has) {
			t.Errorf("%s: status %s, want %s\n%s%s", what, code, status, clip([]byte(text)), r.Stderr)
		}
	}
	w, serving := guest.webdav("//h1/data")
	if !strings.HasPrefix(w.URL, "http://127.0.0.1:") || w.Password != "" || len(w.Commands) == 0 {
		t.Errorf("it is served as %+v", w)
	}
	is("PROPFIND", curl(guest, "-X", "PROPFIND", "-H", "Depth: 1", w.URL+"docs/"), "207", "file.txt")
	is("GET", curl(guest, "-r", "1600000-1600015", w.URL+"docs/file.txt"), "206", string(body[1600000:1600016]))
	file := filepath.Join(guest.Home, "mine")
	write(t, file, "mine")
	is("PUT", curl(guest, "-T", file, w.URL+"docs/mine.txt"), "201", "")
	shows(t, "the owner", filepath.Join(dir, "docs", "mine.txt"), "mine")
	is("DELETE", curl(guest, "-X", "DELETE", w.URL+"docs/mine.txt"), "204", "")
	vanishes(t, "the owner", filepath.Join(dir, "docs", "mine.txt"))
	is("a guess", curl(guest, strings.Replace(w.URL, "/m/", "/m/x", 1)), "404", "")
	is("another host's name", curl(guest, "-H", "Host: evil.example", w.URL), "421", "")
	// Who was given one share gets no other.
	hidden := ram(t)
	write(t, filepath.Join(hidden, "f"), "hidden")
	owner.open(hidden, "hidden")
	guest.knows("//h1/hidden")
	its, _ := guest.webdav("//h1/hidden")
	is("its own share", curl(guest, its.URL+"f"), "200", "hidden")
	server, token := w.URL[:strings.Index(w.URL, "/m/")], its.URL[strings.Index(its.URL, "/m/"):]
	for _, url := range []string{w.URL + "../hidden/f", w.URL + "%2e%2e/hidden/f", w.URL + "..%2fhidden%2ff", w.URL + "hidden/f", server + token + "f", server + "/h1/hidden/f"} {
		if r := curl(guest, "--path-as-is", url); strings.Contains(r.Stdout, "hidden\n") || !strings.Contains(r.Stdout, "\n4") {
			t.Errorf("%s: %s", url, r.Stdout)
		}
	}
	for _, to := range []string{its.URL + "taken", w.URL + "../hidden/taken", "/m/x/taken"} {
		if r := curl(guest, "--path-as-is", "-X", "COPY", "-H", "Destination: "+to, w.URL+"docs/file.txt"); !strings.HasSuffix(r.Stdout, "400") && !strings.HasSuffix(r.Stdout, "502") {
			t.Errorf("a copy to %s: %s", to, r.Stdout)
		}
	}
	if got := names(t, hidden); len(got) != 1 {
		t.Errorf("the other share has %q", got)
	}
	if status := serving.Stop(); status != 0 && status != 130 {
		t.Errorf("it ends with status %d\n%s", status, serving.Output())
	}
	if r := curl(guest, w.URL); r.Status == 0 {
		t.Error("it is served after the command ended")
	}
	// From another computer: TLS and a password, or nothing.
	far, _ := guest.webdav("--listen", guest.Addr(0).String()+":4443", "--read-only")
	if !strings.HasPrefix(far.URL, "https://"+guest.Addr(0).String()+":4443/") || far.Password == "" || len(far.Certificate) != 64 {
		t.Errorf("it is served as %+v", far)
	}
	login := far.User + ":" + far.Password
	is("with the password", curl(owner, "-k", "-u", login, far.URL+"h1/data/docs/file.txt", "-r", "0-15"), "206", string(body[:16]))
	is("without", curl(owner, "-k", far.URL+"h1/data/"), "401", "")
	is("with another", curl(owner, "-k", "-u", far.User+":guess", far.URL), "401", "")
	is("a change", curl(owner, "-k", "-u", login, "-X", "DELETE", far.URL+"h1/data/docs/file.txt"), "403", "")
	if r := curl(owner, "-u", login, strings.Replace(far.URL, "https", "http", 1)); strings.HasSuffix(r.Stdout, "200") {
		t.Error("it is served without TLS")
	}
	if _, err := os.Stat(filepath.Join(dir, "docs", "file.txt")); err != nil {
		t.Error(err)
	}
	again, _ := guest.webdav("--listen", guest.Addr(0).String()+":4444")
	if again.Certificate != far.Certificate || again.Password == far.Password {
		t.Error("the certificate is not the same, or the password is")
	}
	guest.fails(quick, 3, "webdav", "//nobody")
	guest.fails(quick, 2, "webdav", "--listen", "nonsense")
}

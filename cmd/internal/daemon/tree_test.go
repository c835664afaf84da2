package daemon

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

// serves has a node serve by WebDAV until the test ends, and gives the URL.
func (n *node) serves(what string) string {
	n.t.Helper()
	urls := make(chan string, 1)
	go func() {
		for w, err := range n.Webdav(n.t.Context(), control.WebdavRequest{Ref: ref(n.t, what)}) {
			if n.t.Context().Err() != nil {
				break
			}
			if err != nil {
				n.t.Errorf("webdav %s: %v", what, err)
				break
			}
			urls <- w.URL
		}
		close(urls)
	}()
	return <-urls
}

// asks makes a request and gives its status and answer.
func asks(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	res, err := client.Do(r)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

// TestTree: what faces show is what there is, own shares and those of others; it is told of at once when an owner is gone, and works
// again when it is back.
func TestTree(t *testing.T) {
	anna := start(t, "anna")
	berta := start(t, "berta", anna)
	berta.sees(anna)
	dir := anna.offer("docs", map[string]string{"a.txt": "alpha", "sub/b.txt": "beta"}, full)
	berta.offer("own", map[string]string{"c.txt": "gamma"}, func(*control.ShareAdd) {})
	url := berta.serves("//")
	get := func(path string, status int, text string) {
		t.Helper()
		if code, got := asks(t, http.MethodGet, url+path, ""); code != status || text != "" && got != text {
			t.Errorf("%s: %d, %.60q, want %d, %q", path, code, got, status, text)
		}
	}
	get("anna/docs/a.txt", http.StatusOK, "alpha")
	get("berta/own/c.txt", http.StatusOK, "gamma")
	get("nobody/docs/a.txt", http.StatusNotFound, "")
	get("anna/docs/none", http.StatusNotFound, "")
	put := func(path, text string) {
		t.Helper()
		if code, _ := asks(t, http.MethodPut, url+path, text); code != http.StatusCreated {
			t.Errorf("a PUT to %s: %d", path, code)
		}
		waits(t, path+" to be delivered", func() bool { // if that takes long a PUT is answered before
			st, err := berta.Status(t.Context())
			works(t, "status", err)
			return st.Pending.Count == 0
		})
	}
	put("berta/own/new.txt", "delta")
	berta.is("//berta/own/new.txt", "delta")
	put("anna/docs/new.txt", "delta")
	if b, err := os.ReadFile(filepath.Join(dir, "new.txt")); err != nil || string(b) != "delta" {
		t.Errorf("the owner has %q, %v", b, err)
	}

	anna.stop()
	waits(t, "the owner to be known to be away", func() bool {
		began := time.Now()
		code, _ := asks(t, http.MethodGet, url+"anna/docs/sub/b.txt", "")
		return code == http.StatusServiceUnavailable && time.Since(began) < time.Second
	})
	get("anna/docs/a.txt", http.StatusOK, "alpha") // it was read before
	anna.run()
	waits(t, "the owner to be back", func() bool {
		code, got := asks(t, http.MethodGet, url+"anna/docs/sub/b.txt", "")
		return code == http.StatusOK && got == "beta"
	})
	for _, err := range berta.Webdav(t.Context(), control.WebdavRequest{Ref: ref(t, "//nobody")}) {
		wants(t, "a peer that is not there", err, peer.NotFound)
		break
	}
}

// waits waits until something is so.
func waits(t *testing.T, what string, so func() bool) {
	t.Helper()
	for began := time.Now(); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

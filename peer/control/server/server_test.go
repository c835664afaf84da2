package server_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"go.uber.org/goleak"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/peer/control/controltest"
	"github.com/peerd/peerd/peer/control/server"
)

// knockEnv makes the test binary connect to the socket that it names, tell what came of it, and exit.
const knockEnv = "PEERD_TEST_KNOCK"

func TestMain(m *testing.M) {
	if socket := os.Getenv(knockEnv); socket != "" {
		fmt.Print(knock(socket))
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

const statusRequest = "POST /v1/status HTTP/1.1\r\nHost: peerd.sock\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

// knock asks for the status, as another program would.
func knock(socket string) string {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return "dial: " + err.Error()
	}
	defer c.Close()
	if _, err := io.WriteString(c, statusRequest); err != nil {
		return "write: " + err.Error()
	}
	answer, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return "read: " + err.Error()
	}
	return strings.TrimSpace(answer)
}

// start serves a backend on a socket until the test ends.
func start(t *testing.T, b control.Backend) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "run", "ctl.sock")
	l, err := server.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, b)
	return socket
}

func serve(t *testing.T, l net.Listener, b control.Backend) {
	ctx, cancel := context.WithCancel(context.Background())
	var served sync.WaitGroup
	served.Go(func() {
		if err := server.Serve(ctx, l, b, slog.New(slog.DiscardHandler)); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); served.Wait() })
}

func TestListen(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "run", "ctl.sock")
	first, err := server.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" {
		for path, want := range map[string]os.FileMode{socket: os.ModeSocket | 0o600, filepath.Dir(socket): os.ModeDir | 0o700} {
			if info, err := os.Stat(path); err != nil || info.Mode() != want {
				t.Errorf("%s has the mode %v, %v; want %v", path, info.Mode(), err, want)
			}
		}
	}
	if _, err := server.Listen(socket); peer.KindOf(err) != peer.Conflict || !strings.Contains(err.Error(), "a peerd already runs with this home") {
		t.Errorf("a second daemon: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	// What a crash leaves behind.
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	again, err := server.Listen(socket)
	if err != nil {
		t.Fatalf("over a stale socket: %v", err)
	}
	again.Close()
	if err := os.WriteFile(socket, []byte("a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Listen(socket); peer.KindOf(err) != peer.Conflict {
		t.Errorf("over a file: %v", err)
	}
	if text, err := os.ReadFile(socket); string(text) != "a file" {
		t.Errorf("the file in the way became %q, %v", text, err)
	}
	if _, err := server.Listen("/tmp/" + strings.Repeat("a", control.MaxSocketPath)); peer.KindOf(err) != peer.Usage {
		t.Errorf("a long path: %v", err)
	}
}

func TestRequestsAreRefused(t *testing.T) {
	socket := start(t, controltest.New())
	web := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	addShare := `{"dir":"/","name":"all","read":{"mode":"open"},"full":{"mode":"open"}}`
	for _, tc := range []struct {
		name   string
		change func(*http.Request)
		status int
	}{
		{"none", func(*http.Request) {}, http.StatusOK},
		{"Origin", func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") }, http.StatusForbidden},
		{"Origin of ours", func(r *http.Request) { r.Header.Set("Origin", "http://peerd.sock") }, http.StatusForbidden},
		{"Origin null", func(r *http.Request) { r.Header.Set("Origin", "null") }, http.StatusForbidden},
		{"Origin empty", func(r *http.Request) { r.Header["Origin"] = []string{""} }, http.StatusForbidden},
		{"Referer", func(r *http.Request) { r.Header.Set("Referer", "http://localhost/") }, http.StatusForbidden},
		{"Host localhost", func(r *http.Request) { r.Host = "localhost" }, http.StatusMisdirectedRequest},
		{"Host with port", func(r *http.Request) { r.Host = "peerd.sock:80" }, http.StatusMisdirectedRequest},
		{"GET", func(r *http.Request) { r.Method = http.MethodGet }, http.StatusMethodNotAllowed},
		{"form", func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") }, http.StatusBadRequest},
		{"text", func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, http.StatusBadRequest},
		{"no type", func(r *http.Request) { r.Header.Del("Content-Type") }, http.StatusBadRequest},
		{"other verb", func(r *http.Request) { r.URL.Path = "/v1/nothing" }, http.StatusNotFound},
		{"unknown field", func(r *http.Request) { setBody(r, `{"dir":"/","nmae":"all"}`) }, http.StatusBadRequest},
		{"two objects", func(r *http.Request) { setBody(r, addShare+"{}") }, http.StatusBadRequest},
		{"no JSON", func(r *http.Request) { setBody(r, "x") }, http.StatusBadRequest},
		{"a long body", func(r *http.Request) { setBody(r, `{"dir":"`+strings.Repeat("a", control.MaxBody)+`"}`) }, http.StatusBadRequest},
		{"a long header", func(r *http.Request) { r.Header.Set("X", strings.Repeat("a", 64<<10)) }, http.StatusRequestHeaderFieldsTooLarge},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fake := controltest.New()
			socket = start(t, fake)
			r, err := http.NewRequest(http.MethodPost, "http://"+control.Host+control.VerbShareAdd.Path(), strings.NewReader(addShare))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			tc.change(r)
			res, err := web.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != tc.status {
				t.Errorf("status %s, want %d", res.Status, tc.status)
			}
			if shares, _ := fake.ShareList(t.Context()); len(shares) != 0 && tc.status != http.StatusOK {
				t.Errorf("refused, but done: there are %d shares", len(shares))
			}
		})
	}
}

// verbs has a request for every verb, and the status that answers it in a fresh workgroup.
func verbs() map[control.Verb]verbRow {
	const plan = `{"ref":"//anna/docs/plan.txt"}`
	return map[control.Verb]verbRow{
		control.VerbStatus:           {"{}", http.StatusOK, false},
		control.VerbPeers:            {`{"ask":true}`, http.StatusOK, false},
		control.VerbWatchPeers:       {"{}", http.StatusOK, true},
		control.VerbDoctor:           {"{}", http.StatusOK, true},
		control.VerbList:             {`{"ref":"//anna/docs","recursive":true}`, http.StatusOK, true},
		control.VerbStat:             {plan, http.StatusOK, false},
		control.VerbFind:             {`{"ref":"//anna/docs","pattern":"plan"}`, http.StatusOK, true},
		control.VerbCopy:             {`{"sources":["//anna/docs/plan.txt"],"to":"//anna/docs/copy.txt"}`, http.StatusOK, true},
		control.VerbCat:              {`{"ref":"//anna/docs/plan.txt","offset":0,"length":-1}`, http.StatusOK, false},
		control.VerbWatchFiles:       {`{"ref":"//anna/docs"}`, http.StatusOK, true},
		control.VerbRemove:           {`{"refs":["//anna/docs/notes"],"recursive":true}`, http.StatusOK, true},
		control.VerbMove:             {`{"sources":["//anna/docs/plan.txt"],"dest":"//anna/docs/moved.txt"}`, http.StatusOK, true},
		control.VerbMkdir:            {`{"ref":"//anna/docs/new"}`, http.StatusOK, false},
		control.VerbVersions:         {`{"ref":"//anna/docs","recursive":true}`, http.StatusOK, true},
		control.VerbRestore:          {`{"ref":"//anna/docs/plan.txt","version":"20260301-123000-ffff"}`, http.StatusNotFound, false},
		control.VerbLock:             {`{"ref":"//anna/safe/gold.txt"}`, http.StatusOK, true},
		control.VerbUndo:             {`{"share":"docs","peer":"bob","since":"2026-03-01T12:00:00Z"}`, http.StatusOK, true},
		control.VerbAuditRecords:     {`{"share":"music"}`, http.StatusOK, true},
		control.VerbAuditVerify:      {"{}", http.StatusOK, false},
		control.VerbLogin:            {`{"ref":"//anna/safe","password":"wrong"}`, http.StatusForbidden, false},
		control.VerbLogout:           {`{"ref":"//anna/safe"}`, http.StatusOK, false},
		control.VerbWhoami:           {`{"ref":"//anna/safe"}`, http.StatusOK, false},
		control.VerbShareList:        {"{}", http.StatusOK, false},
		control.VerbShareAdd:         {`{"dir":"/srv","read":{"mode":"open"},"full":{"mode":"none"}}`, http.StatusOK, false},
		control.VerbShareSet:         {`{"name":"none","set":{"hidden":true}}`, http.StatusNotFound, false},
		control.VerbShareRemove:      {`{"name":"none"}`, http.StatusNotFound, false},
		control.VerbSharePasswd:      {`{"name":"none","right":"read","password":"x"}`, http.StatusNotFound, false},
		control.VerbGeneratePassword: {"{}", http.StatusOK, false},
		control.VerbShareAllow:       {`{"name":"none","peer":"bob","right":"read"}`, http.StatusNotFound, false},
		control.VerbShareDeny:        {`{"name":"none","peer":"bob"}`, http.StatusNotFound, false},
		control.VerbShareResume:      {`{"name":"none","peer":"bob"}`, http.StatusNotFound, false},
		control.VerbBlock:            {`{"peer":"bob"}`, http.StatusOK, false},
		control.VerbBlocked:          {"{}", http.StatusOK, false},
		control.VerbMount:            {`{"ref":"//anna/docs","dir":"/mnt"}`, http.StatusOK, false},
		control.VerbUnmount:          {`{"dir":"/none"}`, http.StatusNotFound, false},
		control.VerbMountList:        {"{}", http.StatusOK, false},
		control.VerbWebdav:           {"{}", http.StatusOK, true},
	}
}

type verbRow struct {
	body   string
	status int
	stream bool // the answer has lines, the last of which says Done or Error
}

// TestEveryVerb asks each as it wants to be asked and in ways that must be refused. A method of the Backend without a row
// in verbs fails, and so does a verb that the server does not know.
func TestEveryVerb(t *testing.T) {
	ask := func(verb control.Verb, body string, change func(*http.Request)) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "http://"+control.Host+verb.Path(), strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		change(r)
		w := httptest.NewRecorder()
		fake := controltest.New()
		close(fake.Events)
		close(fake.FileEvents)
		server.Handler(fake).ServeHTTP(w, r)
		return w
	}
	table := verbs()
	for method := range reflect.TypeFor[control.Backend]().Methods() {
		verb := control.Verb(verbOf(method.Name))
		row, ok := table[verb]
		if !ok {
			t.Errorf("the verb %q of the method %s has no row", verb, method.Name)
			continue
		}
		delete(table, verb)
		for name, tc := range map[string]struct {
			change func(*http.Request)
			status int
		}{
			"Origin":        {func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") }, http.StatusForbidden},
			"Referer":       {func(r *http.Request) { r.Header.Set("Referer", "http://evil.example/") }, http.StatusForbidden},
			"other host":    {func(r *http.Request) { r.Host = "127.0.0.1" }, http.StatusMisdirectedRequest},
			"GET":           {func(r *http.Request) { r.Method = http.MethodGet }, http.StatusMethodNotAllowed},
			"no type":       {func(r *http.Request) { r.Header.Del("Content-Type") }, http.StatusBadRequest},
			"unknown field": {func(r *http.Request) { setBody(r, `{"no such field":1}`) }, http.StatusBadRequest},
			"wrong type":    {func(r *http.Request) { setBody(r, `[]`) }, http.StatusBadRequest},
			"a bad ref":     {func(r *http.Request) { setBody(r, `{"ref":"//anna/../x"}`) }, http.StatusBadRequest},
		} {
			if w := ask(verb, row.body, tc.change); w.Code != tc.status {
				t.Errorf("%s with %s: status %d, want %d", verb, name, w.Code, tc.status)
			}
		}
		w := ask(verb, row.body, func(*http.Request) {})
		if w.Code != row.status {
			t.Errorf("%s: status %d, want %d: %s", verb, w.Code, row.status, w.Body)
		}
		lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
		var last control.Line[any]
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); row.stream && (err != nil || !last.Done && last.Error == nil) {
			t.Errorf("%s: the last line is %s, %v", verb, lines[len(lines)-1], err)
		}
	}
	for verb := range table {
		t.Errorf("the row %q belongs to no method", verb)
	}
}

// verbOf is how a method is called in a URL: WatchPeers is watch-peers.
func verbOf(method string) string {
	var b strings.Builder
	for i, r := range method {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

func setBody(r *http.Request, body string) {
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
}

func TestSlowHeadersAreCutOff(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a timeout")
	}
	socket := start(t, controltest.New())
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, statusRequest[:20]); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(c); err != nil || bytes.Contains(rest, []byte("200 OK")) {
		t.Errorf("half a request was answered with %q, %v", rest, err)
	}
}

//go:build unix

package webdav_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/peerd/peerd/share"
)

// browser is a headless Chromium, spoken to through a pipe by its DevTools protocol.
type browser struct {
	t    *testing.T
	to   io.Writer
	from *bufio.Reader
	last int
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	need(t, "chromium")
	dir := t.TempDir()
	theirIn, ourOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ourIn, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	cmd := exec.CommandContext(ctx, "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--mute-audio", "--no-first-run",
		"--disable-extensions", "--disable-background-networking", "--remote-debugging-pipe", "--user-data-dir="+dir, "about:blank")
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_RUNTIME_DIR="+dir, "DBUS_SESSION_BUS_ADDRESS=disabled:")
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // 3 and 4, as Chromium wants them
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirIn.Close()
	theirOut.Close()
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
		ourOut.Close()
		ourIn.Close()
	})
	return &browser{t: t, to: ourOut, from: bufio.NewReader(ourIn)}
}

// call calls a method and gives its result; what else Chromium tells is dropped.
func (b *browser) call(session, method string, params map[string]any, result any) {
	b.t.Helper()
	b.last++
	m, err := json.Marshal(map[string]any{"id": b.last, "sessionId": session, "method": method, "params": params})
	if session == "" {
		m, err = json.Marshal(map[string]any{"id": b.last, "method": method, "params": params})
	}
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.to.Write(append(m, 0)); err != nil {
		b.t.Fatal(err)
	}
	for {
		m, err := b.from.ReadBytes(0)
		if err != nil {
			b.t.Fatalf("%s: %v", method, err)
		}
		var answer struct {
			ID     int
			Result json.RawMessage
			Error  *struct{ Message string }
		}
		if err := json.Unmarshal(m[:len(m)-1], &answer); err != nil {
			b.t.Fatal(err)
		}
		if answer.ID != b.last {
			continue
		}
		if answer.Error != nil {
			b.t.Fatalf("%s: %s", method, answer.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(answer.Result, result); err != nil {
				b.t.Fatal(err)
			}
		}
		return
	}
}

// open opens a page, and gives what evaluates an expression in it, when it is loaded; a promise is waited for.
func (b *browser) open(url string) func(expression string, result any) {
	b.t.Helper()
	var target struct{ TargetID string }
	b.call("", "Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	var went struct{ ErrorText string }
	b.call(attached.SessionID, "Page.navigate", map[string]any{"url": url}, &went)
	if went.ErrorText != "" {
		b.t.Fatalf("%s: %s", url, went.ErrorText)
	}
	return func(expression string, result any) {
		b.t.Helper()
		var out struct {
			Result           struct{ Value json.RawMessage }
			ExceptionDetails *struct {
				Text      string
				Exception struct{ Description string }
			}
		}
		b.call(attached.SessionID, "Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true}, &out)
		if out.ExceptionDetails != nil {
			b.t.Fatalf("%s: %s %s", url, out.ExceptionDetails.Text, out.ExceptionDetails.Exception.Description)
		}
		if result != nil {
			if err := json.Unmarshal(out.Result.Value, result); err != nil {
				b.t.Fatalf("%s: %v in %s", url, err, out.Result.Value)
			}
		}
	}
}

// play waits for the video of a page that is nothing else, seeks it to and fro, and plays it a little at each place.
const play = `(async () => {
	const v = document.querySelector('video'), got = []
	const event = (name) => new Promise((done, failed) => {
		v.addEventListener(name, done, {once: true})
		v.addEventListener('error', () => failed(new Error(v.error.message)), {once: true})
		setTimeout(() => failed(new Error('no ' + name + ' at ' + v.currentTime)), 60000)
	})
	v.muted = true
	v.pause()
	if (v.readyState < 1) await event('loadedmetadata')
	for (const at of [50, 5, 30, 0]) {
		const seeked = event('seeked')
		v.currentTime = at
		await seeked
		v.play()
		while (v.currentTime < at + 0.2) await event('timeupdate')
		v.pause()
		got.push(Math.floor(v.currentTime))
	}
	return {width: v.videoWidth, duration: Math.round(v.duration), got}
})()`

// TestBrowserPlays holds that a browser shows a folder, and plays a video from it, seeking at once.
func TestBrowserPlays(t *testing.T) {
	need(t, "ffmpeg")
	b := newBrowser(t)
	s, c := folder(t, share.Full)
	dir := t.TempDir()
	// The index of this file lies at its end, as cameras write it; it is padded to 250 kB a second.
	program(t, dir, "", "ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=5:duration=60",
		"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "10",
		"-b:v", "2M", "-minrate", "2M", "-maxrate", "2M", "-bufsize", "2M", "-x264-params", "nal-hrd=cbr", "video.mp4")
	data, err := os.ReadFile(filepath.Join(dir, "video.mp4"))
	if err != nil {
		t.Fatal(err)
	}
	s.Write("a video.mp4", data)
	s.Write("page.html", []byte(`<title>sandboxed</title><script>document.title = "ran"; fetch("new", {method: "PUT", body: "x"})</script>`))

	var page struct {
		Title, Link, Color string
	}
	eval := b.open(c.base)
	eval(`(async () => {
		while (document.readyState != 'complete' || !document.querySelector('tr.video a')) await new Promise(r => setTimeout(r, 20))
		const a = document.querySelector('tr.video a')
		return {title: document.title, link: a.href, color: getComputedStyle(a).textDecorationLine}
	})()`, &page)
	if page.Title != "docs" || page.Link != c.base+"a%20video.mp4" || page.Color != "none" {
		t.Errorf("the page is %+v", page)
	}
	var played struct {
		Width, Duration int
		Got             []int
	}
	eval = b.open(page.Link)
	eval(`(async () => { while (!document.querySelector('video')) await new Promise(r => setTimeout(r, 20)) })()`, nil)
	eval(play, &played)
	if got := fmt.Sprint(played); got != "{320 60 [50 5 30 0]}" {
		t.Errorf("of %d bytes it played %s", len(data), got)
	}

	// What lies in a share does not run as a page of this server. There no script runs, so the waiting is done here.
	eval = b.open(c.base + "page.html")
	var state, title string
	for state != "complete" {
		eval(`document.readyState`, &state)
	}
	eval(`document.title`, &title)
	if title != "sandboxed" || len(s.Paths()) != 2 {
		t.Errorf("a script of the share ran: %s, %q", title, s.Paths())
	}
}

//go:build linux

package e2e

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"testing"

	"github.com/peerd/peerd/cmd/internal/lantest"
)

// browser is a headless Chromium, spoken to through a pipe by its DevTools protocol.
type browser struct {
	t    testing.TB
	to   io.Writer
	from *bufio.Reader
	last int
}

// browser starts one on a host.
func (n *node) browser() *browser {
	n.t.Helper()
	lantest.Need(n.t, "chromium")
	theirIn, ourOut, err := os.Pipe()
	if err != nil {
		n.t.Fatal(err)
	}
	ourIn, theirOut, err := os.Pipe()
	if err != nil {
		n.t.Fatal(err)
	}
	cmd := n.Command("timeout", "-s", "KILL", "100", "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--mute-audio",
		"--no-first-run", "--disable-extensions", "--disable-background-networking", "--remote-debugging-pipe", "--user-data-dir="+n.Home+"/chromium", "about:blank")
	cmd.Env = append(cmd.Env, "XDG_RUNTIME_DIR="+n.Home, "DBUS_SESSION_BUS_ADDRESS=disabled:")
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // 3 and 4, as Chromium wants them
	n.Host.Start(cmd)
	theirIn.Close()
	theirOut.Close()
	n.t.Cleanup(func() {
		ourOut.Close()
		ourIn.Close()
	})
	return &browser{t: n.t, to: ourOut, from: bufio.NewReader(ourIn)}
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

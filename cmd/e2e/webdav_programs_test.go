//go:build linux

package e2e

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/cmd/internal/lantest"
)

// davClient is a program that works on a folder of a share of another computer, which is served by WebDAV on its own.
type davClient struct {
	*node
	url  string // of the folder; ends in a slash
	far  string // the folder at its owner
	here string // a folder of its own, with a file "up"
	up   string // what is in that
}

// run runs a program in its own folder, which is its home as well, and gives what it prints.
func (c *davClient) run(stdin, name string, args ...string) string {
	c.t.Helper()
	cmd := c.Command(name, args...)
	cmd.Dir, cmd.Stdin = c.here, strings.NewReader(stdin)
	for _, v := range []string{"HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"} {
		cmd.Env = append(cmd.Env, v+"="+c.here)
	}
	cmd.Env = append(cmd.Env, "GVFS_DISABLE_FUSE=1", "LC_ALL=C.UTF-8")
	r := c.Host.Run(slow, cmd)
	if r.Status != 0 {
		c.t.Fatalf("%s %q: exit status %d\n%s%s\ndaemon:\n%s", name, args, r.Status, r.Stdout, r.Stderr, c.log())
	}
	return r.Stdout + r.Stderr
}

// down checks that a file which came back is what was sent.
func (c *davClient) down(path string) {
	c.t.Helper()
	if b, err := os.ReadFile(path); err != nil || string(b) != c.up {
		c.t.Errorf("%d bytes came back that are not the %d that were sent, %v", len(b), len(c.up), err)
	}
}

// has waits until the owner has these files, which hold what was sent unless they name another text, and no others.
func (c *davClient) has(want map[string]string) {
	c.t.Helper()
	var got map[string]string
	holds := func() bool {
		got = tree(c.t, c.far)
		maps.DeleteFunc(got, func(_, sum string) bool { return sum == "dir" })
		for path := range got {
			b, err := os.ReadFile(filepath.Join(c.far, path))
			if got[path] = string(b); err != nil || got[path] != want[path] {
				return false
			}
		}
		return len(got) == len(want)
	}
	for began := time.Now(); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > quick {
			c.t.Fatalf("the owner has %q, want %q", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
		}
	}
}

// TestWebdavPrograms: what programs do by WebDAV on one computer is done in the share of another, byte for byte.
func TestWebdavPrograms(t *testing.T) {
	t.Parallel()
	lantest.Need(t, "cadaver", "rclone", "mount.davfs", "gio", "dbus-run-session", "bash")
	_, guests, dir := shared(t, 1)
	guest := guests[0]
	w, _ := guest.webdav("//h1/data")
	for _, c := range []struct {
		name string
		work func(c *davClient)
	}{{"cadaver", cadaver}, {"rclone", rclone}, {"davfs2", davfs2}, {"gio", gnome}} {
		t.Run(c.name, func(t *testing.T) {
			here := *guest
			here.t = t
			d := &davClient{node: &here, url: w.URL + c.name + "/", far: filepath.Join(dir, c.name), here: ram(t), up: string(pattern(300_000))}
			write(t, filepath.Join(d.here, "up"), d.up)
			if err := os.Mkdir(d.far, 0o755); err != nil {
				t.Fatal(err)
			}
			lantest.WaitFor(t, quick, "the folder to be seen", func() bool {
				return guest.Host.Run(quick, guest.Command("curl", "-sf", "-o", "/dev/null", d.url)).Status == 0
			})
			c.work(d)
		})
	}
}

func cadaver(c *davClient) {
	out := c.run("mkcol d\ncd d\nput up\nls\nlock up\ncopy up copied\nunlock up\nmove copied moved\nget moved down\ndelete up\ncd ..\nmkcol gone\nrmcol gone\nquit\n",
		"cadaver", c.url)
	if strings.Contains(out, "failed") {
		c.t.Error(out)
	}
	c.down(filepath.Join(c.here, "down"))
	c.has(map[string]string{"d/moved": c.up})
}

// rclone goes as it does with a server that it knows nothing of, and as with one that keeps times.
func rclone(c *davClient) {
	when := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	const odd = "b/ü name #%&+.txt"
	for name, text := range map[string]string{"a": c.up, odd: "odd", "b/c/d": c.up[:70_000], "empty": "", "~$x": "office"} {
		path := filepath.Join(c.here, "src", name)
		write(c.t, path, text)
		if err := os.Chtimes(path, when, when); err != nil {
			c.t.Fatal(err)
		}
	}
	for _, vendor := range []string{"other", "owncloud"} {
		do := func(args ...string) string {
			c.t.Helper()
			return c.run("", "rclone", append([]string{"--config", "", "--webdav-url", c.url, "--webdav-vendor", vendor, "--retries", "1"}, args...)...)
		}
		to := ":webdav:" + vendor + "/to"
		do("sync", "src", to)
		do("check", "--download", "src", to)
		do("moveto", to+"/a", to+"/b/moved")
		do("copyto", to+"/b/moved", to+"/copied")
		do("deletefile", to+"/b/moved")
		if about := do("about", ":webdav:"); !strings.Contains(about, "Free") {
			c.t.Errorf("about: %s", about)
		}
	}
	all := map[string]string{}
	for _, vendor := range []string{"other", "owncloud"} {
		maps.Copy(all, map[string]string{vendor + "/to/copied": c.up, vendor + "/to/" + odd: "odd", vendor + "/to/b/c/d": c.up[:70_000],
			vendor + "/to/empty": "", vendor + "/to/~$x": "office"})
	}
	c.has(all)
	if info, err := os.Stat(filepath.Join(c.far, "owncloud/to/b/c/d")); err != nil || !info.ModTime().Equal(when) {
		c.t.Errorf("its time is %v, %v", info.ModTime(), err)
	}
	c.run("", "rclone", "--config", "", "--webdav-url", c.url, "purge", ":webdav:owncloud")
	maps.DeleteFunc(all, func(path, _ string) bool { return strings.HasPrefix(path, "owncloud/") })
	c.has(all)
}

func davfs2(c *davClient) {
	dir := filepath.Join(c.here, "mnt")
	if err := os.Mkdir(dir, 0o755); err != nil {
		c.t.Fatal(err)
	}
	for d := c.here; d != scratch; d = filepath.Dir(d) { // it goes there as a user of its own
		if err := os.Chmod(d, 0o755); err != nil {
			c.t.Fatal(err)
		}
	}
	secrets, conf := filepath.Join(c.here, "secrets"), filepath.Join(c.here, "conf")
	write(c.t, secrets, c.url+` "" ""`+"\n")
	if err := os.Chmod(secrets, 0o600); err != nil {
		c.t.Fatal(err)
	}
	// A buffer of another size makes reading folders fail on Linux 6.16 and later.
	write(c.t, conf, "buf_size 1040\ndelay_upload 0\nuse_locks 1\nask_auth 0\nsecrets "+secrets+"\n")
	c.run("", "mount.davfs", "-o", "conf="+conf, c.url, dir)
	at := func(name string) string { return filepath.Join(c.reach(dir), name) }
	for i, err := range []error{
		os.WriteFile(at("f"), []byte(c.up), 0o644),
		os.Mkdir(at("d"), 0o755),
		os.WriteFile(at("temp"), []byte("new"), 0o644),
		os.Rename(at("temp"), at("d/doc")),
		os.WriteFile(at("gone"), nil, 0o644),
		os.Remove(at("gone")),
	} {
		if err != nil {
			c.t.Errorf("step %d: %v", i, err)
		}
	}
	if got := names(c.t, at("d")); !slices.Equal(got, []string{"doc"}) {
		c.t.Errorf("in the folder are %q", got)
	}
	c.down(at("f"))
	c.run("", "umount", dir) // waits until all is sent
	c.has(map[string]string{"d/doc": "new", "f": c.up})
}

// gnome goes as the file manager of GNOME does.
func gnome(c *davClient) {
	out := c.run("", "dbus-run-session", "--", "bash", "-euc", `
		gio mount "$1"
		gio copy up "$1/up"
		gio copy "$1/up" down
		gio mkdir "$1/d"
		gio move "$1/up" "$1/d/moved"
		gio rename "$1/d/moved" renamed
		gio list "$1/d"
		gio copy "$1/d/renamed" "$1/gone"
		gio remove "$1/gone"
		gio mount -u "$1"`, "bash", strings.Replace(c.url, "http:", "dav:", 1))
	if !strings.Contains(out, "\nrenamed\n") && !strings.HasPrefix(out, "renamed\n") {
		c.t.Errorf("it does not list what it renamed: %s", out)
	}
	c.down(filepath.Join(c.here, "down"))
	c.has(map[string]string{"d/renamed": c.up})
}

// TestWebdavBrowser: a browser shows a folder of another computer's share, and plays a video from it, seeking at once; what lies in a
// share does not run as a page of the server.
func TestWebdavBrowser(t *testing.T) {
	t.Parallel()
	lantest.Need(t, "ffmpeg", "chromium")
	_, guests, dir := shared(t, 1)
	guest := guests[0]
	// The index of this file lies at its end, as cameras write it; it is padded to 250 kB a second.
	video := filepath.Join(dir, "a video.mp4")
	if out, err := exec.Command("ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=5:duration=60", "-c:v", "libx264", "-preset", "ultrafast",
		"-pix_fmt", "yuv420p", "-g", "10", "-b:v", "2M", "-minrate", "2M", "-maxrate", "2M", "-bufsize", "2M", "-x264-params", "nal-hrd=cbr", video).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
	write(t, filepath.Join(dir, "page.html"), `<title>sandboxed</title><script>document.title = "ran"; fetch("new", {method: "PUT", body: "x"})</script>`)
	w, _ := guest.webdav("//h1/data")
	b := guest.browser()

	var page struct{ Title, Link, Color string }
	eval := b.open(w.URL)
	eval(`(async () => {
		while (document.readyState != 'complete' || !document.querySelector('tr.video a')) await new Promise(r => setTimeout(r, 20))
		const a = document.querySelector('tr.video a')
		return {title: document.title, link: a.href, color: getComputedStyle(a).textDecorationLine}
	})()`, &page)
	if page.Title != "data" || page.Link != w.URL+"a%20video.mp4" || page.Color != "none" {
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
		t.Errorf("it played %s", got)
	}

	eval = b.open(w.URL + "page.html") // there no script runs, so the waiting is done here
	var state, title string
	for state != "complete" {
		eval(`document.readyState`, &state)
	}
	eval(`document.title`, &title)
	if got := names(t, dir); title != "sandboxed" || slices.Contains(got, "new") {
		t.Errorf("a script of the share ran: %s, %q", title, got)
	}
}

// TestWebdavSeeks: anywhere in a video of 4 GiB at another computer the first byte comes at once, and is the right one.
func TestWebdavSeeks(t *testing.T) {
	t.Parallel()
	lantest.Need(t, "curl")
	_, guests, dir := shared(t, 1)
	guest := guests[0]
	const size, part, aim = 4 << 30, 64 << 10, 100 * time.Millisecond
	f, err := os.Create(filepath.Join(dir, "film.mkv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	var at []int64
	for i := range 10 {
		off := random.Int64N(size - part)
		if _, err := io.Copy(io.NewOffsetWriter(f, off-off%4096), strings.NewReader(string(pattern(part+8192+i*100)))); err != nil {
			t.Fatal(err)
		}
		at = append(at, off)
	}
	w, _ := guest.webdav("//h1/data")
	lantest.WaitFor(t, quick, "the film to be seen", func() bool {
		return guest.Host.Run(quick, guest.Command("curl", "-sfI", w.URL+"film.mkv")).Status == 0
	})
	want, over := make([]byte, part), 0
	var all []string
	for _, off := range at {
		r := guest.Host.Run(quick, guest.Command("curl", "-sS", "-r", fmt.Sprintf("%d-%d", off, off+part-1), "-w", "%{stderr}%{http_code} %{time_starttransfer}", w.URL+"film.mkv"))
		if _, err := f.ReadAt(want, off); err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(`^206 (\d+\.\d+)$`).FindStringSubmatch(r.Stderr)
		if r.Stdout != string(want) || m == nil {
			t.Fatalf("at %d: %d bytes, %s", off, len(r.Stdout), r.Stderr)
		}
		seconds, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		first := time.Duration(seconds * float64(time.Second))
		if first > aim {
			over++
		}
		if first > bound {
			t.Errorf("at %d the first byte comes after %v", off, first)
		}
		all = append(all, first.Round(time.Millisecond).String())
	}
	t.Logf("first bytes after %s; %d of them over the aim of %v", strings.Join(all, ", "), over, aim)
}

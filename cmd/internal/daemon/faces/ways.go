package faces

import (
	"strings"

	"github.com/peerd/peerd/peer/control"
)

// commands are those by which something that is served can be used on a system, the best first. dir is the folder to mount it on,
// or "" if there is none yet.
func commands(system string, w control.Webdav, dir string) []string {
	if dir == "" {
		dir = "DIR"
	} else {
		dir = quote(dir)
	}
	u := quote(w.URL)
	login := ""
	if w.User != "" {
		login = " -i"
	}
	switch system {
	case "darwin":
		return []string{"mount_webdav -s -S" + login + " " + u + " " + dir, "open " + u}
	case "windows":
		if dir == "DIR" || !isDrive(dir) {
			dir = "X:"
		}
		user := ""
		if w.User != "" {
			user = " /user:" + w.User + " *"
		}
		return []string{"net use " + dir + " " + w.URL + user, "explorer " + w.URL}
	}
	dav := "dav" + strings.TrimPrefix(w.URL, "http") // davs for https
	return []string{"gio mount " + quote(dav), "mount -t davfs " + u + " " + dir}
}

// native is what mounts something that is served on this computer, and what unmounts it, on systems that have both and want
// no more rights than the user's; else nil.
func native(system, at, dir string) (mount, unmount []string) {
	switch system {
	case "darwin":
		return []string{"mount_webdav", "-s", "-S", at, dir}, []string{"umount", dir}
	case "windows":
		if isDrive(dir) {
			return []string{"net", "use", dir, at}, []string{"net", "use", dir, "/delete", "/yes"}
		}
	}
	return nil, nil
}

// isDrive reports whether a path is the letter of a drive alone.
func isDrive(dir string) bool {
	dir = strings.TrimSuffix(dir, `\`)
	return len(dir) == 2 && dir[1] == ':'
}

// quote makes a word of a shell's line of a text.
func quote(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool {
		return !(r == '/' || r == ':' || r == '.' || r == '-' || r == '_' || r == '%' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

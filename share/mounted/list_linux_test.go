package mounted

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	const info = `22 28 0:20 / /proc rw,relatime shared:5 - proc proc rw
41 26 0:42 / /home/anna/My\040Peers rw,nosuid,nodev,relatime shared:1 - fuse.peerd peerd rw,user_id=1000,group_id=1000,max_read=1048576
42 26 0:43 / /mnt/sshfs rw - fuse.sshfs peerd rw,user_id=0
43 26 0:44 / /mnt/other rw - fuse.peerd something rw,user_id=0
44 26 0:45 / /mnt/x\134y rw shared:1 master:2 - fuse.peerd peerd ro,user_id=0
short
45 26 0:46 - fuse.peerd peerd rw
`
	want := []Mount{
		{Dir: "/proc", Dev: "0:20", id: "22", parent: "28"},
		{Dir: "/home/anna/My Peers", Dev: "0:42", Ours: true, UID: "1000", id: "41", parent: "26"},
		{Dir: "/mnt/sshfs", Dev: "0:43", id: "42", parent: "26"}, {Dir: "/mnt/other", Dev: "0:44", id: "43", parent: "26"},
		{Dir: `/mnt/x\y`, Dev: "0:45", Ours: true, UID: "0", id: "44", parent: "26"},
	}
	if got := parse([]byte(info)); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestTop: what is on top is told by what lies in what; the order in which the system tells does not matter.
func TestTop(t *testing.T) {
	for _, c := range []struct{ name, info, want string }{
		{"one", "1 1 0:1 / / rw - r r rw\n5 1 0:5 / /m rw - a a rw", "0:5"},
		{"a later one over it", "1 1 0:1 / / rw - r r rw\n5 1 0:5 / /m rw - a a rw\n6 5 0:6 / /m rw - a a rw", "0:6"},
		{"an older one moved over it", "1 1 0:1 / / rw - r r rw\n4 5 0:4 / /m rw - a a rw\n5 1 0:5 / /m rw - a a rw", "0:4"},
		{"another in what hides it", "1 0 0:1 / / rw - r r rw\n7 6 0:7 / /d/m rw - a a rw\n5 1 0:5 / /d/m rw - a a rw\n6 1 0:6 / /d rw - a a rw", "0:7"},
		{"hidden", "1 0 0:1 / / rw - r r rw\n5 1 0:5 / /d/m rw - a a rw\n6 1 0:6 / /d rw - a a rw", ""},
		{"hidden with what it lies in", "1 0 0:1 / / rw - r r rw\n4 1 0:4 / /d rw - a a rw\n5 4 0:5 / /d/m rw - a a rw\n6 4 0:6 / /d rw - a a rw", ""},
		{"no end", "5 6 0:5 / /m rw - a a rw\n6 7 0:6 / /x rw - a a rw\n7 6 0:7 / /y rw - a a rw", "0:5"},
	} {
		dir := "/m"
		if strings.Contains(c.info, "/d/m") {
			dir = "/d/m"
		}
		if got, ok := top(parse([]byte(c.info)), dir); got.Dev != c.want || ok != (c.want != "") {
			t.Errorf("%s: %+v, want %q", c.name, got, c.want)
		}
	}
}

// TestResolve: links are followed as the system does, as far as there is something, but not into what is mounted.
func TestResolve(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(top, name) }
	for _, err := range []error{os.MkdirAll(at("a/b"), 0o755), os.Symlink("a/b", at("b")), os.Symlink("../..", at("a/b/up")),
		os.Symlink(at("a"), at("abs")), os.Symlink("none", at("dangling")), os.Symlink("loop", at("loop"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		"a/b": "a/b", "b": "a/b", "b/x/y": "a/b/x/y", "b/up/abs/b": "a/b", "abs": "a", "dangling": "none", "dangling/x": "none/x", "b/../a": "a",
		"none/x": "none/x", "loop": "loop",
	} {
		if got := Resolve(top + "/" + path); got != at(want) {
			t.Errorf("%s is %s, want %s", path, got, at(want))
		}
	}
	if got := Resolve("/"); got != "/" {
		t.Errorf("the root is %q", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`41 26 0:42 / /a\040b rw - fuse.peerd peerd rw,user_id=1000`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, m := range parse(b) {
			if len(m.Dir) > len(b) {
				t.Errorf("%q", m.Dir)
			}
		}
	})
}

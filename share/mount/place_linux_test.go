package mount

import (
	"errors"
	"slices"
	"testing"

	"github.com/peerd/peerd/peer"
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
	want := []mounted{
		{dir: "/proc", dev: "0:20"}, {dir: "/home/anna/My Peers", dev: "0:42", ours: true, uid: "1000"}, {dir: "/mnt/sshfs", dev: "0:43"},
		{dir: "/mnt/other", dev: "0:44"}, {dir: `/mnt/x\y`, dev: "0:45", ours: true, uid: "0"},
	}
	if got := parse([]byte(info)); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`41 26 0:42 / /a\040b rw - fuse.peerd peerd rw,user_id=1000`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, m := range parse(b) {
			if len(m.dir) > len(b) {
				t.Errorf("%q", m.dir)
			}
		}
	})
}

func TestWithin(t *testing.T) {
	for _, c := range []struct {
		path, dir string
		want      bool
	}{
		{"/a/b", "/a", true}, {"/a", "/a", true}, {"/ab", "/a", false}, {"/", "/a", false}, {"/a", "/", true}, {"/a/b", "/a/b/c", false},
	} {
		if got := within(c.path, c.dir); got != c.want {
			t.Errorf("%s in %s: %v", c.path, c.dir, got)
		}
	}
}

func TestUnavailable(t *testing.T) {
	err := unavailable("why", "do this")
	var e *peer.Error
	if !errors.Is(err, ErrUnavailable) || !errors.As(err, &e) || e.Hint == "" {
		t.Errorf("%v", err)
	}
}

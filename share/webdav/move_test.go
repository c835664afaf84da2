package webdav_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs/vfstest"
	"github.com/peerd/peerd/share/webdav"
)

func TestMoveAndCopy(t *testing.T) {
	const before = "a b d/ d/e/ d/e/g d/f o/ o/old"
	for _, x := range []struct {
		name, verb, from string
		h                head
		want             int
		after            string
	}{
		{"move", "MOVE", "a", head{"Destination": "/n"}, 201, "b d/ d/e/ d/e/g d/f n=a o/ o/old"},
		{"move over", "MOVE", "a", head{"Destination": "/b"}, 204, "b=a d/ d/e/ d/e/g d/f o/ o/old"},
		{"move over, said so", "MOVE", "a", head{"Destination": "/b", "Overwrite": "T"}, 204, "b=a d/ d/e/ d/e/g d/f o/ o/old"},
		{"move over, not wanted", "MOVE", "a", head{"Destination": "/b", "Overwrite": "F"}, 412, before},
		{"move, not over", "MOVE", "a", head{"Destination": "/n", "Overwrite": "F"}, 201, "b d/ d/e/ d/e/g d/f n=a o/ o/old"},
		{"move a folder", "MOVE", "d/", head{"Destination": "/n/"}, 201, "a b n/ n/e/ n/e/g n/f o/ o/old"},
		{"move a folder over one", "MOVE", "d/", head{"Destination": "/o/"}, 204, "a b o/ o/e/ o/e/g o/f"},
		{"move a file over a folder", "MOVE", "a", head{"Destination": "/o"}, 204, "b d/ d/e/ d/e/g d/f o=a"},
		{"move a folder over a file", "MOVE", "d", head{"Destination": "/a"}, 204, "a/ a/e/ a/e/g a/f b o/ o/old"},
		{"move into itself", "MOVE", "d", head{"Destination": "/d/e/n"}, 403, before},
		{"move to itself", "MOVE", "a", head{"Destination": "/a"}, 403, before},
		{"move onto what it is in", "MOVE", "d/e", head{"Destination": "/d"}, 403, before},
		{"move nothing", "MOVE", "none", head{"Destination": "/n"}, 404, before},
		{"move under nothing", "MOVE", "a", head{"Destination": "/no/n"}, 409, before},
		{"move elsewhere", "MOVE", "a", head{"Destination": "http://192.0.2.1/x"}, 502, before},
		{"move to the same path elsewhere", "MOVE", "a", head{"Destination": "ELSEWHERE"}, 502, before},
		{"move out of the prefix", "MOVE", "a", head{"Destination": "OUT"}, 502, before},
		{"move up", "MOVE", "a", head{"Destination": "/../../x"}, 400, before},
		{"move nowhere", "MOVE", "a", nil, 400, before},
		{"move to the root", "MOVE", "a", head{"Destination": "ROOT"}, 403, before},
		{"move to a peer", "MOVE", "a", head{"Destination": "PEER"}, 403, before},
		{"move a shallow folder", "MOVE", "d", head{"Destination": "/n", "Depth": "0"}, 400, before},
		{"move if another", "MOVE", "a", head{"Destination": "/n", "If-Match": `"x"`}, 412, before},
		{"move to a name no peer may give", "MOVE", "a", head{"Destination": "/PRN"}, 403, before},

		{"copy", "COPY", "a", head{"Destination": "/n"}, 201, "a b d/ d/e/ d/e/g d/f n=a o/ o/old"},
		{"copy over", "COPY", "a", head{"Destination": "/b"}, 204, "a b=a d/ d/e/ d/e/g d/f o/ o/old"},
		{"copy over, not wanted", "COPY", "a", head{"Destination": "/b", "Overwrite": "F"}, 412, before},
		{"copy a folder", "COPY", "d/", head{"Destination": "/n/"}, 201, "a b d/ d/e/ d/e/g d/f n/ n/e/ n/e/g=d/e/g n/f=d/f o/ o/old"},
		{"copy a folder alone", "COPY", "d", head{"Destination": "/n", "Depth": "0"}, 201, "a b d/ d/e/ d/e/g d/f n/ o/ o/old"},
		{"copy a folder alone into itself", "COPY", "d", head{"Destination": "/d/n", "Depth": "0"}, 201, "a b d/ d/e/ d/e/g d/f d/n/ o/ o/old"},
		{"copy a folder into itself", "COPY", "d", head{"Destination": "/d/n"}, 403, before},
		{"copy a folder over one", "COPY", "d", head{"Destination": "/o"}, 204, "a b d/ d/e/ d/e/g d/f o/ o/e/ o/e/g=d/e/g o/f=d/f"},
		{"copy one level", "COPY", "d", head{"Destination": "/n", "Depth": "1"}, 400, before},
		{"copy onto what it is in", "COPY", "d/f", head{"Destination": "/d"}, 403, before},
		{"copy nothing", "COPY", "none", head{"Destination": "/n"}, 404, before},

		{"delete", "DELETE", "a", nil, 204, "b d/ d/e/ d/e/g d/f o/ o/old"},
		{"delete a folder", "DELETE", "d/", nil, 204, "a b o/ o/old"},
		{"delete a folder alone", "DELETE", "d/", head{"Depth": "0"}, 400, before},
		{"delete nothing", "DELETE", "none", nil, 404, before},
		{"delete under nothing", "DELETE", "no/none", nil, 404, before},
		{"delete if another", "DELETE", "a", head{"If-Match": `"x"`}, 412, before},
		{"delete the share", "DELETE", "", nil, 403, before},
	} {
		t.Run(x.name, func(t *testing.T) {
			s, c := folder(t, share.Full)
			s.Mkdir("o")
			for p := range strings.FieldsSeq(before) {
				if !strings.HasSuffix(p, "/") {
					s.Write(p, []byte(p))
				}
			}
			switch x.h["Destination"] {
			case "ELSEWHERE":
				x.h["Destination"] = strings.Replace(c.base, "127.0.0.1", "192.0.2.1", 1) + "n"
			case "OUT":
				x.h["Destination"] = strings.Replace(c.base, "/m/", "/n/", 1) + "x"
			case "ROOT":
				x.h["Destination"] = strings.TrimSuffix(c.base, "anna/docs/")
			case "PEER":
				x.h["Destination"] = strings.TrimSuffix(c.base, "docs/") + "more"
			}
			c.want(x.verb, x.from, x.h, "", x.want)
			var now []string
			for _, p := range s.Paths() {
				if b, ok := s.Read(p); ok && string(b) != p {
					p += "=" + string(b)
				}
				now = append(now, p)
			}
			want := strings.Fields(x.after)
			if x.verb == "MOVE" && x.want < 300 { // what moved holds its old name
				for i, p := range now {
					now[i], _, _ = strings.Cut(p, "=")
				}
				for i, p := range want {
					want[i], _, _ = strings.Cut(p, "=")
				}
			}
			if !slices.Equal(now, want) {
				t.Errorf("then there is  %q\nand there should %q", now, want)
			}
		})
	}
}

func TestAcrossShares(t *testing.T) {
	w := vfstest.NewWorld()
	anna, bob := w.Add("anna"), w.Add("bob")
	fs := vfstest.Running(t, w)
	from, to, closed := owner{anna.Share("docs", share.Full), t, fs}, owner{bob.Share("in", share.Full), t, fs}, bob.Share("out", share.Read)
	for _, p := range []string{"d/f", "d/e/g", "h"} {
		from.Write(p, []byte(p))
	}
	c := client{t, serve(t, fs, "127.0.0.1:0", webdav.ServeOptions{})}
	c.want("COPY", "anna/docs/d", head{"Destination": "/bob/in/copied"}, "", 201)
	c.want("MOVE", "anna/docs/d", head{"Destination": "/bob/in/moved"}, "", 201)
	c.want("MOVE", "anna/docs/h", head{"Destination": "/bob/out/h"}, "", 403)
	c.want("COPY", "anna/docs/h", head{"Destination": "/bob/out/h"}, "", 403)
	if got, want := to.Paths(), strings.Fields("copied/ copied/e/ copied/e/g copied/f moved/ moved/e/ moved/e/g moved/f"); !slices.Equal(got, want) {
		t.Errorf("there is %q, want %q", got, want)
	}
	if got := from.Paths(); !slices.Equal(got, []string{"h"}) {
		t.Errorf("left is %q", got)
	}
	if got := closed.Paths(); len(got) != 0 {
		t.Errorf("written without the right: %q", got)
	}
}

// TestAcrossSharesWithAllNames holds that files that the owner has are copied and moved whatever their names are, also such that are
// else kept here.
func TestAcrossSharesWithAllNames(t *testing.T) {
	w := vfstest.NewWorld()
	anna := w.Add("anna")
	fs := vfstest.Running(t, w)
	from, to := owner{anna.Share("docs", share.Full), t, fs}, owner{anna.Share("in", share.Full), t, fs}
	for _, p := range []string{"d/._f", "d/desktop.ini", "d/f"} {
		from.Write(p, []byte(p))
	}
	c := client{t, serve(t, fs, "127.0.0.1:0", webdav.ServeOptions{})}
	c.want("PUT", "anna/docs/d/.DS_Store", nil, "view", 201)
	c.want("COPY", "anna/docs/d", head{"Destination": "/anna/docs/n"}, "", 201)
	c.want("COPY", "anna/docs/d", head{"Destination": "/anna/in/copied"}, "", 201)
	c.want("MOVE", "anna/docs/d", head{"Destination": "/anna/in/moved"}, "", 201)
	if got, want := to.Paths(), strings.Fields("copied/ copied/._f copied/desktop.ini copied/f moved/ moved/._f moved/desktop.ini moved/f"); !slices.Equal(got, want) {
		t.Errorf("there is %q, want %q", got, want)
	}
	if got, want := from.Paths(), strings.Fields("n/ n/._f n/desktop.ini n/f"); !slices.Equal(got, want) {
		t.Errorf("left is %q, want %q", got, want)
	}
	c.want("GET", "anna/in/moved/.DS_Store", nil, "", 200)
}

// TestCopyFails holds that a copy of which something failed says what, and a move then leaves all where it was.
func TestCopyFails(t *testing.T) {
	w := vfstest.NewWorld()
	anna := w.Add("anna")
	fs := vfstest.Running(t, w)
	from, to := owner{anna.Share("docs", share.Full), t, fs}, owner{anna.Share("in", share.Full), t, fs}
	for _, p := range []string{"d/a", "d/b", "d/c"} {
		from.Write(p, []byte(p))
	}
	from.Refuse(func(verb, path string) error {
		if verb == "read" && path == "d/b" {
			return errTest
		}
		return nil
	})
	c := client{t, serve(t, fs, "127.0.0.1:0", webdav.ServeOptions{})}
	for _, verb := range []string{"COPY", "MOVE"} {
		a := c.want(verb, "anna/docs/d", head{"Destination": "/anna/in/" + verb}, "", 500, 207)
		if a.code == 207 && !strings.Contains(a.body, "/anna/in/"+verb+"/b<") {
			t.Errorf("%s: %s", verb, a.body)
		}
	}
	if got := from.Paths(); !slices.Equal(got, strings.Fields("d/ d/a d/b d/c")) {
		t.Errorf("left is %q", got)
	}
	if got := to.Paths(); !slices.Contains(got, "COPY/c") {
		t.Errorf("copied is %q", got)
	}
}

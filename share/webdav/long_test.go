package webdav

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs/vfstest"
)

// TestLongCopy holds that a copy that takes minutes finds all that it has listed, though so much is known that what nobody has used
// for a minute is forgotten.
func TestLongCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := vfstest.NewWorld()
		anna := w.Add("anna")
		from, to := anna.Share("docs", share.Full), anna.Share("in", share.Full)
		for i := range 20001 {
			from.Write(fmt.Sprint("many/", i), nil)
		}
		var want []string
		for i := range 30 {
			from.Write(fmt.Sprintf("d/%02d/f", i), nil)
			want = append(want, fmt.Sprintf("copied/%02d/", i), fmt.Sprintf("copied/%02d/f", i))
		}
		slow := func(verb, path string) error {
			if verb == "mkdir" {
				time.Sleep(4 * time.Second)
			}
			return nil
		}
		from.Refuse(slow)
		to.Refuse(slow)
		h := newHandler(vfstest.Running(t, w), Options{})
		defer h.showing.close()
		if a, err := h.fs.Walk(t.Context(), "anna", "docs", "many"); err != nil {
			t.Fatal(err)
		} else if _, err := h.fs.List(t.Context(), a.Ino); err != nil {
			t.Fatal(err)
		}
		for _, x := range []struct {
			verb, target string
			s            *vfstest.Share
		}{{"COPY", "/anna/docs/copied", from}, {"MOVE", "/anna/in/copied", to}} {
			r := httptest.NewRequest(x.verb, "/anna/docs/d", nil)
			r.Header.Set("Destination", x.target)
			a := httptest.NewRecorder()
			h.ServeHTTP(a, r)
			if a.Code != 201 {
				t.Errorf("%s: %d %s", x.verb, a.Code, a.Body)
			}
			time.Sleep(10 * time.Second)
			for _, p := range want {
				if !slices.Contains(x.s.Paths(), p) {
					t.Errorf("%s: the owner has no %s", x.verb, p)
				}
			}
		}
	})
}

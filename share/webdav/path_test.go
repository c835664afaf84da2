package webdav

import (
	"net/url"
	"testing"
)

func TestPrefix(t *testing.T) {
	h := &handler{o: Options{Prefix: "/m/secret"}}
	for in, ok := range map[string]bool{"/m/secret": true, "/m/secret/a": true, "/m/secretly": false, "/m": false, "/": false, "/x/m/secret": false} {
		u, err := url.Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.pathOf(u); (err == nil) != ok {
			t.Errorf("%s: %v", in, err)
		}
	}
}

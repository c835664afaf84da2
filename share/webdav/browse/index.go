package browse

import (
	"crypto/sha256"
	_ "embed" // the page
	"encoding/base64"
	"fmt"
	"html/template"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/peerd/peerd/share/vfs"
)

//go:embed index.html
var indexText string

//go:embed index.css
var indexStyle string

var indexPage = template.Must(template.New("index").Parse(indexText))

// mustSum lets a browser use no style but the page's own.
func mustSum(style string) string {
	sum := sha256.Sum256([]byte(style))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

var indexPolicy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src " + mustSum(indexStyle)

// link is a folder above, or an entry.
type link struct {
	Name, Href string
	Kind       string // what the page shows it as: folder, video, audio, image, file
	Size, Time string
	Machine    string // Time as machines read it
}

// index answers GET of a folder: a page for people.
func (h *Handler) index(w http.ResponseWriter, r *http.Request, at []string, a vfs.Attr) error {
	entries, err := h.FS.List(r.Context(), a.Ino)
	if err != nil {
		return err
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Content-Security-Policy", indexPolicy)
	header.Set("Cache-Control", "no-store")
	if r.Method == http.MethodHead {
		return nil
	}
	page := struct {
		Title   string
		Style   template.CSS
		Above   []link
		Entries iter.Seq[link]
		Empty   bool
	}{Title: h.Name(at), Style: template.CSS(indexStyle), Empty: len(entries) == 0}
	for i := range len(at) {
		page.Above = append(page.Above, link{Name: h.Name(at[:i]), Href: h.Href(at[:i], true)})
	}
	page.Entries = func(yield func(link) bool) {
		for _, folders := range []bool{true, false} {
			for _, e := range entries {
				if e.Dir == folders && !yield(h.link(at, e)) {
					return
				}
			}
		}
	}
	_ = indexPage.Execute(w, page) // who asked may be gone
	return nil
}

func (h *Handler) link(dir []string, e vfs.Entry) link {
	l := link{Name: e.Name, Href: h.Href(append(slices.Clone(dir), e.Name), e.Dir), Kind: "folder"}
	if !e.Dir {
		l.Size = size(e.Size)
		l.Kind, _, _ = strings.Cut(ContentType(e.Name), "/")
		if !slices.Contains([]string{"video", "audio", "image"}, l.Kind) {
			l.Kind = "file"
		}
	}
	if !e.ModTime.IsZero() {
		l.Time = e.ModTime.Local().Format("2006-01-02 15:04")
		l.Machine = e.ModTime.UTC().Format(time.RFC3339)
	}
	return l
}

// size writes bytes for people.
func size(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f := float64(n)
	for _, unit := range []string{"kB", "MB", "GB", "TB"} {
		if f /= 1000; f < 999.95 {
			return fmt.Sprintf("%.1f %s", f, unit)
		}
	}
	return fmt.Sprintf("%.0f PB", f/1000)
}

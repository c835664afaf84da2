package faces

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/peerd/peerd/share/registry/diskfile"
	"github.com/peerd/peerd/share/webdav/dead"
)

// propertiesName is the file in the state folder with what clients of WebDAV keep beside files, such as attributes of Windows.
const propertiesName = "webdav-properties"

// saveEvery is how often that file is written at most; a daemon that dies loses what was set since.
const saveEvery = 10 * time.Second

// properties are what clients of all listeners set, and that means nothing to shares. They stay on this computer.
type properties struct {
	*dead.Properties
	path string
	log  *slog.Logger

	mu    sync.Mutex
	saved uint64 // the change that the file has
	at    time.Time
}

// load reads the file. One that can't be read is not worth a daemon that does not start: what is in it is gone with the next change.
func (p *properties) load(path string, log *slog.Logger) {
	p.Properties, p.path, p.log = dead.New(), path, log
	f, err := os.Open(path)
	if err == nil {
		err = p.Read(io.LimitReader(f, dead.MaxText))
		f.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("what programs kept by WebDAV is not read", "file", path, "err", err)
	}
	_, p.saved = p.Text()
}

// save writes the file if there is something new, and it was written last before a time.
func (p *properties) save(before time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.Changed(p.saved) || p.at.After(before) {
		return
	}
	p.at = time.Now()
	text, change := p.Text()
	if err := diskfile.Write(p.path, text); err != nil {
		p.log.Warn("what programs keep by WebDAV is not saved", "file", p.path, "err", err)
		return
	}
	p.saved = change
}

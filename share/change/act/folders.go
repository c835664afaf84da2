package act

import (
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change/disk"
)

// maxFolders is how many folders are held open.
const maxFolders = 128

// Folders are open folders of a share, kept for a group of changes, most of which are made in the same few. They are for one
// goroutine.
type Folders struct {
	disk disk.Disk
	open map[share.Path]disk.Folder
}

// NewFolders has none open yet.
func NewFolders(d disk.Disk) *Folders { return &Folders{d, map[share.Path]disk.Folder{}} }

// Open gives a folder, which stays open until Trim or Close.
func (f *Folders) Open(p share.Path) (disk.Folder, error) {
	if d := f.open[p]; d != nil {
		return d, nil
	}
	d, err := f.disk.Open(p)
	if err != nil {
		return nil, err
	}
	f.open[p] = d
	return d, nil
}

// Trim closes all if they are many.
func (f *Folders) Trim() {
	if len(f.open) > maxFolders {
		f.Close()
	}
}

// Close closes all.
func (f *Folders) Close() {
	for _, d := range f.open {
		d.Close()
	}
	clear(f.open)
}

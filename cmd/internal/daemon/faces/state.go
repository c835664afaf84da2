package faces

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/share/registry/diskfile"
)

// stateName is the file in the state folder that says what is mounted whenever the daemon runs.
const stateName = "mounts"

// maxState is the size of that file, in bytes: more was not written by peerd.
const maxState = 1 << 20

// kept is a mount that persists, as it is in the file.
type kept struct {
	Dir        string      `json:"dir"`
	Ref        control.Ref `json:"ref"`            // as the user wrote it
	Peer       string      `json:"peer,omitempty"` // ID
	Name       string      `json:"name,omitempty"` // that the tree calls it by
	ReadOnly   bool        `json:"read_only,omitempty"`
	AllowOther bool        `json:"allow_other,omitempty"`
}

// stateFile is the form of the file.
type stateFile struct {
	Mounts []kept `json:"mounts"`
}

// face is the mount, which waits.
func (k kept) face() *face {
	f := &face{Mount: control.Mount{
		Dir: k.Dir, Ref: k.Ref, Peer: k.Peer, ReadOnly: k.ReadOnly, AllowOther: k.AllowOther, Persist: true, State: control.Waiting,
	}}
	if id, err := peer.ParseID(k.Peer); err == nil {
		f.place = Place{Peer: id, Name: k.Name, Root: []string{k.Name}}
		if k.Ref.Share != "" {
			f.place.Root = append(f.place.Root, k.Ref.Share)
		}
	}
	return f
}

// check says what is wrong with an entry of the file.
func (k kept) check() error {
	switch _, err := peer.ParseID(k.Peer); {
	case !clean(k.Dir):
		return fmt.Errorf("%q is no absolute path", k.Dir)
	case k.Ref.Path != "" || (k.Ref.Peer == "") != (k.Peer == ""):
		return fmt.Errorf("%s can't be mounted", k.Ref)
	case k.Peer != "" && (err != nil || k.Name == ""):
		return fmt.Errorf("%s names no peer", k.Ref)
	}
	return nil
}

// clean reports whether a path is absolute and in its one form, or on Windows a drive.
func clean(dir string) bool {
	return filepath.IsAbs(dir) && filepath.Clean(dir) == dir || runtime.GOOS == "windows" && isDrive(dir)
}

// load reads the file.
func (t *Table) load() ([]kept, error) {
	path := filepath.Join(t.cfg.State, stateName)
	bad := func(err error) error {
		return &peer.Error{Op: "read mounts", Path: path, Kind: peer.Other, Err: err, Hint: "remove the file, and mount again what is missing"}
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, bad(err)
	case info.Size() > maxState:
		return nil, bad(errors.New("it is too large"))
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, bad(err)
	}
	var f stateFile
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, bad(err)
	}
	for _, k := range f.Mounts {
		if err := k.check(); err != nil {
			return nil, bad(err)
		}
	}
	return f.Mounts, nil
}

// saveLocked writes the file in one step. t.mu is held.
func (t *Table) saveLocked() error {
	f := stateFile{Mounts: []kept{}}
	for _, m := range t.mounts {
		if m.Persist {
			f.Mounts = append(f.Mounts, kept{
				Dir: m.Dir, Ref: m.Ref, Peer: m.Peer, Name: m.place.Name, ReadOnly: m.ReadOnly, AllowOther: m.AllowOther,
			})
		}
	}
	slices.SortFunc(f.Mounts, func(a, b kept) int { return strings.Compare(a.Dir, b.Dir) })
	b, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		return err
	}
	return diskfile.Write(filepath.Join(t.cfg.State, stateName), b)
}

package controltest

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

// NoFUSE is a folder below which this system can't mount, and serves by WebDAV instead.
const NoFUSE = "/no-fuse/"

// served is what a [Fake] serves by WebDAV.
func served(ref control.Ref) control.Webdav {
	url := "http://127.0.0.1:8080/m/secret/" + strings.TrimPrefix(ref.String(), "//")
	return control.Webdav{URL: url, Commands: []string{"gio mount dav" + strings.TrimPrefix(url, "http")}}
}

// Mount implements [control.Mounts]. Nothing is mounted.
func (f *Fake) Mount(_ context.Context, req control.MountRequest) (control.Mount, error) {
	if !req.Ref.IsZero() {
		e, err := f.check(req.Ref)
		if err == nil && e.Kind == control.KindShare && e.Right == control.None {
			_, err = f.check(req.Ref.Join("x"))
			err.(*peer.Error).Path = req.Ref.String()
		}
		if err != nil {
			return control.Mount{}, err
		}
	}
	m := control.Mount{
		Dir: req.Dir, Ref: req.Ref, ReadOnly: req.ReadOnly, AllowOther: req.AllowOther, Persist: req.Persist,
		State: control.Mounted, Since: When(),
	}
	if strings.HasPrefix(req.Dir, NoFUSE) {
		w := served(req.Ref)
		m.State, m.Webdav = control.ViaWebdav, &w
		m.Error = control.FromError(&peer.Error{Op: "mount", Err: errors.New("fusermount3 is missing"), Hint: `install the package "fuse3"`})
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if slices.ContainsFunc(f.mounts, func(o control.Mount) bool { return o.Dir == m.Dir }) {
		return control.Mount{}, &peer.Error{Op: "mount", Path: m.Dir, Kind: peer.Usage, Err: errors.New("something is mounted there already")}
	}
	f.mounts = append(f.mounts, m)
	slices.SortFunc(f.mounts, func(a, b control.Mount) int { return strings.Compare(a.Dir, b.Dir) })
	return m, nil
}

// Unmount implements [control.Mounts].
func (f *Fake) Unmount(_ context.Context, dir string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.mounts, func(m control.Mount) bool { return m.Dir == dir })
	if i < 0 {
		return &peer.Error{Op: "umount", Path: dir, Kind: peer.NotFound, Err: errors.New("peerd mounted nothing there"), Hint: `run "peerd mounts"`}
	}
	f.mounts = slices.Delete(f.mounts, i, i+1)
	return nil
}

// MountList implements [control.Mounts]. What is saved in the first mount waits for its owner.
func (f *Fake) MountList(context.Context) (control.MountList, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := control.MountList{Mounts: slices.Clone(f.mounts), Cache: control.Cache{Bytes: 5 << 20, Limit: 10 << 30, Pieces: 5, Hits: 3, Misses: 1}}
	if len(out.Mounts) > 0 {
		waits := control.PendingChange{Path: out.Mounts[0].Ref.String() + "/report.odt", Bytes: 2048, Since: When(),
			Error: &control.Error{Kind: "unreachable", Text: "the peer does not answer"}}
		out.Pending, out.Conflicts = []control.PendingChange{waits}, 1
		out.Mounts[0].Pending = control.Pending{Count: 1, Bytes: waits.Bytes, Oldest: waits.Since}
	}
	return out, nil
}

// Webdav implements [control.Mounts]. Nothing is served, and it ends at once.
func (f *Fake) Webdav(_ context.Context, req control.WebdavRequest) iter.Seq2[control.Webdav, error] {
	return func(yield func(control.Webdav, error) bool) {
		if !req.Ref.IsZero() {
			if _, err := f.check(req.Ref); err != nil {
				yield(control.Webdav{}, err)
				return
			}
		}
		w := served(req.Ref)
		if req.Listen != "" {
			w.URL, w.User, w.Password, w.Certificate = "https://"+req.Listen+"/", "peerd", Generated, strings.Repeat("ab", 32)
			w.Commands = nil
		}
		yield(w, nil)
	}
}

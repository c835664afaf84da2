package change

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/text/unicode/norm"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/change/disk"
	"github.com/peerd/peerd/share/change/history"
)

// alias gives the name that a file really has when a disk without regard to case found it by another.
func (g *group) alias(f disk.Folder, st disk.Status) string {
	name := st.Name()
	other := disk.OtherCase(name)
	if other == name {
		if other = norm.NFD.String(name); other == name {
			return ""
		}
	}
	if o, err := f.Stat(other); err != nil || o.Node != st.Node || o.Version != st.Version {
		return ""
	}
	names, err := f.Names(g.ctx)
	if err != nil {
		return ""
	}
	found := ""
	for _, n := range names {
		if n == name {
			return ""
		}
		if share.FoldKey(n) == share.FoldKey(name) {
			found = n
		}
	}
	return found
}

// free says why a name can't be created, and takes it for this group. except is a name that is going away.
func (g *group) free(p share.Path, except string) error {
	if err := share.CheckCreate(p.Base()); err != nil {
		return &peer.Error{Path: p.String(), Kind: peer.Usage, Err: err}
	}
	names, err := g.namesIn(p.Dir())
	if err != nil {
		return err
	}
	key := share.FoldKey(p.Base())
	if other, taken := names[key]; taken && other != except {
		return conflict(p, fmt.Errorf("%q is there, which many systems take for the same name", other))
	}
	names[key] = p.Base()
	return nil
}

// namesIn are the names in a folder by their fold keys. A folder is listed once in a group.
func (g *group) namesIn(dir share.Path) (map[string]string, error) {
	if m := g.names[dir]; m != nil {
		return m, nil
	}
	m := map[string]string{}
	if !g.made[dir] {
		f, err := g.folders.Open(dir)
		if err != nil {
			return nil, err
		}
		names, err := f.Names(g.ctx)
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			m[share.FoldKey(n)] = n
		}
	}
	g.names[dir] = m
	return m, nil
}

// parents sees to it that a folder is there, and plans to make what lacks if it may.
func (g *group) parents(dir share.Path, make bool, verb string, by By) error {
	st, err := g.stat(dir)
	switch {
	case err == nil && st.Kind == share.Dir:
		return nil
	case err == nil:
		return conflict(dir, errors.New("something that is no folder is in the way"))
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case !make:
		return &peer.Error{Path: dir.String(), Kind: peer.NotFound, Err: errors.New("there is no such folder")}
	}
	if err := g.parents(dir.Dir(), make, verb, by); err != nil {
		return err
	}
	if err := g.free(dir, ""); err != nil {
		return err
	}
	g.made[dir] = true
	g.add(planned(history.Record{Verb: verb, Act: history.Mkdir, Path: dir, By: by}, nil))
	return nil
}

// beside takes the name of a conflict copy: "plan (conflict anna 2026-11-25 20.43.56).pdf", with a number if that is taken.
func (g *group) beside(p share.Path, by By, now time.Time) (share.Path, error) {
	names, err := g.namesIn(p.Dir())
	if err != nil {
		return p, err
	}
	for n := 1; n < 1000; n++ {
		name := share.ConflictName(p.Base(), by.Name, now, n)
		if _, taken := names[share.FoldKey(name)]; taken {
			continue
		}
		q, err := p.Dir().Join(name)
		if err != nil {
			return p, err
		}
		return q, g.free(q, "")
	}
	return p, conflict(p, errors.New("it has too many conflict copies"))
}

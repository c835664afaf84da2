package copying

import (
	"context"
	"encoding/hex"
	"errors"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/remote"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/seed"
	"github.com/peerd/peerd/transfer/store"
)

// EntryOf is an entry of a share as the API tells of it.
func EntryOf(ref control.Ref, e share.Entry) control.Entry {
	out := control.Entry{Ref: ref, Kind: KindOf(e), ModTime: control.At(e.ModTime), Exec: e.Exec}
	if e.Kind == share.File {
		out.Size, out.Version = e.Size, hex.EncodeToString(e.Version[:])
	}
	if e.Lock != nil {
		lock := LockOf(*e.Lock)
		out.Lock = &lock
	}
	return out
}

// KindOf is what an entry is; "" if it does not say.
func KindOf(e share.Entry) control.Kind {
	switch e.Kind {
	case share.Dir:
		return control.KindDir
	case share.File:
		return control.KindFile
	}
	return ""
}

// LockOf is a lock as the API tells of it.
func LockOf(l share.Lock) control.FileLock {
	return control.FileLock{Peer: l.Peer.String(), Name: string(l.Name), Since: control.At(l.Since)}
}

// RootOf is the hash of a file that self has given away or fetched as a whole, in hex; "" if it is not known.
func RootOf(self peer.ID, own *store.Manifests, others *seed.Shelf, at Place, e share.Entry) string {
	if e.Kind != share.File {
		return ""
	}
	file := transfer.File{Owner: at.Peer.ID, Share: at.Access.Share, Path: at.Path.Components(), Version: e.Version}
	m, ok := others.Manifest(file)
	if file.Owner == self {
		m, ok = own.Get(file.ID())
	}
	if !ok {
		return ""
	}
	return m.Root.String()
}

// Stat tells of what is at a place, be it an old version.
func Stat(ctx context.Context, fsys *remote.FS, at Place) (share.Entry, error) {
	if at.Version == "" {
		return fsys.Stat(ctx, at.Path)
	}
	for k, err := range fsys.Versions(ctx, at.Path, false) {
		if err != nil {
			return share.Entry{}, err
		}
		if k.ID == at.Version {
			return k.Entry, nil
		}
	}
	return share.Entry{}, &peer.Error{Path: fsys.Full(at.Path) + "@" + at.Version, Kind: peer.NotFound, Err: errors.New("there is no such version"),
		Hint: `"peerd versions ` + fsys.Full(at.Path) + `" lists those that there are`}
}

package vfstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"strings"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/remote"
)

// Put is of [vfs.Remote].
func (r *remoteShare) Put(ctx context.Context, items iter.Seq2[remote.PutItem, error], done func(uint64, remote.Changed)) error {
	if err := r.call(ctx, "put", share.Path{}, share.Full); err != nil {
		return err
	}
	for it, err := range items {
		if err != nil {
			return err
		}
		c, err := r.put(ctx, it)
		switch peer.KindOf(err) {
		case peer.Unreachable:
			return err
		case peer.Denied:
			done(it.Number, remote.Changed{Err: err})
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.Err = err
		done(it.Number, c)
	}
	return nil
}

// Ahead is of [vfs.Remote].
func (r *remoteShare) Ahead(ctx context.Context, number uint64, p share.Path, next func(context.Context) (remote.Window, bool)) error {
	if err := r.call(ctx, "ahead", p, share.Full); err != nil {
		return err
	}
	count := func(n int) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.sending += n
	}
	count(1)
	defer count(-1)
	for off := int64(0); ; {
		w, ok := next(ctx)
		if !ok {
			<-ctx.Done()
			return ctx.Err()
		}
		data, err := fetch(ctx, remote.PutItem{Path: p, Size: w.Size, Open: w.Open})
		if err != nil {
			return err
		}
		r.mu.Lock()
		if r.ahead == nil {
			r.ahead = make(map[string][]byte)
		}
		r.ahead[p.String()] = append(r.ahead[p.String()][:off:off], data...)
		r.mu.Unlock()
		off += int64(len(data))
	}
}

func (r *remoteShare) put(ctx context.Context, it remote.PutItem) (remote.Changed, error) {
	if err := r.call(ctx, "item", it.Path, share.Full); err != nil {
		return remote.Changed{}, err
	}
	if it.Dir {
		return remote.Changed{}, r.Mkdir(ctx, it.Path, true)
	}
	data, err := fetch(ctx, it)
	if err != nil {
		return remote.Changed{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if int64(len(data)) > r.space.Free {
		return remote.Changed{}, r.fail("put", it.Path, peer.Full, "no room on the owner's disk")
	}
	p := it.Path.String()
	r.parentsLocked(p)
	old := r.files[p]
	if old != nil && old.dir {
		return remote.Changed{}, r.fail("put", it.Path, peer.Conflict, "a folder is there")
	}
	f := &file{data: data, modTime: it.ModTime}
	if old != nil {
		f.exec = old.exec
	}
	if it.Exec != nil {
		f.exec = *it.Exec
	}
	if r.fitsLocked(p, it.Base) {
		return remote.Changed{Entry: r.setLocked(p, f, Self)}, nil
	}
	if old != nil && bytes.Equal(old.data, data) {
		return remote.Changed{Entry: r.entryLocked(p)}, nil
	}
	ext := path.Ext(p)
	q := fmt.Sprintf("%s (conflict self %d)%s", strings.TrimSuffix(p, ext), r.last, ext)
	return remote.Changed{Entry: r.setLocked(q, f, Self), Conflict: true}, nil
}

// fetch takes the bytes of an item as an owner does: all of one state.
func fetch(ctx context.Context, it remote.PutItem) ([]byte, error) {
	f, err := it.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	before, err := f.Entry()
	if err != nil {
		return nil, err
	}
	data := make([]byte, before.Size)
	if n, err := f.ReadAt(data, 0); err != nil && (err != io.EOF || int64(n) < before.Size) {
		return nil, err
	}
	after, err := f.Entry()
	if err != nil {
		return nil, err
	}
	if before.Version != after.Version || before.Size != it.Size {
		return nil, &peer.Error{Op: "put", Path: it.Path.String(), Kind: peer.Conflict, Err: errors.New("it changes while it is sent")}
	}
	return data, nil
}

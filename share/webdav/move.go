package webdav

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs"
	"github.com/peerd/peerd/share/webdav/body"
)

// delete answers DELETE, of a file or of a folder with all in it.
func (h *handler) delete(w http.ResponseWriter, r *request) error {
	p, err := h.place(r.Context(), r.path)
	if err != nil {
		return gone(err)
	}
	if !p.exists {
		return status{code: http.StatusNotFound}
	}
	if d := r.Header.Get("Depth"); p.attr.Dir && d != "" && d != "infinity" {
		return status{code: http.StatusBadRequest, err: errors.New("a folder is deleted with all in it")}
	}
	defer h.guarding(r.path)()
	if err := h.mayRemove(r, p); err != nil {
		return err
	}
	if err := h.remove(r.Context(), p); err != nil {
		return err
	}
	h.locks.Drop(p.path, true)
	h.dead.Drop(p.path)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// gone makes 404 of the 409 that a missing folder is to those that would make something in it.
func gone(err error) error {
	if s := (status{}); errors.As(err, &s) && s.code == http.StatusConflict {
		return status{code: http.StatusNotFound, err: s.err}
	}
	return err
}

// mayRemove says why what is at a place may not be removed.
func (h *handler) mayRemove(r *request, p place) error {
	if err := h.writable(r.Context(), p.parent); err != nil {
		return err
	}
	if err := conditions(r.Header, p); err != nil {
		return err
	}
	return h.unlocked(r, p.path, true, true)
}

// remove removes what is at a place.
func (h *handler) remove(ctx context.Context, p place) error {
	if p.attr.Dir {
		return h.fs.RemoveAll(ctx, p.parent.Ino, p.name)
	}
	return h.fs.Remove(ctx, p.parent.Ino, p.name, false)
}

// transfer is a COPY or MOVE whose headers were understood.
type transfer struct {
	from, to place
	shallow  bool // a folder without what is in it
}

// transfer reads the headers of a COPY or MOVE, and says why it may not be done.
func (h *handler) transfer(r *request, move bool) (transfer, error) {
	var t transfer
	to, err := h.destination(r)
	if err != nil {
		return t, err
	}
	if t.from, err = h.place(r.Context(), r.path); err != nil {
		return t, gone(err)
	}
	if !t.from.exists {
		return t, status{code: http.StatusNotFound}
	}
	switch d := r.Header.Get("Depth"); {
	case d == "" || d == "infinity":
	case d == "0" && !move:
		t.shallow = true
	case t.from.attr.Dir:
		return t, status{code: http.StatusBadRequest, err: errors.New("this Depth makes no sense here")}
	}
	if slices.Equal(r.path, to) || below(r.path, to) || t.from.attr.Dir && !t.shallow && below(to, r.path) {
		return t, status{code: http.StatusForbidden, err: errors.New("the one is in the other")}
	}
	if t.to, err = h.place(r.Context(), to); err != nil {
		return t, err
	}
	if t.to.exists && t.to.attr.Ino == t.from.attr.Ino {
		t.to.exists = false // another spelling of the same name, where case does not count
	}
	if t.to.exists && r.Header.Get("Overwrite") == "F" {
		return t, status{code: http.StatusPreconditionFailed, err: vfs.ErrExists}
	}
	if move {
		err = h.mayRemove(r, t.from)
	} else {
		err = conditions(r.Header, t.from)
	}
	if err != nil {
		return t, err
	}
	if err := h.writable(r.Context(), t.to.parent); err != nil {
		return t, err
	}
	return t, h.unlocked(r, to, true, true)
}

// below reports whether the path is below the folder.
func below(path, folder []string) bool {
	return len(path) > len(folder) && slices.Equal(path[:len(folder)], folder)
}

// makeRoom removes what is at the target, unless it can be replaced in one step. A lock of the target stays, and holds for what
// comes there.
func (h *handler) makeRoom(ctx context.Context, t transfer) error {
	if !t.to.exists {
		return nil
	}
	if t.to.attr.Dir || t.from.attr.Dir {
		if err := h.remove(ctx, t.to); err != nil {
			return err
		}
	}
	h.locks.Drop(t.to.path, false)
	h.dead.Drop(t.to.path)
	return nil
}

// move answers MOVE.
func (h *handler) move(w http.ResponseWriter, r *request) error {
	t, err := h.transfer(r, true)
	if err != nil {
		return err
	}
	defer h.guarding(r.path)()
	defer h.hold(t.from.attr.Ino)()
	defer h.hold(t.to.parent.Ino)()
	if err := h.makeRoom(r.Context(), t); err != nil {
		return err
	}
	err = h.fs.Rename(r.Context(), t.from.parent.Ino, t.from.name, t.to.parent.Ino, t.to.name, false)
	if errors.Is(err, vfs.ErrCrossShare) {
		var failed []failure
		h.copyTree(r.Context(), t.from, t.to, &failed)
		if len(failed) > 0 {
			return h.failures(w, failed)
		}
		err = h.remove(r.Context(), t.from)
	}
	if err != nil {
		return err
	}
	h.locks.Drop(t.from.path, true) // a lock does not move with what it was on
	h.dead.Move(t.from.path, t.to.path)
	return done(w, t)
}

// copy answers COPY.
func (h *handler) copy(w http.ResponseWriter, r *request) error {
	t, err := h.transfer(r, false)
	if err != nil {
		return err
	}
	defer h.hold(t.from.attr.Ino)()
	defer h.hold(t.to.parent.Ino)()
	if err := h.makeRoom(r.Context(), t); err != nil {
		return err
	}
	if t.shallow && t.from.attr.Dir {
		if _, err := h.fs.Mkdir(r.Context(), t.to.parent.Ino, t.to.name); err != nil {
			return err
		}
		h.dead.Copy(t.from.path, t.to.path, false)
		return done(w, t)
	}
	var failed []failure
	h.copyTree(r.Context(), t.from, t.to, &failed)
	if len(failed) > 0 {
		return h.failures(w, failed)
	}
	h.dead.Copy(t.from.path, t.to.path, true)
	return done(w, t)
}

func done(w http.ResponseWriter, t transfer) error {
	if t.to.exists {
		w.WriteHeader(http.StatusNoContent)
	} else {
		w.WriteHeader(http.StatusCreated)
	}
	return nil
}

// failure is what could not be copied.
type failure struct {
	path []string
	dir  bool
	err  error
}

// maxFailures is how many failures end a COPY: what fails so often fails altogether.
const maxFailures = 100

// hold has the tree know a node until release is called: a copy may take long, and what nobody holds is forgotten.
func (h *handler) hold(ino vfs.Ino) (release func()) {
	h.fs.Hold(ino)
	return func() { h.fs.Forget(ino, 1) }
}

// copyTree copies a file, or a folder with all in it. What fails does not stop the rest.
func (h *handler) copyTree(ctx context.Context, from, to place, failed *[]failure) {
	fail := func(err error) { *failed = append(*failed, failure{to.path, from.attr.Dir, err}) }
	if !from.attr.Dir {
		if err := h.fs.Copy(ctx, from.attr.Ino, to.parent.Ino, to.name); err != nil {
			fail(err)
		}
		return
	}
	entries, err := h.fs.List(ctx, from.attr.Ino) // first, in case that the copy comes to lie in it
	if err != nil {
		fail(err)
		return
	}
	for _, e := range entries {
		defer h.hold(e.Attr.Ino)()
	}
	dir, err := h.fs.Mkdir(ctx, to.parent.Ino, to.name)
	if err != nil {
		fail(err)
		return
	}
	defer h.hold(dir.Ino)()
	if len(to.path) > share.MaxDepth+2 {
		fail(vfs.ErrTooLong)
		return
	}
	for _, e := range entries {
		if len(*failed) >= maxFailures || ctx.Err() != nil {
			return
		}
		h.copyTree(ctx,
			place{path: join(from.path, e.Name), parent: from.attr, name: e.Name, attr: e.Attr, exists: true},
			place{path: join(to.path, e.Name), parent: dir, name: e.Name}, failed)
	}
}

// join makes a path that is its own.
func join(path []string, name string) []string { return append(slices.Clone(path), name) }

// failures answers a COPY or MOVE of which something failed; all of it, if one thing was asked for.
func (h *handler) failures(w http.ResponseWriter, failed []failure) error {
	if len(failed) == 1 && !failed[0].dir {
		return failed[0].err
	}
	w.Header().Set("Content-Type", "application/xml; charset=utf-8")
	w.WriteHeader(http.StatusMultiStatus)
	m := body.NewMultistatus(w)
	for _, f := range failed {
		m.Failed(h.href(f.path, f.dir), h.statusFor(f.err).code)
	}
	_ = m.Close() // who asked may be gone
	return nil
}

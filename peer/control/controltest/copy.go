package controltest

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

// Contested is the name of a file in a share that always moves on while something is copied to it.
const Contested = "contested.txt"

// copying is one Copy.
type copying struct {
	f     *Fake
	req   control.CopyRequest
	event func(control.CopyEvent)
	sum   control.CopyEvent
	first error // of those that did not stop it
}

// place is where one source goes: a local path, or a Ref.
type place struct {
	dest string
	to   control.Ref
}

// Copy implements [control.Files]; files that are copied here get real.
func (f *Fake) Copy(_ context.Context, req control.CopyRequest, event func(control.CopyEvent)) error {
	c := &copying{f: f, req: req, event: event}
	if !req.To.IsZero() {
		if _, err := f.check(req.To.ShareRef()); err != nil {
			return err
		}
		if _, err := f.check(req.To.Join("x")); err != nil && peer.KindOf(err) != peer.NotFound {
			return err
		}
	}
	for _, src := range req.Sources {
		if err := c.remote(src); err != nil {
			return err
		}
	}
	for _, src := range req.Local {
		if err := c.local(src); err != nil {
			return err
		}
	}
	if c.first != nil {
		return &peer.Error{Kind: peer.KindOf(c.first), Err: errors.New("1 file failed")}
	}
	c.emit(control.CopyDone, control.CopyEvent{})
	return nil
}

func (c *copying) emit(kind string, e control.CopyEvent) {
	e.Event, e.Bytes, e.Files, e.TotalBytes, e.TotalFiles = kind, c.sum.Bytes, c.sum.Files, c.sum.Bytes, c.sum.Files
	c.event(e)
}

// remote copies a file or folder of a share.
func (c *copying) remote(src control.Ref) error {
	if text, plain, ok := c.f.version(src); ok {
		return c.put(control.CopyEvent{Source: src}, text, c.place(plain.Base()))
	}
	e, err := c.f.check(src)
	if err != nil {
		return err
	}
	at := c.place(src.Base())
	if e.Kind == control.KindFile {
		text, _ := c.f.text(src)
		return c.put(control.CopyEvent{Source: src}, text, at)
	}
	if !c.req.Recursive {
		return aFolder(src.String())
	}
	for _, r := range c.f.below(src) {
		text, _ := c.f.text(r)
		c.one(control.CopyEvent{Source: r}, text, at.join(strings.TrimPrefix(r.String(), src.String()+"/")))
	}
	return nil
}

// local copies a file or folder of this computer.
func (c *copying) local(src string) error {
	info, err := os.Stat(src)
	if err != nil {
		return &peer.Error{Path: src, Kind: peer.KindOf(err), Err: errors.New("there is no such file")}
	}
	at := c.place(filepath.Base(src))
	if !info.IsDir() {
		text, err := os.ReadFile(src)
		if err != nil {
			return err
		}
		return c.put(control.CopyEvent{From: src}, string(text), at)
	}
	if !c.req.Recursive {
		return aFolder(src)
	}
	return filepath.WalkDir(src, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		below, err := filepath.Rel(src, path)
		c.one(control.CopyEvent{From: path}, string(text), at.join(filepath.ToSlash(below)))
		return err
	})
}

func aFolder(path string) error {
	return &peer.Error{Path: path, Kind: peer.Usage, Err: errors.New("it is a folder"), Hint: "copy folders with -r"}
}

// place is where a source of a name goes.
func (c *copying) place(name string) place {
	at := place{c.req.Dest, c.req.To}
	if at.to.IsZero() {
		if info, err := os.Stat(at.dest); c.req.Into || err == nil && info.IsDir() {
			at.dest = filepath.Join(at.dest, name)
		}
		return at
	}
	if e, err := c.f.check(at.to); c.req.Into || err == nil && e.Kind != control.KindFile {
		at.to = at.to.Join(name)
	}
	return at
}

func (p place) join(below string) place {
	if p.to.IsZero() {
		p.dest = filepath.Join(p.dest, below)
	} else {
		p.to.Path = strings.TrimPrefix(p.to.Path+"/"+below, "/")
	}
	return p
}

// one copies one of the files of a folder: if that fails, the others go on.
func (c *copying) one(e control.CopyEvent, text string, at place) {
	if err := c.put(e, text, at); err != nil {
		c.first = cmp.Or(c.first, err)
		e.Error = control.FromError(err)
		c.emit(control.CopyError, e)
	}
}

// put is the copy of one file. broken.bin can't be had.
func (c *copying) put(e control.CopyEvent, text string, at place) error {
	if e.Source.Base() == "broken.bin" {
		return &peer.Error{Path: e.Source.String(), Kind: peer.Integrity, Err: errors.New("no source has the true bytes")}
	}
	conflict := func(path string) error {
		return &peer.Error{Path: path, Kind: peer.Conflict, Err: errors.New("another file has this name"), Hint: "replace it with -f"}
	}
	e.Dest, e.To, e.Size, e.Root = at.dest, at.to, int64(len(text)), strings.Repeat("ab", 32)
	if at.to.IsZero() {
		if old, err := os.ReadFile(at.dest); err == nil && string(old) != text && !c.req.Force {
			return conflict(at.dest)
		}
		if err := errors.Join(os.MkdirAll(filepath.Dir(at.dest), 0o700), os.WriteFile(at.dest, []byte(text), 0o600)); err != nil {
			return err
		}
	} else {
		if at.to.Base() == Contested {
			e.To.Path, e.Conflict = strings.TrimSuffix(at.to.Path, ".txt")+" (conflict me 2026-03-01 12.30.00).txt", true
		}
		if old, there := c.f.text(e.To); there && old != text && !c.req.Force {
			return conflict(e.To.String())
		} else if there {
			c.f.keep(e.To, "put")
		}
		c.f.set(e.To, text)
	}
	c.sum.Bytes, c.sum.Files = c.sum.Bytes+e.Size, c.sum.Files+1
	c.emit(control.CopyProgress, control.CopyEvent{})
	c.emit(control.CopyFile, e)
	return nil
}

// Cat implements [control.Files]. broken.bin breaks in the middle.
func (f *Fake) Cat(_ context.Context, ref control.Ref, offset, length int64, w io.Writer) error {
	text, _, ok := f.version(ref)
	if !ok {
		e, err := f.check(ref)
		switch {
		case err != nil:
			return err
		case e.Kind != control.KindFile:
			return &peer.Error{Path: ref.String(), Kind: peer.Usage, Err: errors.New("it is a folder")}
		}
		text, _ = f.text(ref)
	}
	text = text[min(int(offset), len(text)):]
	if length >= 0 {
		text = text[:min(int(length), len(text))]
	}
	if ref.Base() == "broken.bin" {
		_, err := io.WriteString(w, text[:len(text)/2])
		return errors.Join(err, &peer.Error{Path: ref.String(), Kind: peer.Integrity, Err: errors.New("no source has the true bytes")})
	}
	_, err := io.WriteString(w, text)
	return err
}

package registry

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share/mounted"
)

// system are folders that are no files of anybody: what is read there is the state of the computer.
var system = [...]string{"/proc", "/sys", "/dev"}

// resolve gives the path of a folder without symbolic links.
func resolve(dir string) (string, error) {
	fail := func(kind peer.Kind, err error) error {
		return &peer.Error{Op: "share", Path: dir, Kind: kind, Err: err}
	}
	if !filepath.IsAbs(dir) {
		return "", fail(peer.Usage, errors.New("it is no absolute path"))
	}
	real, err := filepath.EvalSymlinks(dir)
	var info fs.FileInfo
	if err == nil {
		info, err = os.Stat(real)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", &peer.Error{Op: "share", Path: dir, Kind: peer.NotFound}
	case err != nil:
		return "", fail(peer.KindOf(err), err)
	case !info.IsDir():
		return "", fail(peer.Usage, errors.New("it is no folder"))
	}
	if err := readable(real); err != nil {
		return "", &peer.Error{Op: "share", Path: dir, Kind: peer.KindOf(err), Err: err,
			Hint: "let the user that peerd runs as read and enter the folder"}
	}
	return real, nil
}

// readable says why a folder can't be listed or entered: better now than to everybody who looks into the share.
func readable(dir string) error {
	f, err := os.Open(dir)
	if err == nil {
		defer f.Close()
		if _, err = f.Readdirnames(1); errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if err == nil {
		_, err = os.Stat(dir + string(filepath.Separator) + ".") // which only who may enter can look at
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err // the rest is said by ours
	}
	return err
}

// checkPlace says why a folder, resolved, must not be shared: it holds more than somebody means to give away, or secrets.
func (r *Registry) checkPlace(dir string) error {
	refuse := func(hint, format string, args ...any) error {
		return &peer.Error{Op: "share", Path: dir, Kind: peer.Usage, Err: fmt.Errorf(format, args...), Hint: hint}
	}
	if dir == filepath.Dir(dir) {
		return refuse("share a folder in it", "it is the whole computer")
	}
	for _, sys := range system {
		if related(dir, sys) {
			return refuse("", "%s holds no files but the state of the computer", sys)
		}
	}
	for _, own := range r.opt.Own {
		if related(dir, own) {
			return refuse("share another folder, or keep peerd's own elsewhere with --home", "peerd keeps its own files in %s", own)
		}
	}
	if r.opt.Home != "" && inside(mounted.Resolve(r.opt.Home), dir) {
		return refuse("share a folder in it", "it holds your whole home folder, where keys and passwords lie")
	}
	return nil
}

// checkMounts says why a folder must not be shared beside what is mounted now. It holds for a new share: what is mounted later must
// not lie in one. It goes by the names, since a mount need not answer.
func (r *Registry) checkMounts(dir string) error {
	for _, on := range r.opt.Mounts() {
		if real := mounted.Resolve(on); mounted.Within(dir, real) || mounted.Within(real, dir) {
			return &peer.Error{Op: "share", Path: dir, Kind: peer.Usage, Err: fmt.Errorf("other computers' shares are mounted on %s", on),
				Hint: `they would be offered on; share another folder, or run "peerd umount ` + on + `" first`}
		}
	}
	return nil
}

// related reports whether one of two folders is the other, or holds it. b need not be there yet.
func related(a, b string) bool {
	b = mounted.Resolve(b)
	return inside(a, b) || inside(b, a)
}

// inside reports whether the path dir is the folder top or lies in it, by name or because one of the folders above it is the
// very same (by device and inode, as under a bind mount or another spelling).
func inside(dir, top string) bool {
	if dir == top || strings.HasPrefix(dir, strings.TrimSuffix(top, string(filepath.Separator))+string(filepath.Separator)) {
		return true
	}
	want, err := stat(top)
	if err != nil {
		return false
	}
	for {
		if got, err := stat(dir); err == nil && os.SameFile(got, want) {
			return true
		}
		up := filepath.Dir(dir)
		if up == dir {
			return false
		}
		dir = up
	}
}

// stat looks at a folder, but at none in a peerd mount, which need not answer.
func stat(path string) (fs.FileInfo, error) {
	if mounted.On(path) != "" {
		return nil, fs.ErrNotExist
	}
	return os.Stat(path)
}

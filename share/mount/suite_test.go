//go:build linux || darwin

package mount_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/vfs/vfstest"
)

func TestConformance(t *testing.T) {
	vfstest.Run(t, func(t *testing.T) vfstest.Files {
		_, dir := docs(t, share.Full)
		return disk(dir)
	})
}

// disk is a folder as package os sees it.
type disk string

var _ vfstest.Handles = disk("")

func (d disk) at(name string) string { return filepath.Join(string(d), filepath.FromSlash(name)) }

func told(i os.FileInfo) vfstest.Info {
	size := i.Size()
	if i.IsDir() {
		size = 0
	}
	return vfstest.Info{Name: i.Name(), Dir: i.IsDir(), Size: size, ModTime: i.ModTime()}
}

func (d disk) Stat(name string) (vfstest.Info, error) {
	i, err := os.Lstat(d.at(name))
	if err != nil {
		return vfstest.Info{}, err
	}
	return told(i), nil
}

func (d disk) List(name string) (is []vfstest.Info, err error) {
	entries, err := os.ReadDir(d.at(name))
	for _, e := range entries {
		i, err := e.Info()
		if err != nil {
			return nil, err
		}
		is = append(is, told(i))
	}
	return is, err
}

func (d disk) Mkdir(name string) error               { return os.Mkdir(d.at(name), 0o755) }
func (d disk) Remove(name string) error              { return os.Remove(d.at(name)) }
func (d disk) Rename(from, to string) error          { return os.Rename(d.at(from), d.at(to)) }
func (d disk) ReadFile(name string) ([]byte, error)  { return os.ReadFile(d.at(name)) }
func (d disk) Truncate(name string, n int64) error   { return os.Truncate(d.at(name), n) }
func (d disk) WriteFile(name string, b []byte) error { return os.WriteFile(d.at(name), b, 0o644) }

func (d disk) ReadRange(name string, off int64, n int) ([]byte, error) {
	f, err := os.Open(d.at(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, n)
	n, err = f.ReadAt(b, off)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b[:n], err
}

func (d disk) WriteNew(name string, b []byte) error {
	f, err := os.OpenFile(d.at(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

func (d disk) SetTime(name string, t time.Time) error { return os.Chtimes(d.at(name), t, t) }

func (d disk) Open(name string, flag int) (vfstest.Handle, error) {
	f, err := os.OpenFile(d.at(name), flag, 0o644)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (d disk) SetExec(name string, exec bool) error {
	mode := os.FileMode(0o644)
	if exec {
		mode = 0o755
	}
	return os.Chmod(d.at(name), mode)
}

func (d disk) Exec(name string) (bool, error) {
	i, err := os.Stat(d.at(name))
	return err == nil && i.Mode()&0o111 != 0, err
}

// Package diskfile writes small files whole, and knows them again.
package diskfile

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"runtime"
)

// TempMark stands behind the name of a file in that of one which is to take its place; what a crash left has it as well.
const TempMark = ".tmp-"

// Write puts a file in its place in one step, readable by its owner only: after a crash there is the old one or the new.
func Write(path string, b []byte) error {
	tmp, err := Temp(path, b)
	if err != nil {
		return err
	}
	return Place(tmp, path)
}

// Temp writes a file beside its place and gives its name.
func Temp(path string, b []byte) (name string, err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+TempMark) // mode 0600
	if err != nil {
		return "", err
	}
	_, err = tmp.Write(b)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		os.Remove(tmp.Name())
		return "", err
	}
	return tmp.Name(), nil
}

// Place puts what Temp wrote in its place, or removes it.
func Place(tmp, path string) error {
	if err := os.Rename(tmp, path); err != nil {
		os.Remove(tmp)
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a rename last. Windows has no such thing for folders.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Stamp is what a file is known by. A copy has another inode, and a change another time of change, which no program can set as
// it likes. The device is no part of it: some file systems get another number at each start.
type Stamp struct {
	Inode   uint64 `json:"inode"`
	Changed int64  `json:"changed,omitempty"` // nanoseconds since 1970; unknown until the file has its name
	Sum     string `json:"sha256"`
}

// StampOf is the stamp of a file that holds b.
func StampOf(path string, b []byte) (Stamp, error) {
	inode, changed, err := inodeOf(path)
	sum := sha256.Sum256(b)
	return Stamp{Inode: inode, Changed: changed, Sum: hex.EncodeToString(sum[:])}, err
}

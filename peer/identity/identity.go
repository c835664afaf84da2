// Package identity keeps the private key that a peer is known by. Who has the key is the peer: there is no way to take an
// identity back, and a computer that lost its key is a new peer to everybody.
package identity

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/libp2p/go-libp2p/core/crypto"
	core "github.com/libp2p/go-libp2p/core/peer"

	"github.com/peerd/peerd/peer"
)

// File is the name of the key's file in its folder. It holds the key as libp2p's protobuf PrivateKey.
const File = "key"

// maxFile is more than the file of an Ed25519 key has, in bytes.
const maxFile = 1 << 10

// Load reads the key in the folder dir, and on first use makes the folder (mode 0700) and the key (mode 0600). On Unix it
// refuses a key that others may read and a folder that others may write. Errors are of kind Denied where the modes are
// too loose, and say how to mend them.
func Load(dir string) (crypto.PrivKey, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, &peer.Error{Op: "make folder of the identity", Path: dir, Kind: peer.KindOf(err), Err: err}
	}
	if err := checkMode(dir, 0o022, "go-w"); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, File)
	key, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = create(dir, path); err == nil {
			key, err = read(path)
		}
	}
	if err != nil {
		var e *peer.Error
		if errors.As(err, &e) {
			return nil, err
		}
		return nil, &peer.Error{Op: "load identity", Path: path, Kind: peer.KindOf(err), Err: err}
	}
	return key, nil
}

// ID is the peer ID that the key proves.
func ID(key crypto.PrivKey) (peer.ID, error) {
	id, err := core.IDFromPrivateKey(key)
	if err != nil {
		return "", &peer.Error{Op: "derive peer ID", Err: err}
	}
	return id, nil
}

func checkMode(path string, loose fs.FileMode, mend string) error {
	if runtime.GOOS == "windows" || runtime.GOOS == "plan9" {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&loose == 0 {
		return nil
	}
	return &peer.Error{
		Op: "load identity", Path: path, Kind: peer.Denied,
		Err:  fmt.Errorf("its mode %#o lets other users in", info.Mode().Perm()),
		Hint: fmt.Sprintf("run \"chmod %s %s\"", mend, peer.Quote(path)),
	}
}

func read(path string) (crypto.PrivKey, error) {
	// A link could point to what others may change.
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	if err := checkMode(path, 0o077, "600"); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, err
	}
	key, err := crypto.UnmarshalPrivateKey(raw)
	if err != nil {
		return nil, fmt.Errorf("the key can't be read: %w", err)
	}
	if key.Type() != crypto.Ed25519 {
		return nil, fmt.Errorf("the key is of type %v, and only Ed25519 is used", key.Type())
	}
	return key, nil
}

// create writes a new key under a temporary name and links it to path, so that a crash leaves no half key and the second
// of two that start at once takes the key of the first.
func create(dir, path string) error {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return err
	}
	raw, err := crypto.MarshalPrivateKey(key)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, File+".*.tmp") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(raw)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	switch err := os.Link(tmp.Name(), path); {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil: // a file system without hard links
		if err := os.Rename(tmp.Name(), path); err != nil {
			return err
		}
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	// Some systems can't sync a folder; the key is then as safe as they make it.
	_ = d.Sync()
	return nil
}

// Secret derives 32 secret bytes from the key, the same at every start and others for every purpose.
func Secret(key crypto.PrivKey, purpose string) ([]byte, error) {
	raw, err := key.Raw()
	if err != nil {
		return nil, err
	}
	return hkdf.Key(sha256.New, raw, nil, "peerd secret 1 "+purpose, 32)
}

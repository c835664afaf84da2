package transfertest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/serve"
)

// Share is the share of every [Folder], and Grant what opens it.
var Share = transfer.ShareID{'s', 'h', 'a', 'r', 'e'}

// Grant is the one grant that a [Folder] lets in.
const Grant = "open sesame"

// GiveGrant is [Grant] as a Fetcher asks for it.
func GiveGrant(context.Context) ([]byte, error) { return []byte(Grant), nil }

// Folder is a folder that is served to whoever shows [Grant]. It is a [serve.Authorizer].
type Folder struct {
	Dir string
	// BeforeRead, if set, is called before bytes of a file are read, and may do something to it, or fail in its place.
	BeforeRead func(name string, off int64) error

	denied atomic.Bool
	open   atomic.Int64
	read   atomic.Int64

	mu   sync.Mutex
	ends map[*func()]struct{} // what to call when the right is taken
}

var _ serve.Authorizer = (*Folder)(nil)

// Deny takes the right of everybody from now on.
func (f *Folder) Deny() {
	f.denied.Store(true)
	f.mu.Lock()
	ends := slices.Collect(maps.Keys(f.ends))
	f.mu.Unlock()
	for _, end := range ends {
		(*end)()
	}
}

// Open is how many files are open.
func (f *Folder) Open() int64 { return f.open.Load() }

// Read is how many bytes were read from files.
func (f *Folder) Read() int64 { return f.read.Load() }

// Enter lets in who shows [Grant].
func (f *Folder) Enter(grant []byte, holder peer.ID, share transfer.ShareID) (serve.Pass, error) {
	if string(grant) != Grant || holder != Reader || share != Share {
		return nil, &peer.Error{Op: "enter", Kind: peer.Denied, Err: errors.New("no such grant")}
	}
	return pass{f}, nil
}

type pass struct{ f *Folder }

func (p pass) Check() error {
	if p.f.denied.Load() {
		return &peer.Error{Op: "read", Kind: peer.Denied, Err: errors.New("the right was taken away")}
	}
	return nil
}

func (p pass) OnEnd(end func()) (stop func()) {
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	if p.f.ends == nil {
		p.f.ends = make(map[*func()]struct{})
	}
	p.f.ends[&end] = struct{}{}
	return func() {
		p.f.mu.Lock()
		defer p.f.mu.Unlock()
		delete(p.f.ends, &end)
	}
}

func (p pass) Owner() peer.ID { return Source }

func (p pass) Open(ctx context.Context, components []string, _ transfer.Version) (serve.File, error) {
	name := path.Join(components...)
	file, err := os.OpenInRoot(p.f.Dir, name)
	if err != nil {
		return nil, &peer.Error{Op: "open", Path: name, Kind: peer.KindOf(err), Err: errors.Unwrap(err)}
	}
	p.f.open.Add(1)
	f := &openFile{File: file, name: name, folder: p.f}
	// A version proves its bytes only once the clock that stamps files went on.
	for {
		info, err := file.Stat()
		if err != nil {
			f.Close()
			return nil, err
		}
		if _, changed := stamp(info); time.Since(changed).Abs() > 20*time.Millisecond {
			return f, nil
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		}
	}
}

type openFile struct {
	*os.File
	name   string
	folder *Folder
}

func (f *openFile) ReadAt(b []byte, off int64) (int, error) {
	if f.folder.BeforeRead != nil {
		if err := f.folder.BeforeRead(f.name, off); err != nil {
			return 0, err
		}
	}
	n, err := f.File.ReadAt(b, off)
	f.folder.read.Add(int64(n))
	return n, err
}

func (f *openFile) Close() error {
	f.folder.open.Add(-1)
	return f.File.Close()
}

func (f *openFile) State() (transfer.State, error) {
	info, err := f.Stat()
	if err != nil {
		return transfer.State{}, err
	}
	return transfer.State{Size: info.Size(), ModTime: info.ModTime(), Version: version(info)}, nil
}

func version(info fs.FileInfo) (v transfer.Version) {
	inode, changed := stamp(info)
	var b []byte
	for _, n := range []uint64{inode, uint64(info.Size()), uint64(info.ModTime().UnixNano()), uint64(changed.UnixNano())} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	sum := sha256.Sum256(b)
	copy(v[:], sum[:])
	return v
}

// Cache is a [serve.Manifests] in memory.
type Cache struct {
	mu   sync.Mutex
	kept map[transfer.FileID]transfer.Manifest
	puts int
}

// Puts is how many manifests were computed.
func (c *Cache) Puts() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.puts
}

// Get gives a manifest that was put.
func (c *Cache) Get(id transfer.FileID) (transfer.Manifest, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, ok := c.kept[id]
	return m, ok
}

// Put keeps a manifest.
func (c *Cache) Put(id transfer.FileID, m transfer.Manifest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept == nil {
		c.kept = make(map[transfer.FileID]transfer.Manifest)
	}
	c.kept[id] = m
	c.puts++
}

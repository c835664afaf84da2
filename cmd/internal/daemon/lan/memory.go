package lan

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/peer"

	ma "github.com/multiformats/go-multiaddr"
)

// Bounds of what is remembered of peers.
const (
	maxRemembered = 512
	rememberFor   = 90 * 24 * time.Hour
	maxMemoryFile = 1 << 20 // bytes
	saveDelay     = 3 * time.Second
	saveEvery     = 10 * time.Minute // for nothing but times
)

// memory keeps, over restarts, the peers that proved their IDs and where they were.
type memory struct {
	path string
	log  *slog.Logger
	wake chan struct{}

	mu    sync.Mutex
	peers map[peer.ID]*remembered
	fresh map[peer.ID]time.Time // proved since, and not entered yet
}

// remembered is one peer in the file.
type remembered struct {
	ID    peer.ID   `json:"id"`
	Addrs []string  `json:"addrs"` // the one that worked last in front
	Seen  time.Time `json:"seen"`  // when it last proved its ID
	Far   bool      `json:"far"`   // multicast does not bring it
}

func (m *remembered) addrs() []peer.Addr {
	var out []peer.Addr
	for _, s := range m.Addrs[:min(len(m.Addrs), discovery.MaxAddrs)] {
		if a, err := ma.NewMultiaddr(s); err == nil {
			out = append(out, a)
		}
	}
	return out
}

// memoryFile is the form of the file.
type memoryFile struct {
	Peers []*remembered `json:"peers"`
}

// openMemory reads the file. One that can't be read is as good as none, since all in it can be found again.
func openMemory(path string, log *slog.Logger) *memory {
	m := &memory{path: path, log: log, wake: make(chan struct{}, 1), peers: make(map[peer.ID]*remembered), fresh: make(map[peer.ID]time.Time)}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m
	}
	var f memoryFile
	if err == nil && info.Size() > maxMemoryFile {
		err = errors.New("it is too large")
	}
	if err == nil {
		var b []byte
		if b, err = os.ReadFile(path); err == nil {
			err = json.Unmarshal(b, &f)
		}
	}
	if err != nil {
		log.Warn("the peers from before are forgotten", "file", path, "err", err)
		return m
	}
	for _, p := range f.Peers {
		if p != nil && p.ID.Validate() == nil {
			m.peers[p.ID] = p
		}
	}
	return m
}

// proved takes in that a peer is who it says.
func (m *memory) proved(id peer.ID, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.fresh) < maxRemembered {
		m.fresh[id] = now
	}
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// list gives those from before, from beyond the local network first, and the latest seen first.
func (m *memory) list(now time.Time) []remembered {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []remembered
	for _, p := range m.peers {
		if now.Sub(p.Seen) < rememberFor {
			out = append(out, *p)
		}
	}
	slices.SortFunc(out, func(a, b remembered) int {
		if a.Far != b.Far {
			return map[bool]int{true: -1, false: 1}[a.Far]
		}
		return cmp.Or(b.Seen.Compare(a.Seen), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// where tells of a peer of the workgroup what is to be remembered; ok is false for others.
type where func(id peer.ID) (addrs []peer.Addr, far, ok bool)

// run saves what is learned until ctx ends, and then once more.
func (m *memory) run(ctx context.Context, at where) error {
	var saved time.Time
	for {
		select {
		case <-m.wake:
		case <-ctx.Done():
			m.save(at)
			return nil
		}
		select {
		case <-time.After(saveDelay):
		case <-ctx.Done():
		}
		if m.enter(time.Now(), at) || time.Since(saved) > saveEvery {
			m.write()
			saved = time.Now()
		}
	}
}

func (m *memory) save(at where) {
	m.mu.Lock()
	idle := len(m.fresh) == 0
	m.mu.Unlock()
	if m.enter(time.Now(), at) || !idle {
		m.write()
	}
}

// enter takes over who proved its ID, and reports whether anything but times changed. Who is not known as one of the
// workgroup yet is looked at again.
func (m *memory) enter(now time.Time, at where) (changed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, when := range m.fresh {
		addrs, far, ok := at(id)
		if !ok || len(addrs) == 0 {
			if now.Sub(when) > time.Minute {
				delete(m.fresh, id)
			}
			continue
		}
		delete(m.fresh, id)
		p := &remembered{ID: id, Seen: when.UTC().Truncate(time.Second), Far: far}
		for _, a := range addrs[:min(len(addrs), discovery.MaxAddrs)] {
			p.Addrs = append(p.Addrs, a.String())
		}
		old := m.peers[id]
		changed = changed || old == nil || old.Far != far || !slices.Equal(old.Addrs, p.Addrs)
		m.peers[id] = p
	}
	maps.DeleteFunc(m.peers, func(_ peer.ID, p *remembered) bool { return now.Sub(p.Seen) >= rememberFor })
	for len(m.peers) > maxRemembered {
		var oldest *remembered
		for _, p := range m.peers {
			if oldest == nil || p.Seen.Before(oldest.Seen) {
				oldest = p
			}
		}
		delete(m.peers, oldest.ID)
	}
	return changed
}

// write puts the file in its place in one step, readable by its owner only.
func (m *memory) write() {
	if err := m.put(); err != nil {
		m.log.Warn("the peers that are here will not be remembered", "file", m.path, "err", err)
	}
}

func (m *memory) put() (err error) {
	f := memoryFile{Peers: []*remembered{}}
	for _, p := range m.list(time.Now()) {
		f.Peers = append(f.Peers, &p)
	}
	b, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(m.path), filepath.Base(m.path)+".tmp-") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			tmp.Close()
			os.Remove(tmp.Name())
		}
	}()
	if _, err = tmp.Write(b); err != nil {
		return err
	}
	if err = tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), m.path)
}

// snapshot tells memory where a peer is.
func (l *LAN) snapshot(id peer.ID) (addrs []peer.Addr, far, ok bool) {
	p, ok := l.view.Get(id)
	return l.host.Known(id), !p.Near(), ok
}

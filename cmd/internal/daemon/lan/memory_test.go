package lan

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	"go.uber.org/goleak"

	"github.com/peerd/peerd/discovery/discoverytest"
	"github.com/peerd/peerd/peer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// everywhere knows where all peers are.
func everywhere(id peer.ID) ([]peer.Addr, bool, bool) {
	return []peer.Addr{ma.StringCast("/ip4/10.0.0.1/tcp/4455"), ma.StringCast("/ip6zone/eth0/ip6/fe80::1/tcp/4455")}, id == discoverytest.ID(2), true
}

func TestMemoryOutlivesRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peers")
	m := openMemory(path, quiet())
	now := time.Now()
	for n := range 4 {
		m.proved(discoverytest.ID(n), now.Add(time.Duration(n)*time.Second))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.run(ctx, everywhere); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the file is %v, %v", info, err)
	}
	got := openMemory(path, quiet()).list(now)
	if len(got) != 4 || got[0].ID != discoverytest.ID(2) || !got[0].Far || got[1].ID != discoverytest.ID(3) {
		t.Fatalf("remembered %v", got)
	}
	want, _, _ := everywhere("")
	for i, a := range got[0].addrs() {
		if !a.Equal(want[i]) {
			t.Errorf("address %d is %v", i, a)
		}
	}
	if left, err := filepath.Glob(path + "*"); err != nil || len(left) != 1 {
		t.Errorf("files are left: %v", left)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	m := openMemory(filepath.Join(t.TempDir(), "peers"), quiet())
	now := time.Now()
	for n := range maxRemembered + 20 {
		m.proved(discoverytest.ID(n), now.Add(time.Duration(n)*time.Second))
		if n%100 == 0 {
			m.enter(now, everywhere)
		}
	}
	if !m.enter(now, everywhere) || m.enter(now, everywhere) {
		t.Error("it is not known whether anything changed")
	}
	got := m.list(now)
	if len(got) != maxRemembered {
		t.Errorf("%d peers are remembered", len(got))
	}
	for _, p := range got {
		if p.ID == discoverytest.ID(0) {
			t.Error("the oldest is not the one that is forgotten")
		}
	}
	if got := m.list(now.Add(rememberFor + time.Hour)); len(got) != 0 {
		t.Errorf("%d peers are remembered for ever", len(got))
	}
}

func TestMemoryForgetsStrangers(t *testing.T) {
	m := openMemory(filepath.Join(t.TempDir(), "peers"), quiet())
	now := time.Now()
	nobody := func(peer.ID) ([]peer.Addr, bool, bool) { return nil, false, false }
	m.proved(discoverytest.ID(1), now)
	if m.enter(now, nobody); len(m.fresh) != 1 {
		t.Error("one that may be of the workgroup is dropped at once")
	}
	if m.enter(now.Add(2*time.Minute), nobody); len(m.fresh) != 0 || len(m.peers) != 0 {
		t.Error("one of another workgroup is remembered")
	}
}

func TestMemoryFileDamaged(t *testing.T) {
	id := discoverytest.ID(1).String()
	for name, c := range map[string]struct {
		text string
		want int
	}{
		"empty":     {"", 0},
		"no JSON":   {"peers", 0},
		"null":      {`{"peers":[null]}`, 0},
		"no ID":     {`{"peers":[{"addrs":["/ip4/10.0.0.1/tcp/1"]}]}`, 0},
		"wrong ID":  {`{"peers":[{"id":"x"}]}`, 0},
		"bad addr":  {fmt.Sprintf(`{"peers":[{"id":%q,"addrs":["nonsense","/ip4/10.0.0.1/tcp/1"],"seen":%q}]}`, id, time.Now().Format(time.RFC3339)), 1},
		"too large": {strings.Repeat(" ", maxMemoryFile+1), 0},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "peers")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got := openMemory(path, quiet()).list(time.Now())
			if len(got) != c.want {
				t.Fatalf("remembered %v", got)
			}
			if c.want == 1 && len(got[0].addrs()) != 1 {
				t.Errorf("addresses %v", got[0].addrs())
			}
		})
	}
}

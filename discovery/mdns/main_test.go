package mdns

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/discovery/discoverytest"
	"github.com/peerd/peerd/peer"
)

// nodeEnv turns the test binary into one peer of a network of namespaces.
const nodeEnv = "PEERD_MDNS_TEST_NODE"

func TestMain(m *testing.M) {
	if config := os.Getenv(nodeEnv); config != "" {
		if err := nodeMain(config); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// nodeConfig is what a node is told by its environment.
type nodeConfig struct {
	Number     int
	Name       string
	Port       int
	Shares     []string
	Interfaces []string
}

// nodeEvent is one line that a node prints.
type nodeEvent struct {
	At    time.Time
	ID    string
	Name  string
	Gone  bool
	Addrs []string
	Rev   uint64
}

// nodeMain runs a peer until SIGTERM. A line on its input is a new name, told with the next revision.
func nodeMain(config string) error {
	var c nodeConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	level := slog.LevelWarn
	if os.Getenv("PEERD_MDNS_TEST_DEBUG") != "" {
		level = slog.LevelDebug
	}
	s := New(Config{Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})).With("node", c.Number), Interfaces: c.Interfaces})
	advert := discovery.Advert{ID: discoverytest.ID(c.Number), Name: peer.Name(c.Name), Workgroup: "TEST", Version: "1", Port: c.Port,
		Shares: c.Shares, Count: len(c.Shares), Revision: 1}
	s.Announce(advert)
	go func() {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			advert.Name = peer.Name(in.Text())
			advert.Revision++
			s.Announce(advert)
		}
	}()
	out := json.NewEncoder(os.Stdout)
	_ = out.Encode(nodeEvent{At: time.Now()}) // ready
	said := map[string]string{}               // what did not change is not printed
	return s.Find(ctx, func(x discovery.Sighting) {
		e := nodeEvent{At: time.Now(), ID: x.ID.String(), Name: string(x.Name), Gone: x.Gone, Rev: x.Revision}
		for _, a := range x.Addrs {
			e.Addrs = append(e.Addrs, a.String())
		}
		if text := fmt.Sprint(e.Name, e.Gone, e.Rev, e.Addrs); said[e.ID] != text {
			said[e.ID] = text
			_ = out.Encode(e)
		}
	})
}

package serve_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/grant"
	"github.com/peerd/peerd/share/serve"
	"github.com/peerd/peerd/share/sharepb"
	"github.com/peerd/peerd/transfer"
	"github.com/peerd/peerd/transfer/seed"
	transferserve "github.com/peerd/peerd/transfer/serve"
)

const stateVectors = "../../docs/vectors/state.json"

var updateVectors = flag.Bool("update", false, "write docs/vectors/state.json")

// vectors are what an owner tells of rights, in bytes, and what becomes of several that arrive in some order.
type vectors struct {
	Messages []stateVector `json:"messages"`
	Orders   []orderVector `json:"orders"`
}

type stateVector struct {
	Share     string   `json:"share"`
	EpochRead uint64   `json:"epoch_read"`
	EpochFull uint64   `json:"epoch_full"`
	Denied    []string `json:"denied"`
	Serial    uint64   `json:"serial"`
	Bytes     string   `json:"bytes"`
}

type orderVector struct {
	Told   []stateVector `json:"told"` // in the order of arrival; share and bytes don't matter
	Denied []string      `json:"denied"`
}

func (v stateVector) state(t *testing.T) serve.State {
	t.Helper()
	st := serve.State{Epochs: grant.Epochs{Read: v.EpochRead, Full: v.EpochFull}, Serial: v.Serial, Denied: make(map[peer.ID]bool)}
	for _, s := range v.Denied {
		id, err := peer.ParseID(s)
		if err != nil {
			t.Fatal(err)
		}
		st.Denied[id] = true
	}
	return st
}

func (v stateVector) id(t *testing.T) share.ID {
	t.Helper()
	b, err := hex.DecodeString(v.Share)
	if err != nil || len(b) != len(share.ID{}) {
		t.Fatal(v.Share, err)
	}
	return share.ID(b)
}

func loadVectors(t *testing.T) (v vectors) {
	t.Helper()
	b, err := os.ReadFile(stateVectors)
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestStateVectors: a state has the bytes that the vectors say, and is read back from them.
func TestStateVectors(t *testing.T) {
	all := loadVectors(t)
	for i, v := range all.Messages {
		m := v.state(t).Message(v.id(t))
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if *updateVectors {
			all.Messages[i].Bytes = hex.EncodeToString(b)
			continue
		}
		if got := hex.EncodeToString(b); got != v.Bytes {
			t.Errorf("message %d is %s, want %s", i, got, v.Bytes)
		}
		var back sharepb.ShareState
		if err := proto.Unmarshal(b, &back); err != nil || !proto.Equal(&back, m) {
			t.Errorf("message %d is read as %v, %v", i, &back, err)
		}
	}
	if *updateVectors {
		b, err := json.MarshalIndent(all, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(stateVectors, append(b, '\n'), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOrderVectors: whatever the order in which states arrive, those are denied that the vectors say.
func TestOrderVectors(t *testing.T) {
	for i, v := range loadVectors(t).Orders {
		b := newBare(t, &files{})
		seeds := serve.NewSeeds(shelf{{Share: seed.Share{Owner: b.owner, ID: b.docs}}}, nil, func() time.Time { return b.now })
		for _, told := range v.Told {
			seeds.Tell(seed.Share{Owner: b.owner, ID: b.docs}, told.state(t))
		}
		var denied []string
		for _, told := range v.Told {
			for _, s := range told.Denied {
				id, err := peer.ParseID(s)
				if err != nil {
					t.Fatal(err)
				}
				g := grant.Grant{Share: b.docs, Holder: id, Right: share.Read, Epoch: 7, NotBefore: b.now, Expires: b.now.Add(grant.MaxLife)}
				sealed, err := g.Seal(b.key)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := seeds.Enter(sealed, id, b.docs); err != nil && !slices.Contains(denied, s) {
					denied = append(denied, s)
				}
			}
		}
		slices.Sort(denied)
		if want := slices.Sorted(slices.Values(v.Denied)); !slices.Equal(denied, want) {
			t.Errorf("order %d: denied are %v, want %v", i, denied, want)
		}
	}
}

// shelf is the shares of which something was fetched, and none of it.
type shelf []seed.Known

func (s shelf) Shares() []seed.Known { return s }

func (shelf) Open(transfer.File) (transferserve.Partial, error) {
	return nil, errors.New("nothing is here")
}

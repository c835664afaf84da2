package grant

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	core "github.com/libp2p/go-libp2p/core/peer"

	"github.com/peerd/peerd/share"
)

var update = flag.Bool("update", false, "write the vectors of docs/vectors anew")

const vectorFile = "../../docs/vectors/grant.json"

// vectors are statements that one owner has sealed, with every byte of them.
type vectors struct {
	Comment   string   `json:"comment"`
	OwnerSeed string   `json:"owner_seed"`
	Owner     string   `json:"owner"`
	Grants    []vector `json:"grants"`
}

type vector struct {
	Kind        string `json:"kind"`
	Share       string `json:"share"`
	Right       string `json:"right"`
	Epoch       uint64 `json:"epoch"`
	NotBefore   int64  `json:"not_before"`
	Expires     int64  `json:"expires"`
	Serial      string `json:"serial"`
	HolderSeed  string `json:"holder_seed"`
	Holder      string `json:"holder"`
	Record      string `json:"record"`
	Domain      string `json:"domain"`
	PayloadType string `json:"payload_type"`
	Sealed      string `json:"sealed"`
}

func TestVectors(t *testing.T) {
	if *update {
		b, err := json.MarshalIndent(makeVectors(t), "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorFile, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var want vectors
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	got := makeVectors(t)
	if got.OwnerSeed != want.OwnerSeed || got.Owner != want.Owner || len(want.Grants) == 0 {
		t.Errorf("the owner is %s by %s, want %s by %s", got.Owner, got.OwnerSeed, want.Owner, want.OwnerSeed)
	}
	if !slices.Equal(got.Grants, want.Grants) {
		t.Errorf("got %+v, want %+v", got.Grants, want.Grants)
	}
	for _, v := range want.Grants {
		openVector(t, want.Owner, v)
	}
}

// openVector reads a vector as a peer of other make would have sent it.
func openVector(t *testing.T, owner string, v vector) {
	t.Helper()
	signer, err := core.Decode(owner)
	if err != nil {
		t.Fatal(err)
	}
	k := grantRecord
	if v.Kind == "ticket" {
		k = ticketRecord
	}
	g, err := open(k, unhex(t, v.Sealed), signer)
	if err != nil {
		t.Errorf("%s: %v", v.Kind, err)
		return
	}
	if hex.EncodeToString(g.Share[:]) != v.Share || g.Right.String() != v.Right || g.Epoch != v.Epoch || g.NotBefore.Unix() != v.NotBefore ||
		g.Expires.Unix() != v.Expires || g.Serial.String() != v.Serial || g.Holder.String() != v.Holder {
		t.Errorf("opened %+v, want %+v", g, v)
	}
}

func makeVectors(t *testing.T) vectors {
	t.Helper()
	owner := bytes.Repeat([]byte{0x01}, ed25519.SeedSize)
	holder := bytes.Repeat([]byte{0x02}, ed25519.SeedSize)
	signer := seeded(t, owner)
	id := share.ID(bytes.Repeat([]byte{0xd0}, len(share.ID{})))
	from := time.Unix(1_780_000_000, 0).UTC()
	grant := Grant{
		Share: id, Holder: seeded(t, holder).id, Right: share.Read, Epoch: 1_700_000_000,
		NotBefore: from, Expires: from.Add(MaxLife), Serial: Serial{0, 1, 2, 3, 4, 5, 6, 7},
	}
	full, ticket := grant, grant
	full.Right, full.Epoch, full.Expires = share.Full, 1<<32+1, from.Add(time.Second)
	ticket.Expires = from.Add(MaxTicketLife)

	v := vectors{
		Comment: "Keys are Ed25519 from a seed of 32 bytes. Signatures are those of RFC 8032, so sealed is what our encoder makes; " +
			"another one may order the fields of the protobuf otherwise. All bytes in hexadecimal.",
		OwnerSeed: hex.EncodeToString(owner), Owner: signer.id.String(),
	}
	for _, s := range []statement{{grantRecord, grant}, {grantRecord, full}, {ticketRecord, ticket}} {
		v.Grants = append(v.Grants, vectorOf(t, s, signer, holder))
	}
	return v
}

func vectorOf(t *testing.T, s statement, signer somebody, holderSeed []byte) vector {
	t.Helper()
	record, err := s.MarshalRecord()
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := seal(s.kind, s.grant, signer.key)
	if err != nil {
		t.Fatal(err)
	}
	g := s.grant
	return vector{
		Kind: s.kind.String(), Share: hex.EncodeToString(g.Share[:]), Right: g.Right.String(), Epoch: g.Epoch,
		NotBefore: g.NotBefore.Unix(), Expires: g.Expires.Unix(), Serial: g.Serial.String(),
		HolderSeed: hex.EncodeToString(holderSeed), Holder: g.Holder.String(), Record: hex.EncodeToString(record),
		Domain: s.Domain(), PayloadType: string(s.Codec()), Sealed: hex.EncodeToString(sealed),
	}
}

func seeded(t *testing.T, seed []byte) somebody {
	t.Helper()
	key, err := crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		t.Fatal(err)
	}
	id, err := core.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return somebody{key, id}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

package mdns

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	core "github.com/libp2p/go-libp2p/core/peer"
	"github.com/miekg/dns"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/discovery/discoverytest"
)

func pack(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestHostileInstances changes one thing of a good announcement at a time.
func TestHostileInstances(t *testing.T) {
	set := func(key, value string) func([]dns.RR) {
		return func(rr []dns.RR) {
			txt := rr[2].(*dns.TXT)
			txt.Txt = append([]string{}, txt.Txt...)
			for i, text := range txt.Txt {
				if strings.HasPrefix(text, key+"=") {
					txt.Txt[i] = key + "=" + value
					return
				}
			}
			txt.Txt = append(txt.Txt, key+"="+value)
		}
	}
	_, pub, err := crypto.GenerateSecp256k1Key(bytes.NewReader(bytes.Repeat([]byte{5}, 1000)))
	if err != nil {
		t.Fatal(err)
	}
	otherKind, err := core.IDFromPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change func(rr []dns.RR)
		heard  bool
		check  func(h heard) bool
	}{
		{"as it is", func([]dns.RR) {}, true, func(h heard) bool { return h.said.TTL == 2*time.Minute && !h.bye }},
		{"another version of the record", set("txtvers", "2"), false, nil},
		{"no ID", set("id", ""), false, nil},
		{"garbage as ID", set("id", "12D3KooWnonsense"), false, nil},
		{"an ID of another kind of key", set("id", otherKind.String()), false, nil},
		{"an ID that is only a hash", set("id", "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"), false, nil},
		{"no workgroup", set("wg", ""), false, nil},
		{"a workgroup with an escape sequence", set("wg", "\x1b[2J"), false, nil},
		{"a workgroup too long", set("wg", strings.Repeat("w", 64)), false, nil},
		{"a version too long", set("v", strings.Repeat("1", 100)), true, func(h heard) bool { return h.said.Version == "" }},
		{"a name with an escape sequence", set("n", "an\x1b[31mna\u202e"), true, func(h heard) bool { return h.said.Name == "an[31mna" }},
		{"a name with nothing in it", set("n", "//"), true, func(h heard) bool { return strings.HasSuffix(discoverytest.ID(1).String(), string(h.said.Name)) }},
		{"a count below zero", set("sc", "-5"), true, func(h heard) bool { return h.said.Count == -1 }},
		{"a count beyond all bounds", set("sc", "99999999999"), true, func(h heard) bool { return h.said.Count == -1 }},
		{"a share with a slash", set("s0", "../etc"), true, func(h heard) bool { return len(h.said.Shares) == 1 }},
		{"a hidden share", set("s0", "x$"), true, func(h heard) bool { return len(h.said.Shares) == 1 }},
		{"port 0", func(rr []dns.RR) { rr[1].(*dns.SRV).Port = 0 }, false, nil},
		{"no time to live", func(rr []dns.RR) { rr[2].Header().Ttl = 0 }, true, func(h heard) bool { return h.bye }},
		{"a year to live", func(rr []dns.RR) { rr[1].Header().Ttl, rr[2].Header().Ttl = 1<<31, 1<<31 }, true, func(h heard) bool { return h.said.TTL == 2*time.Minute }},
		{"a second to live", func(rr []dns.RR) { rr[2].Header().Ttl = 1 }, true, func(h heard) bool { return h.said.TTL == minTTL }},
		{"another service", func(rr []dns.RR) {
			for _, r := range rr[:3] {
				r.Header().Name = "x._ipp._tcp.local."
			}
		}, false, nil},
		{"addresses that lead nowhere", func(rr []dns.RR) {
			set("a4", "0.0.0.0,127.0.0.1,224.0.0.1,255.255.255.255,10.1.1.1,x")(rr)
			set("a6", "::,::1,ff02::1,::ffff:127.0.0.1,fe80::9%lo")(rr)
			for _, r := range rr[3:] {
				r.Header().Name = "other.local."
			}
		}, true, func(h heard) bool { return fmt.Sprint(h.addrs) == "[10.1.1.1:4455 [fe80::9%eth0]:4455]" }},
		{"no address", func(rr []dns.RR) {
			set("a4", "")(rr)
			set("a6", "")(rr)
			for _, r := range rr[3:] {
				r.Header().Name = "other.local."
			}
		}, false, nil},
		{"a thousand addresses", set("a4", strings.Repeat("10.1.1.1,", 25)), true, func(h heard) bool { return len(h.addrs) <= discovery.MaxAddrs }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rr := mustSelf(t, advert(), Names).records(eth0(), true)
			tt.change(rr)
			p, _ := parse(pack(t, response(rr...)), eth0())
			if got := len(p.heard) == 1; got != tt.heard {
				t.Fatalf("heard is %v: %+v", got, p.heard)
			}
			if tt.heard && !tt.check(p.heard[0]) {
				t.Errorf("heard %+v", p.heard[0])
			}
		})
	}
}

func TestGoodbyeAndNewName(t *testing.T) {
	a := advert()
	old := mustSelf(t, a, Names)
	a.Name = "Berta"
	now := mustSelf(t, a, Names)
	p, ok := parse(pack(t, response(append([]dns.RR{old.farewell()}, now.records(eth0(), true)...)...)), eth0())
	if !ok || len(p.heard) != 2 || !p.heard[0].bye || p.heard[0].label != old.label || p.heard[1].bye || p.heard[1].said.Name != "Berta" {
		t.Errorf("heard %+v", p.heard)
	}
}

func TestManyInOnePacket(t *testing.T) {
	var rr []dns.RR
	for n := range 3 * maxInstances {
		a := discovery.Advert{ID: discoverytest.ID(n), Name: "x", Workgroup: "W", Port: 1, Count: -1}
		rr = append(rr, mustSelf(t, a, None).records(eth0(), true)...)
	}
	p, ok := parse(pack(t, response(rr...)), eth0())
	if !ok || len(p.heard) != maxInstances {
		t.Errorf("%d of %d instances are heard", len(p.heard), 3*maxInstances)
	}
}

func TestQuestions(t *testing.T) {
	s := mustSelf(t, advert(), Names)
	m := question()
	m.Answer = []dns.RR{
		&dns.PTR{Hdr: header(service, dns.TypePTR, false), Ptr: s.instance},
		&dns.PTR{Hdr: dns.RR_Header{Name: service, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: 5}, Ptr: "dying." + service},
	}
	p, ok := parse(pack(t, m), eth0())
	if !ok || len(p.questions) != 1 || len(p.known) != 1 || p.known[0] != s.label {
		t.Errorf("%+v, %v", p, ok)
	}
	m.Truncated = true // Apple's, with more known answers to come
	if _, ok := parse(pack(t, m), eth0()); !ok {
		t.Error("a truncated question is dropped")
	}
	named := question(s.label)
	p, ok = parse(pack(t, named), eth0())
	if !ok || len(s.answer(p.questions[0], eth0())) == 0 {
		t.Error("a question for one instance is not answered")
	}
	m.Truncated, m.Rcode = false, 1
	if _, ok := parse(pack(t, m), eth0()); ok {
		t.Error("a message with an error code is taken")
	}
	m.Rcode, m.Opcode = 0, dns.OpcodeUpdate
	if _, ok := parse(pack(t, m), eth0()); ok {
		t.Error("a message with an opcode is taken")
	}
	foreign := &dns.Msg{Question: []dns.Question{{Name: "_ipp._tcp.local.", Qtype: dns.TypePTR, Qclass: dns.ClassINET}}}
	if _, ok := parse(pack(t, foreign), eth0()); ok {
		t.Error("a question for printers is taken")
	}
}

// FuzzPacket: nothing that comes from the network breaks the parser, and what it reports keeps all limits.
func FuzzPacket(f *testing.F) {
	s := mustSelf(f, advert(), Names)
	f.Add(pack(f, response(s.records(eth0(), true)...)))
	f.Add(pack(f, response(s.farewell())))
	f.Add(pack(f, response(metaRecord())))
	f.Add(pack(f, question()))
	f.Add(pack(f, question(s.label)))
	f.Add([]byte("\x00\x00\x84\x00\x00\x00\x00\x01\x00\x00\x00\x00\x06_peerd\x04_tcp\x05local\x00\x00\x0c\x00\x01\x00\x00\x00\x78\x00\x02\xc0\x0c"))
	f.Fuzz(func(t *testing.T, b []byte) {
		now := time.Unix(1000, 0)
		p, ok := parse(b, eth0())
		if !ok {
			return
		}
		if len(p.heard) > maxInstances || len(p.questions) > maxInstances || len(p.known) > discovery.MaxPeers {
			t.Fatalf("%d instances, %d questions, %d known", len(p.heard), len(p.questions), len(p.known))
		}
		for _, q := range p.questions {
			if rr := s.answer(q, eth0()); len(rr) > 0 {
				pack(t, response(rr...))
			}
		}
		table := newTable()
		for _, h := range p.heard {
			if h.bye {
				table.bye(now, "eth0", h.label)
				continue
			}
			list, _ := table.hear(now, "eth0", netip.MustParseAddr("10.1.1.1"), h)
			for _, said := range list {
				discoverytest.Check(t, discovery.MDNS, said)
			}
		}
	})
}

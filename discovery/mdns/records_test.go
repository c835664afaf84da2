package mdns

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/discovery/discoverytest"
	"github.com/peerd/peerd/discovery/mdns/group"
	"github.com/peerd/peerd/peer"
)

// eth0 is a link with both families, crowded with addresses.
func eth0() group.Link {
	l := group.Link{Index: 2, Name: "eth0"}
	for _, n := range []string{"10.1.2.3/16", "192.168.7.7/24", "fe80::1/64", "fd00::1/64", "2001:db8::1/64", "2001:db8::2/64", "2001:db8::3/64"} {
		l.Nets = append(l.Nets, netip.MustParsePrefix(n))
	}
	return l
}

func advert() discovery.Advert {
	return discovery.Advert{ID: discoverytest.ID(1), Name: "anna", Workgroup: "W", Version: "1.2.3", Port: 4455,
		Shares: []string{"docs", "Bücher", `back\slash`, "secret$"}, Count: 3, Revision: 7}
}

func mustSelf(t testing.TB, a discovery.Advert, m Mode) *self {
	t.Helper()
	s, err := newSelf(a, m)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// heardFrom packs an announcement and parses it again.
func heardFrom(t testing.TB, s *self, at, by group.Link) (heard, int) {
	t.Helper()
	b, err := response(s.records(at, true)...).Pack()
	if err != nil {
		t.Fatal(err)
	}
	p, ok := parse(b, by)
	if !ok || len(p.heard) != 1 {
		t.Fatalf("an announcement is not understood: %v", response(s.records(at, true)...))
	}
	return p.heard[0], len(b)
}

func TestAnnouncementIsUnderstood(t *testing.T) {
	names := []string{"anna", "Zoë's PC. (2)", `a\b.c`, `q"(;@$)`, "日本語のコンピューター", strings.Repeat("ä", 31), strings.Repeat("x", 63), "."}
	for _, name := range names {
		a := advert()
		a.Name = peer.Name(name)
		h, _ := heardFrom(t, mustSelf(t, a, Names), eth0(), eth0())
		if string(h.said.Name) != name {
			t.Errorf("name %q is heard as %q", name, h.said.Name)
		}
	}
	h, _ := heardFrom(t, mustSelf(t, advert(), Names), eth0(), eth0())
	want := "10.1.2.3:4455 192.168.7.7:4455 [fe80::1%eth0]:4455"
	if got := fmt.Sprint(h.addrs); !strings.HasPrefix(got, "["+want) {
		t.Errorf("addresses %s, want %s first", got, want)
	}
	s := h.said
	if s.ID != discoverytest.ID(1) || s.Workgroup != "W" || s.Version != "1.2.3" || s.Revision != 7 || s.Count != 3 || strings.Join(s.Shares, "|") != "docs|Bücher" {
		t.Errorf("heard %+v", s) // a share's name has no backslash, so that one is dropped on hearing
	}
	far := group.Link{Index: 9, Name: "wlan0", Nets: []netip.Prefix{netip.MustParsePrefix("10.1.9.9/16")}}
	h, _ = heardFrom(t, mustSelf(t, advert(), Names), eth0(), far)
	if got := fmt.Sprint(h.addrs[:2]); got != "[10.1.2.3:4455 [fe80::1%wlan0]:4455]" {
		t.Errorf("heard on another link, the first addresses are %s", got)
	}
}

func TestModes(t *testing.T) {
	for mode, want := range map[Mode]string{Names: "3 [docs Bücher]", Count: "3 []", None: "-1 []"} {
		h, _ := heardFrom(t, mustSelf(t, advert(), mode), eth0(), eth0())
		if got := fmt.Sprint(h.said.Count, " ", h.said.Shares); got != want {
			t.Errorf("%s: %s, want %s", mode, got, want)
		}
		if parsed, err := ParseMode(string(mode)); err != nil || parsed != mode {
			t.Errorf("ParseMode(%s) = %s, %v", mode, parsed, err)
		}
	}
	if m, err := ParseMode(""); m != Names || err != nil {
		t.Errorf("no mode is %s, %v", m, err)
	}
	if _, err := ParseMode("all"); peer.KindOf(err) != peer.Usage {
		t.Errorf("a wrong mode: %v", err)
	}
	private := advert()
	private.Count = -1
	if h, _ := heardFrom(t, mustSelf(t, private, Names), eth0(), eth0()); h.said.Count != -1 {
		t.Errorf("a private count is told: %d", h.said.Count)
	}
}

// TestMessageFits: whatever is announced fits one packet, with all that may stand in front, and says so if it was cut.
func TestMessageFits(t *testing.T) {
	for _, size := range []int{1, 8, 20, 63} {
		for _, count := range []int{0, 1, 10, 40, 100, 300} {
			a := advert()
			a.Name = peer.Name(strings.Repeat("ö", 31))
			a.Workgroup, a.Version = strings.Repeat("W", 63), strings.Repeat("9", 100)
			a.Shares = nil
			for n := range count {
				a.Shares = append(a.Shares, fmt.Sprintf("%0*d", size, n)[:size])
			}
			s := mustSelf(t, a, Names)
			b, err := response(append([]dns.RR{s.farewell(), metaRecord()}, s.records(eth0(), true)...)...).Pack()
			if err != nil || len(b) > maxMessage {
				t.Errorf("%d names of %d bytes make %d bytes, %v", count, size, len(b), err)
			}
			h, used := heardFrom(t, s, eth0(), eth0())
			txt := s.records(eth0(), true)[2].(*dns.TXT).Txt
			cut := txt[len(txt)-1] == "more=1"
			if cut != (len(h.said.Shares) < count) {
				t.Errorf("%d names of %d bytes: %d are told, more=1 is %v", count, size, len(h.said.Shares), cut)
			}
			if cut && used < maxMessage-300 {
				t.Errorf("%d names of %d bytes are cut at %d bytes", count, size, used)
			}
			for _, text := range txt {
				if len(unescape(text)) > maxText {
					t.Errorf("a TXT string of %d bytes", len(text))
				}
			}
		}
	}
}

// TestHiddenNeverLeaves looks for the name of a hidden share in every packet that can be sent.
func TestHiddenNeverLeaves(t *testing.T) {
	s := mustSelf(t, advert(), Names)
	for _, q := range []dns.Question{
		{Name: service, Qtype: dns.TypeANY}, {Name: service, Qtype: dns.TypePTR}, {Name: s.instance, Qtype: dns.TypeTXT}, {Name: s.host, Qtype: dns.TypeANY},
	} {
		b, err := response(s.answer(q, eth0())...).Pack()
		if err != nil || strings.Contains(string(b), "secret") {
			t.Errorf("the answer to %v tells a hidden share (%v)", q, err)
		}
	}
}

func TestAnswers(t *testing.T) {
	a := advert()
	a.Name = "Zoë's PC. (2)"
	s := mustSelf(t, a, Names)
	z := &zone{}
	if z.Records(dns.Question{Name: service, Qtype: dns.TypePTR}) != nil {
		t.Error("a zone without an advert answers")
	}
	z.now.Store(&zoneState{s, eth0()})
	escaped := `Zo\195\171\'s\032PC\.\ \(2\)\ \(` + s.label[len(s.label)-5:len(s.label)-1] + `\)._PEERD._tcp.LOCAL.`
	const addresses = " A A AAAA AAAA AAAA AAAA"
	tests := []struct {
		name  string
		qtype uint16
		want  string
	}{
		{service, dns.TypePTR, "PTR SRV TXT" + addresses},
		{"_PEERD._TCP.Local.", dns.TypeANY, "PTR SRV TXT" + addresses},
		{service, dns.TypeTXT, ""},
		{s.instance, dns.TypeSRV, "SRV" + addresses},
		{escaped, dns.TypeTXT, "TXT"},
		{escaped, dns.TypeANY, "SRV TXT"},
		{s.instance, dns.TypeA, ""},
		{strings.ToUpper(s.host), dns.TypeA, "A A"},
		{s.host, dns.TypeAAAA, "AAAA AAAA AAAA AAAA"},
		{s.host, dns.TypeSRV, ""},
		{metaPTR, dns.TypePTR, "PTR"},
		{"_ipp._tcp.local.", dns.TypePTR, ""},
		{"x." + service, dns.TypeANY, ""},
		{".", dns.TypeANY, ""},
	}
	for _, tt := range tests {
		var got []string
		for _, r := range z.Records(dns.Question{Name: tt.name, Qtype: tt.qtype}) {
			got = append(got, dns.TypeToString[r.Header().Rrtype])
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s %s gives %v, want %s", tt.name, dns.TypeToString[tt.qtype], got, tt.want)
		}
	}
}

func TestAdvertsThatCannotBe(t *testing.T) {
	for _, spoil := range []func(*discovery.Advert){
		func(a *discovery.Advert) { a.ID = "" },
		func(a *discovery.Advert) { a.Port = 0 },
		func(a *discovery.Advert) { a.Port = 65536 },
	} {
		a := advert()
		spoil(&a)
		if _, err := newSelf(a, Names); peer.KindOf(err) != peer.Usage {
			t.Errorf("%+v: %v", a, err)
		}
	}
}

func TestLabels(t *testing.T) {
	tests := []struct{ name, label, rest string }{
		{"a.b.c.", "a", "b.c."},
		{`a\.b.c.`, "a.b", "c."},
		{`a\\.c.`, `a\`, "c."},
		{`\195\171.`, "ë", ""},
		{`\999x.`, "999x", ""},
		{`end\`, "end", ""},
		{"", "", ""},
		{".", "", ""},
	}
	for _, tt := range tests {
		if label, rest := splitLabel(tt.name); label != tt.label || rest != tt.rest {
			t.Errorf("splitLabel(%q) = %q, %q", tt.name, label, rest)
		}
	}
	if got := cut("aä", 2); got != "a" {
		t.Errorf("cut splits a rune: %q", got)
	}
}

func FuzzLabel(f *testing.F) {
	for _, s := range []string{"anna", `a\b`, "Zoë's PC. (2)", "..", "\x00\xff", `\1234`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		label, rest := splitLabel(escapeLabel(s) + "." + service)
		if label != cut(s, maxLabel) || rest != service {
			t.Errorf("%q comes back as %q, %q", s, label, rest)
		}
		splitLabel(s)
	})
}

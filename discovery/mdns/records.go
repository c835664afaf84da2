package mdns

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/discovery/mdns/group"
	"github.com/peerd/peerd/peer"
)

const (
	service = "_peerd._tcp.local."
	metaPTR = "_services._dns-sd._udp.local." // RFC 6763 section 9

	ttlSeconds = 120  // RFC 6762 section 10, for records that hold a host's name
	maxMessage = 1400 // bytes of an announcement: one packet, whatever the network: a lost fragment loses all
	maxText    = 255  // bytes of a TXT string
	maxLabel   = 63   // bytes of a DNS label
	topBit     = 1 << 15
	txtVersion = "1"
)

// self is what this peer says of itself, made of an advert; it never changes.
type self struct {
	id       peer.ID
	label    string // of the instance, as on the wire
	instance string
	host     string
	port     uint16
	facts    []string // TXT strings that always stand
	shares   []string // TXT strings that stand while they fit
}

// newSelf checks an advert and makes its records. Names of hidden shares are dropped even if somebody put them in.
func newSelf(a discovery.Advert, mode Mode) (*self, error) {
	short := peer.Short(a.ID)
	if a.ID == "" || a.Port < 1 || a.Port > 65535 {
		return nil, &peer.Error{Op: "announce", Kind: peer.Usage, Err: fmt.Errorf("an advert needs an ID and a port")}
	}
	suffix := " (" + short[max(0, len(short)-4):] + ")"
	s := &self{id: a.ID, port: uint16(a.Port), label: cut(string(a.Name), maxLabel-len(suffix)) + suffix,
		host: "peerd-" + strings.ToLower(short) + ".local."}
	s.instance = escapeLabel(s.label) + "." + service
	s.add("txtvers", txtVersion)
	s.add("id", a.ID.String())
	s.add("v", cut(a.Version, maxVersion))
	s.add("wg", a.Workgroup)
	s.add("rev", strconv.FormatUint(a.Revision, 10))
	if a.Name != peer.Name(strings.TrimSuffix(s.label, suffix)) {
		s.add("n", string(a.Name)) // the label had no room for it
	}
	if mode != None && a.Count >= 0 {
		s.add("sc", strconv.Itoa(a.Count))
	}
	if mode == Names {
		for _, name := range a.Shares {
			if text := "s" + strconv.Itoa(len(s.shares)) + "=" + name; !strings.HasSuffix(name, "$") && len(text) <= maxText {
				s.shares = append(s.shares, escapeText(text))
			}
		}
	}
	return s, nil
}

func (s *self) add(key, value string) {
	s.facts = append(s.facts, escapeText(cut(key+"="+value, maxText)))
}

// records are PTR, SRV, TXT, A and AAAA as one link may know them: other links' addresses lead nowhere from there. No
// meta PTR is among them: as the last record of a packet it makes every hashicorp/mdns client that waits for answers
// multicast one more question, a storm when many start at once.
func (s *self) records(l group.Link, flush bool) []dns.RR {
	txt := &dns.TXT{Hdr: header(s.instance, dns.TypeTXT, flush), Txt: s.facts}
	list := []dns.RR{
		&dns.PTR{Hdr: header(service, dns.TypePTR, false), Ptr: s.instance},
		&dns.SRV{Hdr: header(s.instance, dns.TypeSRV, flush), Port: s.port, Target: s.host},
		txt,
	}
	for _, v6 := range []bool{false, true} {
		var texts []string
		for _, ip := range l.Addrs(v6) {
			texts = append(texts, ip.String())
			if v6 {
				list = append(list, &dns.AAAA{Hdr: header(s.host, dns.TypeAAAA, flush), AAAA: ip.AsSlice()})
			} else {
				list = append(list, &dns.A{Hdr: header(s.host, dns.TypeA, flush), A: ip.AsSlice()})
			}
		}
		if len(texts) > 0 {
			key := map[bool]string{false: "a4=", true: "a6="}[v6]
			txt.Txt = append(txt.Txt[:len(txt.Txt):len(txt.Txt)], key+strings.Join(texts, ","))
		}
	}
	txt.Txt = append(txt.Txt, s.fitting(response(list...).Len())...)
	return list
}

// fitting gives the share names that a message of so many bytes still has room for, closed by more=1 if not all.
func (s *self) fitting(used int) []string {
	const more = "more=1"
	// Room is kept for what may stand in front: the PTR of a former name and the meta PTR.
	room := maxMessage - used - (1 + len(more)) - 2*(maxLabel+32)
	for i, text := range s.shares {
		if room -= 1 + len(unescape(text)); room < 0 {
			return append(s.shares[:i:i], more)
		}
	}
	return s.shares
}

// farewell is the PTR with no time left to live.
func (s *self) farewell() dns.RR {
	h := header(service, dns.TypePTR, false)
	h.Ttl = 0
	return &dns.PTR{Hdr: h, Ptr: s.instance}
}

func metaRecord() dns.RR {
	return &dns.PTR{Hdr: header(metaPTR, dns.TypePTR, false), Ptr: service}
}

// answer picks the records that answer a question, without regard to letter case. Whoever asks for one is about to ask
// for what it leads to, so that comes along (RFC 6763 section 12).
func (s *self) answer(q dns.Question, l group.Link) []dns.RR {
	fits := func(t uint16) bool { return q.Qtype == t || q.Qtype == dns.TypeANY }
	if sameName(q.Name, metaPTR) && fits(dns.TypePTR) {
		return []dns.RR{metaRecord()}
	}
	all := s.records(l, false)
	var list []dns.RR
	for _, r := range all {
		if sameName(q.Name, r.Header().Name) && fits(r.Header().Rrtype) {
			list = append(list, r)
		}
	}
	switch {
	case len(list) == 0:
		return nil
	case list[0].Header().Rrtype == dns.TypePTR:
		return all
	case q.Qtype == dns.TypeSRV:
		return append(list, all[3:]...)
	}
	return list
}

func header(name string, rrtype uint16, flush bool) dns.RR_Header {
	h := dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttlSeconds}
	if flush {
		h.Class |= topBit
	}
	return h
}

func response(answers ...dns.RR) *dns.Msg {
	return &dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Authoritative: true}, Compress: true, Answer: answers}
}

// question asks all for the instances with these labels, or for everybody.
func question(labels ...string) *dns.Msg {
	m := &dns.Msg{Compress: true}
	for _, label := range labels {
		m.Question = append(m.Question, dns.Question{Name: escapeLabel(label) + "." + service, Qtype: dns.TypeTXT, Qclass: dns.ClassINET})
	}
	if len(labels) == 0 {
		m.Question = []dns.Question{{Name: service, Qtype: dns.TypePTR, Qclass: dns.ClassINET}}
	}
	return m
}

// usableAddr reports whether a peer may have an address: one that leads to itself, on this link or by a router.
func usableAddr(ip netip.Addr, l group.Link) bool {
	return ip.IsValid() && !ip.IsUnspecified() && !ip.IsMulticast() && ip != netip.AddrFrom4([4]byte{255, 255, 255, 255}) &&
		(!ip.IsLoopback() || l.Loopback)
}

package mdns

import (
	"bytes"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/miekg/dns"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/discovery/mdns/group"
	"github.com/peerd/peerd/peer"
)

// Bounds of what one packet may bring.
const (
	maxPacket    = 9000 // RFC 6762 section 17
	maxInstances = 16
	maxVersion   = 32
	minTTL       = 10 * time.Second
)

// packet is what concerns us of one mDNS message.
type packet struct {
	id        uint16
	questions []dns.Question
	known     []string // instance labels that a questioner knows already (RFC 6762 section 7.1)
	heard     []heard
}

// heard is what a packet says of one instance.
type heard struct {
	said  discovery.Sighting // without addresses
	label string             // of the instance, as on the wire
	bye   bool
	addrs []netip.AddrPort // link-local ones with the link as their zone
}

// relevant tells cheaply whether a packet is worth parsing: most on a busy network are of other services.
func relevant(b []byte) bool {
	if len(b) < 12 || b[2]&0x78 != 0 || b[3]&0x0f != 0 { // opcode and response code must be zero, RFC 6762 section 18
		return false
	}
	if b[2]&0x80 != 0 {
		return bytes.Contains(b, []byte("\x06_peerd\x04_tcp"))
	}
	lower := bytes.ToLower(b)
	return bytes.Contains(lower, []byte("peerd")) || bytes.Contains(lower, []byte("_dns-sd"))
}

// parse reads a message received on a link, if it has to do with us. Records that are not ours or not well-formed are
// left out.
func parse(b []byte, l group.Link) (packet, bool) {
	var m dns.Msg
	if !relevant(b) || m.Unpack(b) != nil {
		return packet{}, false
	}
	p := packet{id: m.Id}
	if m.Response {
		p.heard = collect(append(m.Answer, m.Extra...), l)
		return p, true
	}
	p.questions = m.Question[:min(len(m.Question), maxInstances)]
	for _, r := range m.Answer {
		if ptr, ok := r.(*dns.PTR); ok && ptr.Hdr.Ttl >= ttlSeconds/2 && len(p.known) < discovery.MaxPeers {
			if label, ok := instanceOf(ptr.Ptr); ok {
				p.known = append(p.known, label)
			}
		}
	}
	return p, true
}

// instanceOf gives the first label of a name of our service.
func instanceOf(name string) (string, bool) {
	label, rest := splitLabel(name)
	return label, label != "" && strings.EqualFold(rest, service)
}

// parts are the records of one instance.
type parts struct {
	srv *dns.SRV
	txt *dns.TXT
	bye bool
}

// collect puts records together by instance, in order of appearance.
func collect(records []dns.RR, l group.Link) []heard {
	found := map[string]*parts{}
	var order []string
	at := func(name string) *parts {
		label, ok := instanceOf(name)
		if !ok {
			return nil
		}
		if found[label] == nil {
			if len(order) == maxInstances {
				return nil
			}
			found[label] = &parts{}
			order = append(order, label)
		}
		return found[label]
	}
	addrs := map[string][]netip.Addr{}
	for _, r := range records {
		var of *parts
		switch r := r.(type) {
		case *dns.PTR:
			if strings.EqualFold(r.Hdr.Name, service) {
				of = at(r.Ptr)
			}
		case *dns.SRV:
			if of = at(r.Hdr.Name); of != nil {
				of.srv = r
			}
		case *dns.TXT:
			if of = at(r.Hdr.Name); of != nil {
				of.txt = r
			}
		case *dns.A:
			addAddr(addrs, r.Hdr, r.A)
		case *dns.AAAA:
			addAddr(addrs, r.Hdr, r.AAAA)
		}
		if of != nil && r.Header().Ttl == 0 {
			of.bye = true
		}
	}
	var list []heard
	for _, label := range order {
		if h, ok := found[label].read(label, addrs, l); ok {
			list = append(list, h)
		}
	}
	return list
}

func addAddr(addrs map[string][]netip.Addr, h dns.RR_Header, raw []byte) {
	host := strings.ToLower(h.Name)
	if ip, ok := netip.AddrFromSlice(raw); ok && h.Ttl > 0 && len(addrs[host]) < discovery.MaxAddrs {
		addrs[host] = append(addrs[host], ip.Unmap())
	}
}

// read makes sense of the records of one instance, or says that there is none.
func (p *parts) read(label string, addrs map[string][]netip.Addr, l group.Link) (heard, bool) {
	if p.bye {
		return heard{label: label, bye: true}, true
	}
	if p.srv == nil || p.txt == nil {
		return heard{}, false
	}
	ttl := time.Duration(min(p.srv.Hdr.Ttl, p.txt.Hdr.Ttl, ttlSeconds)) * time.Second
	return readInstance(label, int(p.srv.Port), p.txt.Txt, addrs[strings.ToLower(p.srv.Target)], max(ttl, minTTL), l)
}

// readInstance checks everything that an instance says of itself. What makes no peer is dropped whole: no ID of an
// Ed25519 key, no port, no workgroup, no address, or another version of the record.
func readInstance(label string, port int, txt []string, ips []netip.Addr, ttl time.Duration, l group.Link) (heard, bool) {
	h := heard{label: label, said: discovery.Sighting{Way: discovery.MDNS, Count: -1, TTL: ttl}}
	s := &h.said
	version, name := "", ""
	for _, text := range txt {
		key, value, _ := strings.Cut(unescape(text), "=")
		switch key = strings.ToLower(key); key {
		case "txtvers":
			version = value
		case "id":
			s.ID = parseID(value)
		case "v":
			if peer.CheckText(value, maxVersion) == nil {
				s.Version = value
			}
		case "wg":
			if peer.CheckText(value, peer.MaxWorkgroup) == nil {
				s.Workgroup = value
			}
		case "n":
			name = value
		case "a4", "a6":
			for _, t := range strings.SplitN(value, ",", discovery.MaxAddrs+1) {
				if ip, err := netip.ParseAddr(t); err == nil {
					ips = append(ips[:len(ips):len(ips)], ip.Unmap().WithZone(""))
				}
			}
		case "rev":
			s.Revision, _ = strconv.ParseUint(value, 10, 64)
		case "sc":
			if n, err := strconv.ParseUint(value, 10, 31); err == nil {
				s.Count = int(n)
			}
		default:
			if isShareKey(key) && len(s.Shares) < discovery.MaxShares && plausibleShare(value) {
				s.Shares = append(s.Shares, value)
			}
		}
	}
	if name == "" {
		name = stripSuffix(label)
	}
	h.addrs = place(ips, port, l)
	if version != txtVersion || s.ID == "" || s.Workgroup == "" || len(h.addrs) == 0 {
		return heard{}, false
	}
	s.Name = peer.CleanName(name, peer.Name(peer.Short(s.ID)))
	return h, true
}

// parseID reads an ID and drops those that are not the very key: peers have Ed25519 keys and no other.
func parseID(text string) peer.ID {
	id, err := peer.ParseID(text)
	if err != nil {
		return ""
	}
	key, err := id.ExtractPublicKey()
	if err != nil || key.Type() != crypto.Ed25519 {
		return ""
	}
	return id
}

func isShareKey(key string) bool {
	if len(key) < 2 || len(key) > 4 || key[0] != 's' {
		return false
	}
	_, err := strconv.ParseUint(key[1:], 10, 16)
	return err == nil
}

func plausibleShare(name string) bool {
	return peer.CheckText(name, maxLabel) == nil && !strings.ContainsAny(name, `/\`) && !strings.HasSuffix(name, "$")
}

// stripSuffix takes " (id4)" off an instance's label.
func stripSuffix(label string) string {
	if i := strings.LastIndex(label, " ("); i > 0 && strings.HasSuffix(label, ")") {
		return label[:i]
	}
	return label
}

// place keeps the addresses that can be dialled, with the link as the zone of link-local ones, those on the link first.
func place(ips []netip.Addr, port int, l group.Link) []netip.AddrPort {
	if port < 1 || port > 65535 {
		return nil
	}
	var list []netip.AddrPort
	for _, ip := range ips {
		if ip.Is6() && ip.IsLinkLocalUnicast() {
			ip = ip.WithZone(l.Name)
		}
		at := netip.AddrPortFrom(ip, uint16(port))
		if usableAddr(ip, l) && !slices.Contains(list, at) {
			list = append(list, at)
		}
	}
	slices.SortStableFunc(list, func(a, b netip.AddrPort) int { return distance(a.Addr(), l) - distance(b.Addr(), l) })
	return list[:min(len(list), discovery.MaxAddrs)]
}

// distance is small for addresses that are likely to be reached at once, and by no router.
func distance(ip netip.Addr, l group.Link) int {
	switch {
	case !l.Near(ip):
		return 3
	case ip.Is4():
		return 0
	case ip.IsLinkLocalUnicast():
		return 1
	}
	return 2
}

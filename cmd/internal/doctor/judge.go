package doctor

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/peerd/peerd/discovery"
	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

// joinHint is the way out wherever multicast fails.
const joinHint = `call a peer by its address instead: "peerd run --join ADDRESS"`

// maxNamed is how many are named in a text; the rest is counted.
const maxNamed = 4

func one(level control.Level, check, hint, format string, args ...any) []control.Finding {
	return []control.Finding{{Level: level, Check: check, Text: fmt.Sprintf(format, args...), Hint: hint}}
}

func judgeState(e evidence) []control.Finding {
	if e.writable != nil {
		return one(control.Bad, "state", "peerd keeps its key and its shares there: make room, or make the folder writable for your user",
			"the state folder can't be written: %v", e.writable)
	}
	return one(control.OK, "state", "", "the state folder can be written")
}

func judgeFiles(e evidence) []control.Finding {
	switch f := e.files; {
	case f.limit == 0: // there is none
		return nil
	case f.limit-min(f.open, f.limit) < minFiles/8:
		return one(control.Bad, "files", "raise the limit: ulimit -n 65536, or LimitNOFILE= in the service's unit",
			"%d of %d allowed files and connections are open", f.open, f.limit)
	case f.limit < minFiles:
		return one(control.Warn, "files", "raise the limit: ulimit -n 65536, or LimitNOFILE= in the service's unit",
			"only %d files and connections may be open at a time", f.limit)
	default:
		return one(control.OK, "files", "", "%d files and connections may be open, %d are", f.limit, f.open)
	}
}

func judgeListening(e evidence) []control.Finding {
	ips := slices.Clone(e.addrs)
	slices.SortFunc(ips, netip.Addr.Compare)
	ips = slices.Compact(ips)
	outward := slices.DeleteFunc(slices.Clone(ips), netip.Addr.IsLoopback)
	without := func(a netip.Addr) bool { return a.Is4() && a.IsLinkLocalUnicast() }
	v4 := slices.DeleteFunc(slices.Clone(outward), netip.Addr.Is6)
	text := fmt.Sprintf("port %d on %s", e.port, some(ips, netip.Addr.String))
	switch {
	case len(ips) == 0:
		return one(control.Bad, "listen", "connect this computer to a network, or check --listen", "there is no address to be reached at")
	case len(outward) == 0:
		return one(control.Warn, "listen", "connect this computer to a network, or check --listen", "%s: nobody else can reach that", text)
	case len(v4) > 0 && !slices.ContainsFunc(v4, func(a netip.Addr) bool { return !without(a) }):
		return one(control.Warn, "listen", "the router gave out no address (DHCP): check the cable, or connect again", "%s", text)
	case e.port != e.usualPort:
		return one(control.OK, "listen", fmt.Sprintf("a firewall that lets peerd in by its port must let in %d", e.port),
			"%s; the usual port is %d", text, e.usualPort)
	default:
		return one(control.OK, "listen", "", "%s", text)
	}
}

// judgePort looks at the port of multicast DNS, which programs share if they want to.
func judgePort(e evidence) []control.Finding {
	who := strings.Join(e.holders, ", ")
	switch {
	case !e.mdns:
		return nil
	case e.heard.Taken && who == "":
		return one(control.Bad, "port", "find it as root with ss -ulpn 'sport = :5353' and stop it, or "+joinHint,
			"another program has UDP port 5353 for itself, so peers can't be heard")
	case e.heard.Taken:
		return one(control.Bad, "port", "stop it or let it share the port, or "+joinHint,
			"%s has UDP port 5353 for itself, so peers can't be heard", who)
	case who != "":
		return one(control.OK, "port", "", "UDP port 5353 is shared with %s, which is fine", who)
	default:
		return one(control.OK, "port", "", "UDP port 5353 can be used")
	}
}

func judgeMulticast(e evidence) []control.Finding {
	able := multicast(e.links)
	deaf := slices.DeleteFunc(slices.Clone(able), func(l Link) bool { return e.heard.Own[l.Name] })
	byAir := 0 // peers heard
	for _, p := range append(peersOf(e.peers), e.others...) {
		if hasWay(p, discovery.MDNS) {
			byAir++
		}
	}
	bad := func(level control.Level, hint, format string, args ...any) []control.Finding {
		return one(level, "multicast", hint, format, args...)
	}
	switch {
	case !e.mdns && len(e.peers) > 0:
		return bad(control.OK, "", "switched off; peers are known by --join")
	case !e.mdns:
		return bad(control.Warn, "leave out --no-mdns and discovery.mdns = false, or "+joinHint, "switched off, so nobody is found by itself")
	case e.linksErr != nil:
		return bad(control.Bad, "", "the network interfaces can't be listed: %v", e.linksErr)
	case len(e.links) == 0:
		return bad(control.Bad, "plug in the cable or connect to the Wi-Fi", "this computer has no network: no interface is up and has an address")
	case len(able) == 0:
		return bad(control.Bad, joinHint, "no interface can multicast: %s", some(e.links, linkName))
	case e.heard.Taken:
		return nil // the port says it all
	case e.heard.Err != nil:
		return bad(control.Bad, joinHint, "multicast can't be heard: %v", e.heard.Err)
	case len(deaf) == len(able):
		return bad(control.Bad, openHint(e.firewalls, e.port)+"; or "+joinHint,
			"our own announcement does not come back on %s: %s", some(able, linkName), culprit(e.firewalls, "multicast DNS (UDP port 5353)"))
	case len(deaf) > 0:
		return bad(control.Warn, "if there are peers on it, "+joinHint, "our own announcement comes back on some interfaces, but not on %s", some(deaf, linkName))
	case byAir == 0 && e.heard.Others == 0:
		return bad(control.Warn, aloneHint(e), "announcements go out on %s, and nobody else is heard: this computer is alone there, or the network keeps its computers apart",
			some(able, linkName))
	case byAir == 0:
		return bad(control.OK, "start peerd on another computer", "%s heard on %s, none of which runs peerd", computers(e.heard.Others), some(able, linkName))
	default:
		return bad(control.OK, "", "announcements come back on %s, and %s heard", some(able, linkName), were(byAir, "peer"))
	}
}

// aloneHint is what to do when nobody answers although all is well here.
func aloneHint(e evidence) string {
	hint := "guest networks, AP isolation and some switches do that: use another network, or " + joinHint
	if len(e.wireless) > 0 {
		return "on Wi-Fi, " + hint
	}
	return hint
}

// judgeFirewall looks for what drops connections: here, by what comes of peers calling us; at others, by their being
// heard and yet not there.
func judgeFirewall(e evidence) []control.Finding {
	var list []control.Finding
	var through, kept []discovery.Peer
	for _, v := range e.peers {
		switch {
		case v.back == Open:
			through = append(through, v.peer)
		case v.back == Silent, v.back == Refused:
			kept = append(kept, v.peer)
		case v.shutOff():
			list = append(list, one(control.Bad, "firewall", `"peerd doctor" there says how to let peerd in; or the network keeps its computers apart`,
				"%s announces itself but can't be reached: a firewall there drops connections", called(v.peer))...)
		}
	}
	port := fmt.Sprintf("port %d", e.port)
	switch {
	case len(through) > 0 && len(kept) > 0:
		list = append(list, one(control.Warn, "firewall", openHint(e.firewalls, e.port),
			"%s can connect to this computer, but %s can't: %s, for some", some(through, called), some(kept, called), culprit(e.firewalls, port))...)
	case len(through) > 0:
		list = append(list, one(control.OK, "firewall", "", "%s can connect to this computer at %s", some(through, called), port)...)
	case len(kept) > 0:
		list = append(list, one(control.Bad, "firewall", openHint(e.firewalls, e.port),
			"%s can't connect to this computer: %s", some(kept, called), culprit(e.firewalls, port))...)
	case len(e.firewalls) > 0:
		list = append(list, one(control.Warn, "firewall", "if peers can't reach this computer: "+openHint(e.firewalls, e.port),
			"%s is on, and no peer could try whether it lets in %s", some(e.firewalls, firewallName), port)...)
	case len(list) == 0:
		list = append(list, one(control.OK, "firewall", "", "none is seen here, and no peer could try")...)
	}
	return list
}

// shutOff reports whether a peer runs and yet lets nobody in.
func (v visit) shutOff() bool {
	return v.err != nil && v.awake && (v.knock == Silent || v.knock == Refused)
}

func judgePeers(e evidence) []control.Finding {
	var list []control.Finding
	add := func(level control.Level, hint, format string, args ...any) {
		list = append(list, one(level, "peers", hint, format, args...)...)
	}
	var here []discovery.Peer
	for _, v := range e.peers {
		who := called(v.peer)
		switch {
		case v.err == nil:
			here = append(here, v.peer)
		case v.left:
			add(control.OK, "", "%s left just now", who)
		case v.shutOff(): // a matter of firewalls
		case v.knock == Refused:
			add(control.Warn, "start peerd there", "%s is up, but its peerd has ended", who)
		case v.knock == Silent:
			add(control.Warn, "wake it up or switch it on; it is listed until about two minutes after it was last heard",
				"%s was heard %s and does not answer: it is asleep, switched off, or gone", who, ago(v.peer))
		default:
			add(control.Warn, "", "%s takes the connection but does not answer as a peer: %v", who, v.err)
		}
	}
	switch {
	case len(here) > 0 && e.unasked > 0:
		add(control.OK, "", "%s of %s answer, and %d more were not asked", some(here, called), e.workgroup, e.unasked)
	case len(here) > 0:
		add(control.OK, "", "%s of %s %s", some(here, called), peer.Quote(e.workgroup), verb(len(here), "answers", "answer"))
	case len(e.peers) == 0:
		add(control.OK, "", "no peer of %s is known", peer.Quote(e.workgroup))
	}
	return list
}

func judgeWorkgroup(e evidence) []control.Finding {
	groups := make(map[string][]discovery.Peer)
	for _, p := range e.others {
		groups[p.Workgroup] = append(groups[p.Workgroup], p)
	}
	names := slices.Sorted(maps.Keys(groups))
	if len(names) == 0 {
		return nil
	}
	level, hint := control.OK, ""
	if len(e.peers) == 0 {
		level, hint = control.Warn, `to be among them: "peerd run --workgroup NAME", with upper and lower case as there`
	}
	text := some(names, func(name string) string { return fmt.Sprintf("%s (%s)", peer.Quote(name), some(groups[name], called)) })
	return one(level, "workgroup", hint, "this is %s; there are other workgroups: %s", peer.Quote(e.workgroup), text)
}

func judgeClock(e evidence) []control.Finding {
	var list []control.Finding
	asked, off := 0, 0
	for _, v := range e.peers {
		if v.err != nil {
			continue
		}
		asked++
		if v.skew.Abs() <= maxSkew {
			continue
		}
		off++
		way := "ahead of"
		if v.skew < 0 {
			way = "behind"
		}
		list = append(list, one(control.Warn, "clock", "set the clock there or here; until then logins and grants between the two fail",
			"the clock of %s is %v %s ours", called(v.peer), v.skew.Abs().Round(time.Second), way)...)
	}
	switch {
	case off > 1 && off == asked:
		return one(control.Warn, "clock", "set this computer's clock; until then logins and grants fail",
			"this computer's clock differs from all of the %d peers'", asked)
	case off == 0 && asked > 0:
		return one(control.OK, "clock", "", "no peer's clock differs by more than %v", maxSkew)
	}
	return list
}

// culprit says what drops something on its way in.
func culprit(list []Firewall, what string) string {
	if len(list) == 0 {
		return "a firewall on this computer drops " + what + ", or the network does"
	}
	return "the firewall on this computer (" + some(list, firewallName) + ") drops " + what
}

// openHint says how to let peerd in.
func openHint(list []Firewall, port int) string {
	var ways []string
	for _, f := range list {
		switch f {
		case UFW:
			ways = append(ways, fmt.Sprintf("sudo ufw allow %d && sudo ufw allow 5353/udp", port))
		case Firewalld:
			ways = append(ways, fmt.Sprintf("sudo firewall-cmd --add-service=mdns --add-port=%d/tcp --add-port=%d/udp", port, port))
		}
	}
	if len(ways) == 0 {
		return fmt.Sprintf("let in TCP and UDP port %d, and UDP port 5353 for 224.0.0.251 and ff02::fb", port)
	}
	return strings.Join(ways, "; ")
}

// called names a peer for people: its name, and an address to find it by.
func called(p discovery.Peer) string {
	name := peer.Quote(string(p.Name))
	for _, a := range p.Addrs {
		if at, ok := addrPort(a); ok {
			return fmt.Sprintf("%s (%v)", name, at.Addr())
		}
	}
	return name
}

func ago(p discovery.Peer) string {
	if p.Heard.IsZero() {
		return "before"
	}
	return "at " + p.Heard.Local().Format(time.TimeOnly)
}

func hasWay(p discovery.Peer, w discovery.Way) bool { return slices.Contains(p.Ways, w) }

func peersOf(visits []visit) []discovery.Peer {
	list := make([]discovery.Peer, len(visits))
	for i, v := range visits {
		list[i] = v.peer
	}
	return list
}

func linkName(l Link) string         { return l.Name }
func firewallName(f Firewall) string { return string(f) }

// some names the first of a list and counts the rest.
func some[T any](list []T, name func(T) string) string {
	var names []string
	for _, x := range list[:min(len(list), maxNamed)] {
		names = append(names, name(x))
	}
	text := strings.Join(names, ", ")
	if more := len(list) - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func verb(n int, singular, plural string) string {
	if n == 1 {
		return singular
	}
	return plural
}

func were(n int, noun string) string {
	return fmt.Sprintf("%d %s", n, verb(n, noun+" is", noun+"s are"))
}

func computers(n int) string { return were(n, "other computer") }

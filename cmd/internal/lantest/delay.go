//go:build linux

package lantest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// delayRoom is how many packets, of up to 64 KiB, are on their way at most: what comes beyond is lost, as on any line.
const delayRoom = 4096

// Delay has each packet that the host sends or gets on LAN k take that much longer, until the end of the test. This system's
// kernel need not know how (many have no netem): the cable is cut in two, and this process carries packets from one part to the
// other, whole as the kernel has them.
func (h *Host) Delay(k int, d time.Duration) {
	h.lan.t.Helper()
	must, sw := h.lan.must, h.lan.sw
	mid := fmt.Sprintf("d%d.%d", h.index+1, k) // the bridge's side of the cut
	must(sw.ip("link", "set", h.port(k), "nomaster"))
	must(sw.ip("link", "add", mid, "type", "veth", "peer", "name", mid+"x"))
	must(sw.ip("link", "set", mid, "master", bridge(k), "up"))
	must(sw.ip("link", "set", mid+"x", "up"))
	var ends [2]*os.File
	for i, dev := range []string{h.port(k), mid + "x"} {
		must(sw.do(func() (err error) {
			ends[i], err = packets(dev)
			return err
		}))
	}
	var carriers sync.WaitGroup
	for i := range ends {
		carriers.Go(func() { carry(ends[i], ends[1-i], d) })
	}
	h.lan.t.Cleanup(func() {
		for _, f := range ends {
			f.Close()
		}
		carriers.Wait()
	})
}

// packets opens all that comes in at a device, with what the kernel says of it: that keeps large packets whole.
func packets(dev string) (*os.File, error) {
	ifi, err := net.InterfaceByName(dev)
	if err != nil {
		return nil, err
	}
	all := uint16(unix.ETH_P_ALL)
	all = all<<8 | all>>8
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 64<<20),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: ifi.Index}),
	)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), dev), nil
}

// packet is one on its way, with room for what the kernel says of it.
type packet struct {
	due  time.Time
	n    int
	data [66 << 10]byte
}

// carry carries packets from one device to another, until the first is closed.
func carry(from, to *os.File, d time.Duration) {
	under, free := make(chan *packet, delayRoom), make(chan *packet, delayRoom+2)
	var writer sync.WaitGroup
	writer.Go(func() {
		for p := range under {
			time.Sleep(time.Until(p.due))
			_, _ = to.Write(p.data[:p.n]) // one that can't be sent is lost
			free <- p
		}
	})
	p := new(packet)
	for {
		n, err := from.Read(p.data[:])
		if errors.Is(err, os.ErrClosed) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) {
			break
		}
		if err != nil {
			continue
		}
		p.n, p.due = n, time.Now().Add(d)
		select {
		case under <- p:
		default:
			continue // lost
		}
		select {
		case p = <-free: // memory that was used before is had at once
		default:
			p = new(packet)
		}
	}
	close(under)
	writer.Wait()
}

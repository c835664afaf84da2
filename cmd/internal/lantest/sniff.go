//go:build linux

package lantest

import (
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Sniffer keeps the multicast and broadcast frames of one LAN.
type Sniffer struct {
	file *os.File
	done chan struct{}

	mu     sync.Mutex
	frames [][]byte
}

// Sniff keeps, from now on, every frame of LAN k that goes to all, as the switch sees them: link-layer header first. It
// ends with the test, or by [Sniffer.Stop].
func (l *LAN) Sniff(k int) *Sniffer {
	l.t.Helper()
	var fd int
	l.must(l.sw.do(func() error {
		all := int(binary.BigEndian.Uint16([]byte{unix.ETH_P_ALL & 0xff, unix.ETH_P_ALL >> 8})) // network order
		var err error
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, all); err != nil {
			return os.NewSyscallError("socket", err)
		}
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20) // best effort: bursts of many hosts
		index, err := ifindex(fd, bridge(k))
		if err != nil {
			return err
		}
		return os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: uint16(all), Ifindex: index}))
	}))
	s := &Sniffer{file: os.NewFile(uintptr(fd), "sniffer"), done: make(chan struct{})}
	go s.read()
	l.t.Cleanup(s.Stop)
	return s
}

func ifindex(fd int, name string) (int, error) {
	req, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req); err != nil {
		return 0, os.NewSyscallError("ioctl", err)
	}
	return int(req.Uint32()), nil
}

func (s *Sniffer) read() {
	defer close(s.done)
	buf := make([]byte, 64<<10)
	for {
		n, err := s.file.Read(buf)
		if errors.Is(err, syscall.ENETDOWN) {
			continue
		}
		if err != nil {
			return
		}
		s.mu.Lock()
		s.frames = append(s.frames, slices.Clone(buf[:n]))
		s.mu.Unlock()
	}
}

// Stop ends the sniffing; what was kept stays.
func (s *Sniffer) Stop() {
	s.file.Close()
	<-s.done
}

// Frames are those kept so far.
func (s *Sniffer) Frames() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.frames)
}

// UDP gives the payloads of the frames sent to a UDP port, over IPv4 without options or IPv6 without extensions.
func (s *Sniffer) UDP(port uint16) [][]byte {
	const ethernet, udp = 14, 8
	var payloads [][]byte
	for _, f := range s.Frames() {
		if len(f) < ethernet+40+udp && len(f) < ethernet+20+udp {
			continue
		}
		packet := f[ethernet:]
		header, protocol := 20, packet[9]
		if packet[0]>>4 == 6 {
			header, protocol = 40, packet[6]
		}
		if protocol == unix.IPPROTO_UDP && len(packet) >= header+udp && binary.BigEndian.Uint16(packet[header+2:]) == port {
			payloads = append(payloads, packet[header+udp:])
		}
	}
	return payloads
}

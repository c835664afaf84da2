package secure

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// kernelWatches is set where the kernel ends a connection of which the other side does not answer in time.
const kernelWatches = true

// watch lets the kernel end a TCP connection when what was sent stays unacknowledged for so long (TCP_USER_TIMEOUT, RFC
// 5482), and probe it when nothing is sent. Only then does a slow path not look like a dead one.
//
// It also lets a close deliver what was written before: go-libp2p's transport sets connections to be reset instead.
func watch(c net.Conn, deadAfter time.Duration) {
	tcp, ok := c.(interface {
		SyscallConn() (syscall.RawConn, error)
		SetKeepAliveConfig(net.KeepAliveConfig) error
		SetLinger(int) error
	})
	if !ok {
		return
	}
	// Each may fail on a connection that is already gone, which the handshake will find out.
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: deadAfter / 3, Interval: deadAfter / 3, Count: 3})
	_ = tcp.SetLinger(-1)
	if raw, err := tcp.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadAfter.Milliseconds()))
		})
	}
}

// wakeFrom has the kernel wake a reader once n bytes are there, or the connection ended (socket(7), SO_RCVLOWAT).
func wakeFrom(c net.Conn, n int) {
	tcp, ok := c.(interface {
		SyscallConn() (syscall.RawConn, error)
	})
	if !ok {
		return
	}
	if raw, err := tcp.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, n)
		})
	}
}

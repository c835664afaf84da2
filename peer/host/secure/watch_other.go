//go:build !linux

package secure

import (
	"net"
	"time"
)

// kernelWatches is set where the kernel ends a connection of which the other side does not answer in time.
const kernelWatches = false

// watch has the kernel probe a TCP connection on which nothing is sent; yamux pings it besides. It also lets a close
// deliver what was written before: go-libp2p's transport sets connections to be reset instead.
func watch(c net.Conn, deadAfter time.Duration) {
	if tcp, ok := c.(interface {
		SetKeepAliveConfig(net.KeepAliveConfig) error
		SetLinger(int) error
	}); ok {
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: deadAfter / 3, Interval: deadAfter / 3, Count: 3})
		_ = tcp.SetLinger(-1)
	}
}

// wakeFrom does nothing here: readers wake with every packet.
func wakeFrom(net.Conn, int) {}

package host

import (
	"context"
	"fmt"
	"net"
	"time"

	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	manet "github.com/multiformats/go-multiaddr/net"
	msmux "github.com/multiformats/go-multistream"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/host/book"
)

// Identify finds out who answers at a TCP address of which no ID is known yet, by a TLS handshake that it ends right
// after. Nothing is kept of it.
func (h *Host) Identify(ctx context.Context, addr peer.Addr) (peer.ID, error) {
	fail := func(err error) (peer.ID, error) {
		return "", &peer.Error{Op: "connect", Path: addr.String(), Kind: peer.Unreachable, Err: explain(err), Hint: `run "peerd doctor"`}
	}
	if book.KindOf(addr) != book.TCP || !h.gate.Allows(addr) {
		return fail(fmt.Errorf("not an address to connect to"))
	}
	ctx, cancel := context.WithTimeout(ctx, h.cfg.DialTimeout)
	defer cancel()
	network, where, err := manet.DialArgs(addr)
	if err != nil {
		return fail(err)
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, where)
	if err != nil {
		return fail(err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return fail(err)
		}
	}
	if _, err := msmux.SelectOneOf([]string{libp2ptls.ID}, conn); err != nil {
		return fail(err)
	}
	tls, err := libp2ptls.New(libp2ptls.ID, h.cfg.Key, nil)
	if err != nil {
		return fail(err)
	}
	secure, err := tls.SecureOutbound(ctx, conn, "")
	if err != nil {
		return fail(err)
	}
	defer secure.Close()
	_ = secure.SetDeadline(time.Now())
	return secure.RemotePeer(), nil
}

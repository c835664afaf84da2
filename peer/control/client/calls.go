package client

import (
	"context"
	"iter"

	"github.com/peerd/peerd/peer/control"
)

// The calls, each documented at [control.Backend].

type none struct{}

// Status asks for the state of this peer.
func (c *Client) Status(ctx context.Context) (control.Status, error) {
	return ask[control.Status](ctx, c, control.VerbStatus, none{})
}

// Peers asks for the others of the workgroup.
func (c *Client) Peers(ctx context.Context, each bool) ([]control.Peer, error) {
	return ask[[]control.Peer](ctx, c, control.VerbPeers, control.PeersRequest{Ask: each})
}

// WatchPeers yields the workgroup and its changes until ctx ends.
func (c *Client) WatchPeers(ctx context.Context) iter.Seq2[control.PeerEvent, error] {
	return stream[control.PeerEvent](ctx, c, control.VerbWatchPeers, none{})
}

// Doctor yields what an examination finds.
func (c *Client) Doctor(ctx context.Context) iter.Seq2[control.Finding, error] {
	return stream[control.Finding](ctx, c, control.VerbDoctor, none{})
}

// List yields peers, shares, or the entries of a folder.
func (c *Client) List(ctx context.Context, ref control.Ref, recursive bool) iter.Seq2[control.Entry, error] {
	return stream[control.Entry](ctx, c, control.VerbList, control.ListRequest{Ref: ref, Recursive: recursive})
}

// Stat tells of one thing.
func (c *Client) Stat(ctx context.Context, ref control.Ref) (control.Entry, error) {
	return ask[control.Entry](ctx, c, control.VerbStat, control.RefRequest{Ref: ref})
}

// Find yields what has a matching name.
func (c *Client) Find(ctx context.Context, ref control.Ref, pattern string) iter.Seq2[control.Entry, error] {
	return stream[control.Entry](ctx, c, control.VerbFind, control.FindRequest{Ref: ref, Pattern: pattern})
}

// Copy brings files here.
func (c *Client) Copy(ctx context.Context, req control.CopyRequest, event func(control.CopyEvent)) error {
	for e, err := range stream[control.CopyEvent](ctx, c, control.VerbCopy, req) {
		if err != nil {
			return err
		}
		event(e)
	}
	return nil
}

// Login proves the knowledge of a password.
func (c *Client) Login(ctx context.Context, ref control.Ref, password string) (control.Login, error) {
	return ask[control.Login](ctx, c, control.VerbLogin, control.LoginRequest{Ref: ref, Password: password})
}

// Logout forgets a login.
func (c *Client) Logout(ctx context.Context, ref control.Ref) error {
	_, err := ask[none](ctx, c, control.VerbLogout, control.RefRequest{Ref: ref})
	return err
}

// Whoami says what right this peer holds.
func (c *Client) Whoami(ctx context.Context, ref control.Ref) (control.Login, error) {
	return ask[control.Login](ctx, c, control.VerbWhoami, control.RefRequest{Ref: ref})
}

// ShareList asks for the folders that this peer offers.
func (c *Client) ShareList(ctx context.Context) ([]control.Share, error) {
	return ask[[]control.Share](ctx, c, control.VerbShareList, none{})
}

// ShareAdd offers a folder.
func (c *Client) ShareAdd(ctx context.Context, add control.ShareAdd) (control.Share, error) {
	return ask[control.Share](ctx, c, control.VerbShareAdd, add)
}

// ShareSet changes a share.
func (c *Client) ShareSet(ctx context.Context, name string, set control.ShareSet) (control.Share, error) {
	return ask[control.Share](ctx, c, control.VerbShareSet, control.SetRequest{Name: name, Set: set})
}

// ShareRemove takes a share away.
func (c *Client) ShareRemove(ctx context.Context, name string) error {
	_, err := ask[none](ctx, c, control.VerbShareRemove, control.NameRequest{Name: name})
	return err
}

// SharePasswd sets the password for a right.
func (c *Client) SharePasswd(ctx context.Context, name string, right control.Right, password string) error {
	_, err := ask[none](ctx, c, control.VerbSharePasswd, control.PasswdRequest{Name: name, Right: right, Password: password})
	return err
}

// GeneratePassword asks for a fresh password.
func (c *Client) GeneratePassword(ctx context.Context) (string, error) {
	answer, err := ask[control.PasswordAnswer](ctx, c, control.VerbGeneratePassword, none{})
	return answer.Password, err
}

// ShareAllow gives a peer a right without a password.
func (c *Client) ShareAllow(ctx context.Context, name, peer string, right control.Right) (control.Share, error) {
	return ask[control.Share](ctx, c, control.VerbShareAllow, control.DeviceRequest{Name: name, Peer: peer, Right: right})
}

// ShareDeny refuses a peer, or does so no more.
func (c *Client) ShareDeny(ctx context.Context, name, peer string, deny bool) (control.Share, error) {
	return ask[control.Share](ctx, c, control.VerbShareDeny, control.DeviceRequest{Name: name, Peer: peer, Undo: !deny})
}

// ShareResume ends a suspension.
func (c *Client) ShareResume(ctx context.Context, name, peer string) (control.Share, error) {
	return ask[control.Share](ctx, c, control.VerbShareResume, control.DeviceRequest{Name: name, Peer: peer})
}

// Block blocks a peer, or does so no more.
func (c *Client) Block(ctx context.Context, peer string, block bool) (control.Device, error) {
	return ask[control.Device](ctx, c, control.VerbBlock, control.DeviceRequest{Peer: peer, Undo: !block})
}

// Blocked asks for the peers that are blocked.
func (c *Client) Blocked(ctx context.Context) ([]control.Device, error) {
	return ask[[]control.Device](ctx, c, control.VerbBlocked, none{})
}

// Mount asks for a part of the workgroup to be a folder.
func (c *Client) Mount(ctx context.Context, req control.MountRequest) (control.Mount, error) {
	return ask[control.Mount](ctx, c, control.VerbMount, req)
}

// Unmount takes a mount away.
func (c *Client) Unmount(ctx context.Context, dir string) error {
	_, err := ask[none](ctx, c, control.VerbUnmount, control.UnmountRequest{Dir: dir})
	return err
}

// MountList asks for what is mounted.
func (c *Client) MountList(ctx context.Context) (control.MountList, error) {
	return ask[control.MountList](ctx, c, control.VerbMountList, none{})
}

// Webdav has a part of the workgroup served until ctx ends.
func (c *Client) Webdav(ctx context.Context, req control.WebdavRequest) iter.Seq2[control.Webdav, error] {
	return stream[control.Webdav](ctx, c, control.VerbWebdav, req)
}

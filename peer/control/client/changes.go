package client

import (
	"context"
	"iter"

	"github.com/peerd/peerd/peer/control"
)

// WatchFiles yields what changes below ref until ctx ends.
func (c *Client) WatchFiles(ctx context.Context, ref control.Ref) iter.Seq2[control.FileEvent, error] {
	return stream[control.FileEvent](ctx, c, control.VerbWatchFiles, control.RefRequest{Ref: ref})
}

// Remove removes files and folders.
func (c *Client) Remove(ctx context.Context, refs []control.Ref, recursive bool) iter.Seq2[control.Change, error] {
	return stream[control.Change](ctx, c, control.VerbRemove, control.RemoveRequest{Refs: refs, Recursive: recursive})
}

// Move moves or renames files and folders.
func (c *Client) Move(ctx context.Context, req control.MoveRequest) iter.Seq2[control.Change, error] {
	return stream[control.Change](ctx, c, control.VerbMove, req)
}

// Mkdir makes a folder.
func (c *Client) Mkdir(ctx context.Context, ref control.Ref, parents bool) error {
	_, err := ask[none](ctx, c, control.VerbMkdir, control.MkdirRequest{Ref: ref, Parents: parents})
	return err
}

// Versions yields the versions that are kept.
func (c *Client) Versions(ctx context.Context, ref control.Ref, recursive bool) iter.Seq2[control.Version, error] {
	return stream[control.Version](ctx, c, control.VerbVersions, control.ListRequest{Ref: ref, Recursive: recursive})
}

// Restore puts a version back.
func (c *Client) Restore(ctx context.Context, req control.RestoreRequest) (control.Change, error) {
	return ask[control.Change](ctx, c, control.VerbRestore, req)
}

// Lock tells all that this peer works on a file, until ctx ends.
func (c *Client) Lock(ctx context.Context, ref control.Ref) iter.Seq2[control.FileLock, error] {
	return stream[control.FileLock](ctx, c, control.VerbLock, control.RefRequest{Ref: ref})
}

// Undo puts back what a peer changed.
func (c *Client) Undo(ctx context.Context, req control.UndoRequest) iter.Seq2[control.Change, error] {
	return stream[control.Change](ctx, c, control.VerbUndo, req)
}

// AuditRecords yields what the audit holds.
func (c *Client) AuditRecords(ctx context.Context, filter control.AuditFilter) iter.Seq2[control.AuditRecord, error] {
	return stream[control.AuditRecord](ctx, c, control.VerbAuditRecords, filter)
}

// AuditVerify looks at all of the audit.
func (c *Client) AuditVerify(ctx context.Context) (control.AuditReport, error) {
	return ask[control.AuditReport](ctx, c, control.VerbAuditVerify, none{})
}

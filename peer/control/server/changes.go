package server

import (
	"context"
	"iter"
	"net/http"

	"github.com/peerd/peerd/peer/control"
)

// changes registers the verbs that change what lies in shares, and those that tell of changes.
func changes(mux *http.ServeMux, b control.Backend) {
	type none struct{}
	stream(mux, control.VerbWatchFiles, 0, func(ctx context.Context, r control.RefRequest) iter.Seq2[control.FileEvent, error] {
		return b.WatchFiles(ctx, r.Ref)
	})
	stream(mux, control.VerbRemove, flushEvery, func(ctx context.Context, r control.RemoveRequest) iter.Seq2[control.Change, error] {
		return b.Remove(ctx, r.Refs, r.Recursive)
	})
	stream(mux, control.VerbMove, flushEvery, func(ctx context.Context, r control.MoveRequest) iter.Seq2[control.Change, error] {
		return b.Move(ctx, r)
	})
	answer(mux, control.VerbMkdir, func(ctx context.Context, r control.MkdirRequest) (none, error) {
		return none{}, b.Mkdir(ctx, r.Ref, r.Parents)
	})
	stream(mux, control.VerbVersions, flushEvery, func(ctx context.Context, r control.ListRequest) iter.Seq2[control.Version, error] {
		return b.Versions(ctx, r.Ref, r.Recursive)
	})
	answer(mux, control.VerbRestore, b.Restore)
	stream(mux, control.VerbLock, 0, func(ctx context.Context, r control.RefRequest) iter.Seq2[control.FileLock, error] {
		return b.Lock(ctx, r.Ref)
	})
	stream(mux, control.VerbUndo, flushEvery, func(ctx context.Context, r control.UndoRequest) iter.Seq2[control.Change, error] {
		return b.Undo(ctx, r)
	})
	stream(mux, control.VerbAuditRecords, flushEvery, func(ctx context.Context, r control.AuditFilter) iter.Seq2[control.AuditRecord, error] {
		return b.AuditRecords(ctx, r)
	})
	answer(mux, control.VerbAuditVerify, func(ctx context.Context, _ none) (control.AuditReport, error) { return b.AuditVerify(ctx) })
}

package vfs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share/vfs/content"
)

// What a face must tell apart beyond the kind of an error; errors.Is finds them in the errors of an [FS].
var (
	ErrReadOnly   = errors.New("only reading is permitted")
	ErrNotEmpty   = errors.New("the folder is not empty")
	ErrIsDir      = errors.New("it is a folder")
	ErrNotDir     = errors.New("it is no folder")
	ErrExists     = errors.New("it is there already")
	ErrAlike      = errors.New("another name is there, which many systems take for the same")
	ErrQuota      = errors.New("the share may hold no more")
	ErrFull       = errors.New("no room is left")
	ErrTooLong    = errors.New("the name is too long")
	ErrName       = errors.New("no peer may give such a name")
	ErrLocal      = errors.New("only what is in a share can be changed")
	ErrCrossShare = errors.New("it lies in another share")
	ErrClosed     = errors.New("it is closed")
)

// kindOf is the kind of the error that each of those comes in.
var kindOf = map[error]peer.Kind{
	ErrReadOnly: peer.Denied, ErrNotEmpty: peer.Conflict, ErrIsDir: peer.Usage, ErrNotDir: peer.Usage, ErrExists: peer.Conflict,
	ErrAlike: peer.Conflict, ErrQuota: peer.Full, ErrFull: peer.Full, ErrTooLong: peer.Usage, ErrName: peer.Usage, ErrLocal: peer.Denied,
	ErrCrossShare: peer.Usage, ErrClosed: peer.Usage,
}

// fail is one of the errors above, of what stands at a path.
func fail(op, path string, err error) error {
	return &peer.Error{Op: op, Path: path, Kind: kindOf[err], Err: err}
}

func notFound(op, path string) error { return &peer.Error{Op: op, Path: path, Kind: peer.NotFound} }

func unreachable(op, path string, err error) error {
	return &peer.Error{Op: op, Path: path, Kind: peer.Unreachable, Err: err, Hint: `run "peerd doctor"`}
}

// denied is the error of a right that is there no more.
func denied(op, path string) error {
	return &peer.Error{Op: op, Path: path, Kind: peer.Denied, Hint: `run "peerd login ` + path + `"`}
}

// errCut is of what was saved and not synced when the computer went down; errNameless is of what was saved when what says where it
// belongs can't be read any more.
var (
	errCut      = errors.New("its end was lost when this computer went down, so its owner does not get it")
	errNameless = errors.New("the journal was damaged on this computer's disk: where this belongs is not known any more, so no owner gets it")
)

var errSilent = errors.New("no answer in time")

// located gives an error an operation and a path if it has none. What its own deadline ended is of kind peer.Unreachable; what
// the caller ended is context.Canceled.
func located(ctx context.Context, op, path string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return unreachable(op, path, errSilent)
	}
	if ctx.Err() != nil {
		return &peer.Error{Op: op, Path: path, Kind: peer.KindOf(ctx.Err()), Err: ctx.Err()}
	}
	var e *peer.Error
	if !errors.As(err, &e) {
		return &peer.Error{Op: op, Path: path, Kind: peer.KindOf(err), Err: err}
	}
	if e.Kind == peer.Full && !errors.Is(err, ErrFull) && !errors.Is(err, ErrQuota) {
		why := ErrFull
		if strings.Contains(e.Hint, "quota") {
			why = ErrQuota
		}
		return &peer.Error{Op: op, Path: path, Kind: peer.Full, Err: fmt.Errorf("%w: %w", why, err), Hint: e.Hint}
	}
	return err
}

// onDisk is an error of this computer's disk.
func onDisk(op, path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, content.ErrFull):
		return &peer.Error{Op: op, Path: path, Kind: peer.Full, Err: fmt.Errorf("%w: %w", ErrFull, err), Hint: "what waits here for its owners takes it"}
	}
	return &peer.Error{Op: op, Path: path, Kind: peer.KindOf(err), Err: err}
}

package control

import (
	"errors"
	"net/http"

	"github.com/peerd/peerd/peer"
)

// Error is the JSON form of a [peer.Error].
type Error struct {
	Kind string `json:"kind"` // failed, usage, not-found, denied, unreachable, conflict, not-running, integrity, busy, full
	Op   string `json:"op,omitempty"`
	Path string `json:"path,omitempty"`
	Text string `json:"text,omitempty"` // the cause
	Hint string `json:"hint,omitempty"`
}

// kinds is the one table between kinds, their words in JSON, and HTTP status codes.
func kinds() []kindRow {
	return []kindRow{
		{peer.Other, "failed", http.StatusInternalServerError},
		{peer.Usage, "usage", http.StatusBadRequest},
		{peer.NotFound, "not-found", http.StatusNotFound},
		{peer.Denied, "denied", http.StatusForbidden},
		{peer.Unreachable, "unreachable", http.StatusBadGateway},
		{peer.Conflict, "conflict", http.StatusConflict},
		{peer.NotRunning, "not-running", http.StatusServiceUnavailable},
		{peer.Integrity, "integrity", http.StatusUnprocessableEntity},
		{peer.Busy, "busy", http.StatusTooManyRequests},
		{peer.Full, "full", http.StatusInsufficientStorage},
	}
}

type kindRow struct {
	kind   peer.Kind
	word   string
	status int
}

// FromError makes the JSON form of an error; nil stays nil.
func FromError(err error) *Error {
	if err == nil {
		return nil
	}
	out := &Error{Kind: "failed", Text: err.Error()}
	var e *peer.Error
	if errors.As(err, &e) && e.Error() == err.Error() { // a wrapper with words of its own keeps them
		out.Op, out.Path, out.Hint, out.Text = e.Op, e.Path, e.Hint, ""
		if e.Err != nil {
			out.Text = e.Err.Error()
		}
	}
	kind := peer.KindOf(err)
	for _, row := range kinds() {
		if row.kind == kind {
			out.Kind = row.word
		}
	}
	return out
}

// Err is the [peer.Error] that e stands for; nil stays nil.
func (e *Error) Err() error {
	if e == nil {
		return nil
	}
	out := &peer.Error{Op: e.Op, Path: e.Path, Hint: e.Hint}
	if e.Text != "" {
		out.Err = errors.New(e.Text)
	}
	for _, row := range kinds() {
		if row.word == e.Kind {
			out.Kind = row.kind
		}
	}
	return out
}

// HTTPStatus is the status code of an answer that is this error.
func (e *Error) HTTPStatus() int {
	for _, row := range kinds() {
		if row.word == e.Kind {
			return row.status
		}
	}
	return http.StatusInternalServerError
}

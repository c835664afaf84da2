// Package client is a [control.Backend] that asks a running peerd over its Unix socket.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"syscall"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/control"
)

// dialTimeout bounds the connecting: the daemon is on this computer.
const dialTimeout = 5 * time.Second

// Client talks to one daemon. It may be used by several goroutines.
type Client struct {
	socket string
	http   http.Client
}

var _ control.Backend = (*Client)(nil)

// New makes a client for the daemon that listens on socket. It does not connect yet.
func New(socket string) *Client {
	c := &Client{socket: socket}
	c.http.Transport = &http.Transport{
		DialContext:        c.dial,
		DisableCompression: true,
		IdleConnTimeout:    10 * time.Second,
	}
	return c
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func (c *Client) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if err := control.CheckSocketDir(filepath.Dir(c.socket), true); err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	return dialer.DialContext(ctx, "unix", c.socket)
}

// post sends a request and returns an answer with status 200; every other one is an error.
func (c *Client) post(ctx context.Context, verb control.Verb, body any) (*http.Response, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("ask the daemon: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+control.Host+verb.Path(), bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("ask the daemon: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.lost(ctx, err)
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	if kind := res.Header.Get("Content-Type"); kind == "application/json" {
		var e control.Error
		if err := json.NewDecoder(io.LimitReader(res.Body, control.MaxBody)).Decode(&e); err == nil {
			return nil, e.Err()
		}
	}
	return nil, &peer.Error{Op: string(verb), Kind: peer.Other, Err: fmt.Errorf("the daemon answered %s", res.Status),
		Hint: "daemon and command may be of different versions: restart the daemon"}
}

// lost says why there is no answer: nobody listens, the command was stopped, or the daemon went away.
func (c *Client) lost(ctx context.Context, err error) error {
	var known *peer.Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return &peer.Error{Path: c.socket, Kind: peer.NotRunning, Err: errors.New("peerd is not running"), Hint: `start it with "peerd"`}
	case errors.As(err, &known):
		return known
	case errors.Is(err, fs.ErrPermission):
		return &peer.Error{Path: c.socket, Kind: peer.Denied, Err: errors.New("the control socket belongs to another user")}
	}
	var broken *net.OpError
	if errors.As(err, &broken) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &peer.Error{Path: c.socket, Kind: peer.NotRunning, Err: errors.New("peerd stopped in between"), Hint: `start it with "peerd" and try again`}
	}
	return &peer.Error{Path: c.socket, Kind: peer.Other, Err: err}
}

// ask makes a call with one answer.
func ask[Res any](ctx context.Context, c *Client, verb control.Verb, body any) (Res, error) {
	var out Res
	res, err := c.post(ctx, verb, body)
	if err != nil {
		return out, err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		return out, c.lost(ctx, err)
	}
	return out, nil
}

// stream makes a call with many answers.
func stream[Item any](ctx context.Context, c *Client, verb control.Verb, body any) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		var none Item
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		res, err := c.post(ctx, verb, body)
		if err != nil {
			yield(none, err)
			return
		}
		defer res.Body.Close()
		for in := json.NewDecoder(res.Body); ; {
			var line control.Line[Item]
			switch err := in.Decode(&line); {
			case err != nil:
				yield(none, c.lost(ctx, err))
				return
			case line.Error != nil:
				yield(none, line.Error.Err())
				return
			case line.Done:
				return
			case line.Item != nil && !yield(*line.Item, nil):
				return
			}
		}
	}
}

// Cat writes what the daemon sends, see [control.Files].
func (c *Client) Cat(ctx context.Context, ref control.Ref, offset, length int64, w io.Writer) error {
	res, err := c.post(ctx, control.VerbCat, control.CatRequest{Ref: ref, Offset: offset, Length: length})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body := &source{r: res.Body}
	if _, err := io.Copy(w, body); err != nil {
		if body.err != nil {
			return c.lost(ctx, err)
		}
		return err
	}
	if text := res.Trailer.Get(control.ErrorTrailer); text != "" {
		var e control.Error
		if raw, err := url.PathUnescape(text); err != nil || json.Unmarshal([]byte(raw), &e) != nil {
			return &peer.Error{Path: ref.String(), Kind: peer.Other, Err: errors.New("the daemon's answer is cut off")}
		}
		return e.Err()
	}
	return nil
}

// source remembers whether reading failed, which [io.Copy] does not tell from writing.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

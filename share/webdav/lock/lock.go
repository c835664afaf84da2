// Package lock keeps the locks of WebDAV (RFC 4918, sections 6 and 7) and reads the header by which clients show that they hold
// them. It has no clock: callers pass the time.
package lock

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
)

// Lock is a write lock. It says what others of this face may do, and nothing to whoever changes files by another way.
type Lock struct {
	Token   string   // a URI; unguessable, made by the caller
	Root    []string // the path that was locked
	Deep    bool     // all below Root is locked as well
	Shared  bool     // others may hold a shared lock beside it
	Owner   []byte   // XML that the client wants to be shown to others, well-formed by itself; may be nil
	Timeout time.Duration
	Expires time.Time
}

// The errors of a Table.
var (
	ErrFull = errors.New("there are too many locks")
	ErrGone = errors.New("no such lock")
)

// Held is the error of who may not change a thing, or lock it, because of a lock.
type Held struct{ By Lock }

func (h *Held) Error() string { return "it is locked" }

// Limits beside the number of locks: of shared ones at one place, each of which is told of with all that lies below, and of the
// bytes that they take, of which clients give most.
const (
	maxShared = 16
	maxBytes  = 4 << 20
)

// Table holds the locks of one tree. It is safe for concurrent use.
type Table struct {
	limit int

	mu     sync.Mutex
	byRoot map[string][]Lock // by the joined path
	count  int
	bytes  int
}

// NewTable makes a table that holds at most limit locks.
func NewTable(limit int) *Table { return &Table{limit: limit, byRoot: map[string][]Lock{}} }

// size is about how many bytes a lock takes.
func (l Lock) size() int { return len(key(l.Root)) + len(l.Token) + len(l.Owner) + 256 }

// key joins a path; no component holds a slash. It ends in one, so that a key is the beginning of those below it, and of no other.
func key(path []string) string {
	if len(path) == 0 {
		return ""
	}
	return strings.Join(path, "/") + "/"
}

// Add sets a lock that ends after its Timeout. The error is a *[Held] if another stands against it, or [ErrFull].
func (t *Table) Add(now time.Time, l Lock) (Lock, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(now)
	against := t.coveringLocked(now, l.Root)
	if l.Deep {
		against = append(against, t.belowLocked(l.Root)...)
	}
	for _, other := range against {
		if !l.Shared || !other.Shared {
			return Lock{}, &Held{By: other}
		}
	}
	k := key(l.Root)
	if t.count >= t.limit || len(t.byRoot[k]) >= maxShared || t.bytes+l.size() > maxBytes {
		return Lock{}, ErrFull
	}
	l.Expires = now.Add(l.Timeout)
	t.byRoot[k] = append(t.byRoot[k], l)
	t.count++
	t.bytes += l.size()
	return l, nil
}

// Refresh starts the time of a lock that covers path anew. The error is [ErrGone] if there is none of this token.
func (t *Table) Refresh(now time.Time, path []string, token string, timeout time.Duration) (Lock, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.findLocked(now, path, token)
	if l == nil {
		return Lock{}, ErrGone
	}
	l.Timeout, l.Expires = timeout, now.Add(timeout)
	return *l, nil
}

// Has reports whether a lock of a token covers path.
func (t *Table) Has(now time.Time, path []string, token string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.findLocked(now, path, token) != nil
}

// Remove ends a lock that covers path. The error is [ErrGone] if there is none of this token.
func (t *Table) Remove(now time.Time, path []string, token string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.findLocked(now, path, token)
	if l == nil {
		return ErrGone
	}
	t.keepLocked(key(l.Root), func(other Lock) bool { return other.Token != token })
	return nil
}

// Drop ends all locks below a path, whose resources are no more; with root those at the path itself as well.
func (t *Table) Drop(path []string, root bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	under := key(path)
	for k := range t.byRoot {
		if strings.HasPrefix(k, under) && (root || k != under) {
			t.keepLocked(k, func(Lock) bool { return false })
		}
	}
}

// Covering gives the locks that a path is in the scope of.
func (t *Table) Covering(now time.Time, path []string) []Lock {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.coveringLocked(now, path)
}

// Check says whether who holds the tokens may change what is at path and, if deep, all below it. The error is a *[Held]. Of shared
// locks at one place one token is enough.
func (t *Table) Check(now time.Time, path []string, deep bool, tokens []string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(now)
	locks := t.coveringLocked(now, path)
	if deep {
		locks = append(locks, t.belowLocked(path)...)
	}
	mine := func(l Lock) bool { return slices.Contains(tokens, l.Token) }
	for _, l := range locks {
		if !slices.ContainsFunc(t.byRoot[key(l.Root)], mine) {
			return &Held{By: l}
		}
	}
	return nil
}

// findLocked gives the lock of a token that covers path, or nil. It is valid until the table changes.
func (t *Table) findLocked(now time.Time, path []string, token string) *Lock {
	for _, l := range t.coveringLocked(now, path) {
		if l.Token == token {
			at := t.byRoot[key(l.Root)]
			return &at[slices.IndexFunc(at, func(l Lock) bool { return l.Token == token })]
		}
	}
	return nil
}

func (t *Table) coveringLocked(now time.Time, path []string) (out []Lock) {
	if t.count == 0 {
		return nil
	}
	for i := range len(path) + 1 {
		for _, l := range t.byRoot[key(path[:i])] {
			if (l.Deep || i == len(path)) && now.Before(l.Expires) {
				out = append(out, l)
			}
		}
	}
	return out
}

// belowLocked gives the locks whose roots lie below a path.
func (t *Table) belowLocked(path []string) (out []Lock) {
	under := key(path)
	for k, locks := range t.byRoot {
		if k != under && strings.HasPrefix(k, under) {
			out = append(out, locks...)
		}
	}
	return out
}

func (t *Table) expire(now time.Time) {
	for k := range t.byRoot {
		t.keepLocked(k, func(l Lock) bool { return now.Before(l.Expires) })
	}
}

// keepLocked removes the locks of a place that are not to be kept.
func (t *Table) keepLocked(k string, keep func(Lock) bool) {
	left := slices.DeleteFunc(t.byRoot[k], func(l Lock) bool {
		if keep(l) {
			return false
		}
		t.bytes -= l.size()
		return true
	})
	t.count -= len(t.byRoot[k]) - len(left)
	t.byRoot[k] = left
	if len(left) == 0 {
		delete(t.byRoot, k)
	}
}

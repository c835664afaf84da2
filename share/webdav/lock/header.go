package lock

import (
	"errors"
	"strings"
	"time"
)

// If is a parsed If header (RFC 4918, section 10.4): it holds if one of its lists does. The nil If holds.
type If []List

// List is a list of conditions, which holds if all of them do.
type List struct {
	Resource string // the URI that the conditions are about; "" is the one that the request is about
	Conds    []Cond
}

// Cond is one condition: that a resource is locked with Token, or that ETag is its entity tag, one of which is "".
type Cond struct {
	Not         bool
	Token, ETag string
}

// maxConds bounds the conditions of a header.
const maxConds = 1000

var errIf = errors.New("the If header can't be read")

// ParseIf reads the value of an If header; "" is nil.
func ParseIf(s string) (If, error) {
	var (
		out      If
		resource string
		tagged   bool
		conds    int
	)
	for s = skip(s); s != ""; s = skip(s) {
		switch s[0] {
		case '<':
			if len(out) > 0 && !tagged {
				return nil, errIf // lists without a resource come alone
			}
			uri, rest, ok := uriOf(s)
			if rest = skip(rest); !ok || !strings.HasPrefix(rest, "(") {
				return nil, errIf
			}
			resource, tagged, s = uri, true, rest
		case '(':
			l := List{Resource: resource}
			var ok bool
			if l.Conds, s, ok = parseList(s[1:]); !ok {
				return nil, errIf
			}
			if conds += len(l.Conds); conds > maxConds {
				return nil, errIf
			}
			out = append(out, l)
		default:
			return nil, errIf
		}
	}
	return out, nil
}

// parseList reads conditions up to the closing bracket.
func parseList(s string) (conds []Cond, rest string, ok bool) {
	for s = skip(s); s != ""; s = skip(s) {
		if s[0] == ')' {
			return conds, s[1:], len(conds) > 0
		}
		var c Cond
		if len(s) >= 3 && strings.EqualFold(s[:3], "not") {
			c.Not, s = true, skip(s[3:])
		}
		switch {
		case strings.HasPrefix(s, "<"):
			c.Token, s, ok = uriOf(s)
		case strings.HasPrefix(s, "["):
			c.ETag, s, ok = etagOf(s)
		default:
			return nil, "", false
		}
		if !ok || len(conds) == maxConds {
			return nil, "", false
		}
		conds = append(conds, c)
	}
	return nil, "", false
}

// uriOf cuts <URI> off.
func uriOf(s string) (uri, rest string, ok bool) {
	uri, rest, ok = strings.Cut(s[1:], ">")
	return uri, rest, ok && uri != "" && !strings.ContainsAny(uri, "<( \t")
}

// etagOf cuts ["tag"] or [W/"tag"] off, whose tag may hold brackets.
func etagOf(s string) (etag, rest string, ok bool) {
	s = skip(s[1:])
	start := strings.TrimPrefix(s, "W/")
	if !strings.HasPrefix(start, `"`) {
		return "", "", false
	}
	end := strings.IndexByte(start[1:], '"')
	if end < 0 {
		return "", "", false
	}
	n := len(s) - len(start) + end + 2
	rest = skip(s[n:])
	return s[:n], strings.TrimPrefix(rest, "]"), strings.HasPrefix(rest, "]")
}

func skip(s string) string { return strings.TrimLeft(s, " \t") }

// Tokens are all tokens that the header names as held, anywhere in it.
func (f If) Tokens() (out []string) {
	for _, l := range f {
		for _, c := range l.Conds {
			if c.Token != "" && !c.Not {
				out = append(out, c.Token)
			}
		}
	}
	return out
}

// Holds evaluates the header. tokens gives those that a resource is locked with and its entity tag, "" if it has none.
func (f If) Holds(state func(resource string) (tokens []string, etag string)) bool {
	if f == nil {
		return true
	}
	for _, l := range f {
		tokens, etag := state(l.Resource)
		if l.holds(tokens, etag) {
			return true
		}
	}
	return false
}

func (l List) holds(tokens []string, etag string) bool {
	for _, c := range l.Conds {
		is := c.ETag != "" && c.ETag == etag
		for _, t := range tokens {
			is = is || c.Token == t
		}
		if is == c.Not {
			return false
		}
	}
	return true
}

// Limits of how long a lock lasts without being refreshed. Clients refresh theirs in time; those of crashed ones shall not stand
// in the way for long.
const (
	DefaultTimeout = 10 * time.Minute
	MaxTimeout     = time.Hour
)

// ParseTimeout reads the value of a Timeout header (RFC 4918, section 10.7), the first that is understood, within the limits.
func ParseTimeout(s string) time.Duration {
	for word := range strings.SplitSeq(s, ",") {
		word = strings.TrimSpace(word)
		if strings.EqualFold(word, "Infinite") {
			return MaxTimeout
		}
		digits, ok := cutFold(word, "Second-")
		if !ok || digits == "" || strings.Trim(digits, "0123456789") != "" {
			continue
		}
		seconds := int64(0)
		for _, d := range digits {
			seconds = min(seconds*10+int64(d-'0'), int64(MaxTimeout/time.Second))
		}
		return max(time.Second, time.Duration(seconds)*time.Second)
	}
	return DefaultTimeout
}

func cutFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

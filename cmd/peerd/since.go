package main

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/peerd/peerd/peer"
)

// parseSince reads the moment of --since: a time by RFC 3339, a date with or without a time of the day, a time of the day,
// which is the last such, or an age. None lies in the future.
func parseSince(s string, now time.Time) (time.Time, error) {
	bad := func(text string) (time.Time, error) {
		return time.Time{}, &peer.Error{Path: s, Op: "read --since", Kind: peer.Usage, Err: errors.New(text),
			Hint: `write 15:04, "2006-01-02 15:04", 2006-01-02T15:04:05Z, or an age: 10m, 2h, 3d`}
	}
	t, err := time.Parse(time.RFC3339, s)
	for _, layout := range []string{time.DateTime, "2006-01-02 15:04", time.DateOnly} {
		if err != nil {
			t, err = time.ParseInLocation(layout, s, now.Location())
		}
	}
	if err != nil {
		if t, err = time.ParseInLocation("15:04", s, now.Location()); err == nil {
			today := time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), 0, 0, now.Location())
			if t = today; t.After(now) {
				t = time.Date(now.Year(), now.Month(), now.Day()-1, today.Hour(), today.Minute(), 0, 0, now.Location())
			}
		}
	}
	if err != nil {
		age, ok := parseAge(s)
		if !ok {
			return bad("it is no time")
		}
		t = now.Add(-age)
	}
	if t.After(now) {
		return bad("it lies in the future")
	}
	return t, nil
}

// maxAge bounds ages, in days: a hundred years.
const maxAge = 36525

// parseAge reads a span of time as 10m, 2h30m or 3d.
func parseAge(s string) (time.Duration, bool) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 32)
		return time.Duration(n) * 24 * time.Hour, err == nil && n <= maxAge
	}
	age, err := time.ParseDuration(s)
	return age, err == nil && age >= 0 && age <= maxAge*24*time.Hour
}

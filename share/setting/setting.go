// Package setting is what the owner of a share may set of how much room it takes, how long versions are kept, and when somebody
// changes too much at once. It holds values and their text forms; others act by them.
package setting

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/peerd/peerd/peer"
)

// The names of settings, as on the command line and in files.
const (
	Quota         = "quota"
	PeerQuota     = "peer-quota"
	Reserve       = "reserve"
	VersionsAge   = "versions-age"
	VersionsCount = "versions-count"
	VersionsShare = "versions-share"
	BrakeName     = "brake"
	Exec          = "exec"
)

// What holds where nothing is set.
const (
	DefaultReserve = 1 << 30              // bytes, or the part of the disk that follows, whichever is less
	reservePart    = 20                   // one part of the disk in so many
	DefaultAge     = 365 * 24 * time.Hour // of versions
	DefaultCount   = 100                  // versions of one path
	DefaultShare   = 10                   // percent of the disk for all versions
)

// DefaultBrake is when the full right of a peer is suspended if nothing else is set.
func DefaultBrake() Brake { return Brake{Files: 100, Percent: 20, Window: 5 * time.Minute} }

// Bounds of values.
const (
	minBytes  = 1_000_000
	maxBytes  = 1_000_000_000_000_000 // 1 PB
	minAge    = 24 * time.Hour        // what is younger is kept in any case
	maxAge    = 100 * 365 * 24 * time.Hour
	maxCount  = 100_000
	maxFiles  = 1_000_000
	minWindow = 10 * time.Second
	maxWindow = 24 * time.Hour
)

// Unlimited is the value of a setting that is without a bound.
const Unlimited = -1

// Settings are those of one share. A field that is zero is not set. They are comparable.
type Settings struct {
	Quota     int64         // bytes that files and versions may take
	PeerQuota int64         // bytes that one peer may upload in a day
	Reserve   int64         // bytes of the disk that uploads leave free, or Unlimited for none
	Age       time.Duration // versions older than that are dropped; or Unlimited
	Count     int           // versions of one path; or Unlimited
	Share     int           // percent of the disk that versions may take
	Brake     Brake
	NoExec    bool // peers make no file executable
}

// Brake is when a peer changes too much at once: more than Files, and more than Percent of the share's, within Window.
type Brake struct {
	Off     bool
	Files   int
	Percent int
	Window  time.Duration
}

// Retention is which versions are kept.
type Retention struct {
	Age   time.Duration // or Unlimited
	Count int           // of one path, or Unlimited
	Share int           // percent of the disk
}

// Retention is what holds of versions.
func (s Settings) Retention() Retention {
	return Retention{Age: or(s.Age, DefaultAge), Count: or(s.Count, DefaultCount), Share: or(s.Share, DefaultShare)}
}

// Limit is what holds of the brake.
func (s Settings) Limit() Brake { return or(s.Brake, DefaultBrake()) }

// Spare is how many bytes of a disk of a size uploads leave free.
func (s Settings) Spare(disk int64) int64 {
	switch s.Reserve {
	case 0:
		return min(DefaultReserve, disk/reservePart)
	case Unlimited:
		return 0
	}
	return s.Reserve
}

func or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// Names are all names of settings.
func Names() []string {
	return []string{Quota, PeerQuota, Reserve, VersionsAge, VersionsCount, VersionsShare, BrakeName, Exec}
}

// Words that stand in place of a value.
const (
	wordDefault = "default"
	wordNone    = "none"
	wordOff     = "off"
	wordKeep    = "keep"
	wordNever   = "never"
)

// Set sets one setting to what its text form says, or to its default by the word "default".
func (s *Settings) Set(name, text string) error {
	var err error
	switch name {
	case Quota:
		s.Quota, err = bytesOr(text, 0)
	case PeerQuota:
		s.PeerQuota, err = bytesOr(text, 0)
	case Reserve:
		s.Reserve, err = bytesOr(text, Unlimited)
	case VersionsAge:
		s.Age, err = parseOr(text, Unlimited, func(t string) (time.Duration, error) { return parseDuration(t, minAge, maxAge) })
	case VersionsCount:
		s.Count, err = parseOr(text, Unlimited, func(t string) (int, error) { return parseInt(t, maxCount) })
	case VersionsShare:
		s.Share, err = parseOr(text, 0, parsePercent)
		if err == nil && text == wordNone {
			err = errors.New("it is a percentage")
		}
	case BrakeName:
		s.Brake, err = parseBrake(text)
	case Exec:
		s.NoExec, err = parseExec(text)
	default:
		err = errors.New("there is no such setting")
	}
	if err != nil {
		return &peer.Error{Op: "set " + name, Path: text, Kind: peer.Usage, Err: err, Hint: hint(name)}
	}
	return nil
}

// Texts are the text forms of what is set, by name.
func (s Settings) Texts() map[string]string {
	out := make(map[string]string)
	for name, text := range map[string]string{
		Quota: bytesText(s.Quota), PeerQuota: bytesText(s.PeerQuota), Reserve: bytesText(s.Reserve),
		VersionsAge: durationText(s.Age), VersionsCount: countText(s.Count), VersionsShare: percentText(s.Share), BrakeName: s.Brake.text(),
		Exec: map[bool]string{true: wordNever}[s.NoExec],
	} {
		if text != "" {
			out[name] = text
		}
	}
	return out
}

// Parse reads what Texts gives.
func Parse(texts map[string]string) (s Settings, err error) {
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if err := s.Set(name, texts[name]); err != nil {
			return Settings{}, err
		}
	}
	return s, nil
}

func (b Brake) text() string {
	switch {
	case b == Brake{}:
		return ""
	case b.Off:
		return wordOff
	}
	return fmt.Sprintf("%d,%d%%,%s", b.Files, b.Percent, durationText(b.Window))
}

func parseBrake(text string) (Brake, error) {
	switch text {
	case wordDefault:
		return Brake{}, nil
	case wordOff:
		return Brake{Off: true}, nil
	}
	parts := strings.Split(text, ",")
	if len(parts) != 3 {
		return Brake{}, errors.New("it has three parts")
	}
	files, err := parseInt(parts[0], maxFiles)
	if err != nil {
		return Brake{}, err
	}
	percent, err := parsePercent(parts[1])
	if err != nil {
		return Brake{}, err
	}
	window, err := parseDuration(parts[2], minWindow, maxWindow)
	return Brake{Files: files, Percent: percent, Window: window}, err
}

func parseExec(text string) (never bool, err error) {
	switch text {
	case wordNever:
		return true, nil
	case wordKeep, wordDefault:
		return false, nil
	}
	return false, errors.New("it is no such word")
}

func hint(name string) string {
	switch name {
	case Quota, PeerQuota:
		return `write a size as 500MB, 10G or 2TiB, from 1MB to 1000TB, or "none"`
	case Reserve:
		return `write a size as 500MB or 10G, from 1MB to 1000TB, or "none", or "default"`
	case VersionsAge:
		return `write a time as 30d or 52w, from 1d to 36500d, or "none", or "default"`
	case VersionsCount:
		return `write a number from 1 to 100000, or "none", or "default"`
	case VersionsShare:
		return `write a part of the disk as 10%, from 1% to 100%, or "default"`
	case Exec:
		return `write "keep", so that peers may make files executable, or "never"`
	case BrakeName:
		return `write FILES,PERCENT,TIME as in 100,20%,5m, or "off", or "default"`
	}
	return "they are " + strings.Join(Names(), ", ")
}

package history

import (
	"fmt"
	"time"

	"github.com/peerd/peerd/peer"
)

// ID names a change of a share, and the version that it kept: UTC seconds, and 65536ths of one. IDs rise strictly within a
// share, as numbers and as text. The zero ID is none.
type ID uint64

const idLayout = "20060102-150405"

// idOf is the ID of a moment.
func idOf(t time.Time) ID {
	return ID(t.Unix())<<16 | ID(uint64(t.Nanosecond())<<16/1e9)
}

// ParseID reads the text form, as in //PEER/SHARE/PATH@20261125-204356-9f3c.
func ParseID(s string) (ID, error) {
	var frac uint16
	bad := &peer.Error{Op: "parse version", Path: s, Kind: peer.Usage, Hint: "it looks like 20261125-204356-9f3c"}
	if len(s) != len(idLayout)+5 {
		return 0, bad
	}
	t, err := time.Parse(idLayout, s[:len(idLayout)])
	if err != nil || t.Unix() <= 0 {
		return 0, bad
	}
	if _, err := fmt.Sscanf(s[len(idLayout):], "-%04x", &frac); err != nil {
		return 0, bad
	}
	if id := ID(t.Unix())<<16 | ID(frac); id.String() == s {
		return id, nil
	}
	return 0, bad
}

// Time is the moment in the ID, about when the change was made.
func (id ID) Time() time.Time {
	return time.Unix(int64(id>>16), int64(uint64(id&0xffff)*1e9>>16)).UTC()
}

func (id ID) String() string {
	return fmt.Sprintf("%s-%04x", id.Time().Format(idLayout), uint16(id))
}

// hour is the folder that a change's record is in.
func (id ID) hour() string { return id.String()[:len("20060102-15")] }

// MarshalText gives the text form.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the text form.
func (id *ID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseID(string(b))
	return err
}

package transfer

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/peerd/peerd/peer"
)

// Rate is how many bytes may pass in a second. 0 sets no limit. Its text form is a number with a decimal unit, of bytes
// (500kB/s, 10MB/s) or bits (80Mbit/s), or the word unlimited; "/s" may be left out, and B after k, M or G.
type Rate int64

// Bounds of a Rate, in bytes a second. Below the lower one a piece takes minutes, and who waits for it gives up.
const (
	MinRate = 1000
	MaxRate = 1e11
)

const unlimited = "unlimited"

// rateHint is what to do about a rate that can't be read.
const rateHint = `write it as 10MB/s, 500k, 80Mbit or "unlimited"`

// maxRateText bounds the text of a rate, in bytes.
const maxRateText = 40

// ParseRate reads the text form of a Rate. What is not a whole number of bytes is rounded down.
func ParseRate(s string) (Rate, error) {
	r, err := parseRate(s)
	if err != nil {
		return 0, &peer.Error{Op: "parse rate", Path: s, Kind: peer.Usage, Err: err, Hint: rateHint}
	}
	return r, nil
}

func parseRate(s string) (Rate, error) {
	if len(s) > maxRateText {
		return 0, fmt.Errorf("it is longer than %d bytes", maxRateText)
	}
	s = strings.TrimSpace(s)
	if strings.EqualFold(s, unlimited) {
		return 0, nil
	}
	unit := strings.TrimLeft(s, "0123456789.")
	digits := s[:len(s)-len(unit)]
	number, ok := new(big.Rat).SetString(digits)
	if !ok {
		return 0, errors.New("it does not begin with a number")
	}
	scale, err := parseUnit(strings.TrimSpace(unit))
	if err != nil {
		return 0, err
	}
	number.Mul(number, scale)
	whole := new(big.Int).Quo(number.Num(), number.Denom())
	switch {
	case number.Sign() == 0:
		return 0, errors.New("nothing would pass")
	case whole.Cmp(big.NewInt(MinRate)) < 0:
		return 0, fmt.Errorf("it is below %v", Rate(MinRate))
	case whole.Cmp(big.NewInt(MaxRate)) > 0:
		return 0, fmt.Errorf("it is above %v", Rate(MaxRate))
	}
	return Rate(whole.Int64()), nil
}

// parseUnit gives the bytes of a unit. Only the prefix may be in either case: Mb is MB to some and Mbit to others.
func parseUnit(s string) (*big.Rat, error) {
	scale, rest := int64(1), strings.TrimSuffix(s, "/s")
	if rest != "" {
		if i := strings.IndexByte("kmg", rest[0]|0x20); i >= 0 {
			scale, rest = [...]int64{1e3, 1e6, 1e9}[i], rest[1:]
		}
	}
	switch rest {
	case "", "B":
		return big.NewRat(scale, 1), nil
	case "bit":
		return big.NewRat(scale, 8), nil
	case "b":
		return nil, fmt.Errorf("%q may be bytes or bits: write B or bit", s)
	case "iB", "i":
		return nil, fmt.Errorf("%q is no decimal unit: write k, M or G", s)
	}
	return nil, fmt.Errorf("%q is no unit of a rate", s)
}

// String is the shortest text that says all of it.
func (r Rate) String() string {
	if r <= 0 {
		return unlimited
	}
	for _, u := range []struct {
		size Rate
		name string
	}{{1e9, "GB/s"}, {1e6, "MB/s"}, {1e3, "kB/s"}} {
		if r >= u.size && r%(u.size/1000) == 0 {
			return strconv.FormatFloat(float64(r/(u.size/1000))/1000, 'f', -1, 64) + u.name
		}
	}
	return strconv.FormatInt(int64(r), 10) + "B/s"
}

// MarshalText gives what String gives.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what ParseRate reads.
func (r *Rate) UnmarshalText(b []byte) error {
	parsed, err := parseRate(string(b))
	if err != nil {
		return fmt.Errorf("rate %q: %w: %s", b, err, rateHint)
	}
	*r = parsed
	return nil
}

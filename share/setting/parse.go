package setting

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// unit is one unit and how much it is. Of several that fit a value the first is written.
type unit struct {
	name string
	is   int64
}

func sizeUnits() []unit {
	return []unit{
		{"TB", 1e12}, {"T", 1e12}, {"GB", 1e9}, {"G", 1e9}, {"MB", 1e6}, {"M", 1e6}, {"kB", 1e3}, {"k", 1e3},
		{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1},
	}
}

func timeUnits() []unit {
	return []unit{
		{"d", int64(24 * time.Hour)}, {"w", int64(7 * 24 * time.Hour)}, {"h", int64(time.Hour)}, {"m", int64(time.Minute)}, {"s", int64(time.Second)},
	}
}

// parseUnits reads a whole number with a unit.
func parseUnits(text string, units []unit, low, high int64) (int64, error) {
	digits := len(text) - len(strings.TrimLeft(text, "0123456789"))
	for _, u := range units {
		if text[digits:] != u.name {
			continue
		}
		n, err := parseInt(text[:digits], high)
		if err != nil {
			return 0, err
		}
		if int64(n) > high/u.is || int64(n)*u.is < low {
			return 0, errors.New("it is out of bounds")
		}
		return int64(n) * u.is, nil
	}
	return 0, errors.New("it has no unit that is known")
}

// parseInt reads a whole number from 1 to high, without a sign or zeros in front.
func parseInt[T int | int64](text string, high T) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || strconv.Itoa(n) != text {
		return 0, errors.New("it is no whole number")
	}
	if n < 1 || T(n) > high {
		return 0, errors.New("it is out of bounds")
	}
	return n, nil
}

func parsePercent(text string) (int, error) {
	number, ok := strings.CutSuffix(text, "%")
	if !ok {
		return 0, errors.New("it is no percentage")
	}
	return parseInt(number, 100)
}

func parseDuration(text string, low, high time.Duration) (time.Duration, error) {
	d, err := parseUnits(text, timeUnits(), int64(low), int64(high))
	return time.Duration(d), err
}

// parseOr reads a value, or one of the words for none and the default.
func parseOr[T any](text string, none T, parse func(string) (T, error)) (T, error) {
	var zero T
	switch text {
	case wordDefault:
		return zero, nil
	case wordNone:
		return none, nil
	}
	return parse(text)
}

func bytesOr(text string, none int64) (int64, error) {
	return parseOr(text, none, func(t string) (int64, error) { return parseUnits(t, sizeUnits(), minBytes, maxBytes) })
}

// unitText writes a value with the largest unit of which it is a whole number.
func unitText(v int64, units []unit) string {
	best := units[len(units)-1]
	for _, u := range units {
		if v%u.is == 0 && u.is > best.is {
			best = u
		}
	}
	return fmt.Sprintf("%d%s", v/best.is, best.name)
}

func bytesText(n int64) string {
	switch n {
	case 0:
		return ""
	case Unlimited:
		return wordNone
	}
	return unitText(n, sizeUnits())
}

func durationText(d time.Duration) string {
	switch d {
	case 0:
		return ""
	case Unlimited:
		return wordNone
	}
	return unitText(int64(d), timeUnits())
}

func countText(n int) string {
	switch n {
	case 0:
		return ""
	case Unlimited:
		return wordNone
	}
	return strconv.Itoa(n)
}

func percentText(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d%%", n)
}

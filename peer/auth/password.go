package auth

import (
	"fmt"
	"log/slog"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/bytemare/opaque"
	"github.com/sethvargo/go-diceware/diceware"
	"golang.org/x/text/secure/precis"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/peer/auth/guess"
)

// What passwords are held to.
const (
	MaxPassword = 256  // bytes, in normal form
	MinChosen   = 10   // characters of one that somebody made up
	MinGuesses  = 1e10 // it takes to find one that somebody made up, as [guess.Of] estimates

	generatedWords = 5 // of 7,776: 64 bits
)

// Password is a password in the one form in which it is compared: PRECIS OpaqueString (RFC 8265 section 4.2), so the same
// characters typed on different systems are the same bytes, and upper and lower case differ. It never prints itself.
type Password struct {
	text []byte
	weak bool
}

// NewPassword brings what was typed into normal form: 1 to [MaxPassword] bytes, no control characters.
func NewPassword(typed string) (Password, error) {
	fail := func(reason string) (Password, error) {
		return Password{}, &peer.Error{Op: "read password", Kind: peer.Usage, Err: failure(reason)}
	}
	if len(typed) > 4*MaxPassword {
		return fail(fmt.Sprintf("it is longer than %d bytes", MaxPassword))
	}
	text, err := precis.OpaqueString.Bytes([]byte(typed))
	switch {
	case typed == "":
		return fail("it is empty")
	case err != nil, !utf8.ValidString(typed):
		return fail("it holds a character that is not text")
	case len(text) > MaxPassword:
		return fail(fmt.Sprintf("it is longer than %d bytes", MaxPassword))
	}
	return Password{text: text}, nil
}

// IsZero reports whether it is the zero Password, which nobody can type.
func (p Password) IsZero() bool { return len(p.text) == 0 }

// WeakenedForTests is the password with a stretching that protects nothing and costs nothing. Both sides must weaken:
// no message says how a password was stretched, so no peer can ask for it.
func (p Password) WeakenedForTests() Password {
	p.weak = true
	return p
}

func (p Password) stretching() *opaque.ClientOptions {
	if p.weak {
		return cheapStretching()
	}
	return stretching()
}

// String keeps the password out of messages.
func (Password) String() string { return "[password]" }

// GoString keeps the password out of %#v.
func (Password) GoString() string { return "[password]" }

// LogValue keeps the password out of logs.
func (Password) LogValue() slog.Value { return slog.StringValue("[password]") }

// Generate makes up a password of five words, 64 bits: beyond guessing even for who stole record and keys.
func Generate() (string, error) {
	words, err := diceware.Generate(generatedWords)
	if err != nil {
		return "", fmt.Errorf("generate a password: %w", err)
	}
	return strings.Join(words, " "), nil
}

// CheckChosen refuses a made-up password that is too easy to guess: shorter than [MinChosen] characters or found within
// [MinGuesses]. What a guesser would think of first (the share's name and comment) goes into known. The
// limit is for guesses at the owner, which the [Throttle] counts by the day; only a generated password withstands who
// stole record and keys.
func CheckChosen(p Password, known ...string) error {
	refuse := func(reason string) error {
		return &peer.Error{
			Op: "choose password", Kind: peer.Usage, Err: failure(reason), Hint: "take four or more words, or a generated one",
		}
	}
	if utf8.RuneCount(p.text) < MinChosen {
		return refuse(fmt.Sprintf("it is shorter than %d characters", MinChosen))
	}
	e := guess.Of(string(p.text), known...)
	if e.Guesses < MinGuesses {
		return refuse(fmt.Sprintf("it would be found within %s guesses: %s", inWords(e.Guesses), e.Pattern))
	}
	return nil
}

// inWords rounds up to a unit that people read.
func inWords(n float64) string {
	switch {
	case n < 1e3:
		return "a thousand"
	case n < 1e6:
		return fmt.Sprintf("%.0f thousand", math.Ceil(n/1e3))
	case n < 1e9:
		return fmt.Sprintf("%.0f million", math.Ceil(n/1e6))
	}
	return fmt.Sprintf("%.0f billion", math.Ceil(n/1e9))
}

//go:build linux || darwin

package ui

import (
	"context"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/creack/pty"
	"go.uber.org/goleak"
	"golang.org/x/term"

	"github.com/peerd/peerd/peer"
)

// person sits at a terminal: whenever the screen ends with a question, the next answer is typed.
type person struct {
	keys, tty *os.File
	loud      term.State // the terminal's, with the echo on
	answers   []string
	screen    strings.Builder
	typing    sync.WaitGroup
}

func (p *person) Write(b []byte) (int, error) {
	p.screen.Write(b)
	if s := p.screen.String(); (strings.HasSuffix(s, ": ") || strings.HasSuffix(s, "] ")) && len(p.answers) > 0 {
		answer := p.answers[0]
		p.answers = p.answers[1:]
		p.typing.Go(func() {
			for strings.HasSuffix(s, ": ") && !p.silent() { // whoever types ahead can read it
			}
			io.WriteString(p.keys, answer+"\n")
		})
	}
	return len(b), nil
}

func (p *person) silent() bool {
	now, err := term.GetState(int(p.tty.Fd()))
	return err != nil || *now != p.loud
}

func sit(t *testing.T, answers ...string) (*Terminal, *person) {
	keys, tty, err := pty.Open()
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { keys.Close(); tty.Close() })
	loud, err := term.GetState(int(tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	who := &person{keys: keys, tty: tty, loud: *loud, answers: answers}
	terminal, _, _ := captured(tty)
	terminal.err = who
	return terminal, who
}

func TestPrompts(t *testing.T) {
	term, who := sit(t, "what", "OP", "", "secret", "twice", "thrice", "once more", "once more", "")
	if got, err := term.Choose(t.Context(), "How?", "password", "open"); got != "open" || err != nil {
		t.Errorf("chosen %q, %v", got, err)
	}
	if got, err := term.Choose(t.Context(), "How?", "password", "open"); got != "password" || err != nil {
		t.Errorf("chosen without an answer %q, %v", got, err)
	}
	if got, err := term.Password(t.Context(), "Password:"); got != "secret" || err != nil {
		t.Errorf("password %q, %v", got, err)
	}
	if got, err := term.NewPassword(t.Context(), "New:"); got != "once more" || err != nil {
		t.Errorf("new password %q, %v", got, err)
	}
	if got, err := term.NewPassword(t.Context(), "New:"); got != "" || err != nil {
		t.Errorf("empty new password %q, %v", got, err)
	}
	want := "How? [password/open] How? [password/open] How? [password/open] Password: \nNew: \nThe same once more: \n" +
		"peerd: these were not the same\nNew: \nThe same once more: \nNew: \n"
	if who.screen.String() != want {
		t.Errorf("the screen shows %q", who.screen.String())
	}
	who.typing.Wait()
	who.tty.Close()
	echo, _ := io.ReadAll(who.keys) // ends with an error, as the other side is closed
	if !strings.Contains(string(echo), "what") {
		t.Errorf("the terminal echoed nothing at all: %q", echo)
	}
	for _, secret := range []string{"secret", "twice", "thrice", "once"} {
		if strings.Contains(string(echo), secret) {
			t.Errorf("the terminal echoed a password: %q", echo)
		}
	}
}

// TestEchoComesBack stops a prompt: the terminal has to be as it was.
func TestEchoComesBack(t *testing.T) {
	terminal, who := sit(t)
	ctx, cancel := context.WithCancel(t.Context())
	terminal.err = writer(func(p []byte) (int, error) {
		if strings.HasPrefix(string(p), "Password") {
			go func() {
				for !who.silent() {
				}
				cancel()
			}()
		}
		return len(p), nil
	})
	if _, err := terminal.Password(ctx, "Password:"); err == nil {
		t.Error("a stopped prompt gave a password")
	}
	if who.silent() {
		t.Error("the terminal stays silent")
	}
	io.WriteString(who.keys, "\n") // lets the reader go
	goleak.VerifyNone(t)
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func TestNobodyToAsk(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	defer r.Close()
	term, _, _ := captured(r)
	for name, ask := range map[string]func() error{
		"Ask":         func() error { _, err := term.Ask(t.Context(), "?", ""); return err },
		"Choose":      func() error { _, err := term.Choose(t.Context(), "?", "a"); return err },
		"Password":    func() error { _, err := term.Password(t.Context(), "?"); return err },
		"NewPassword": func() error { _, err := term.NewPassword(t.Context(), "?"); return err },
	} {
		if err := ask(); peer.KindOf(err) != peer.Usage || !strings.Contains(err.Error(), "--password-file") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

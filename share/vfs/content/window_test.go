package content

import (
	"bytes"
	"io"
	"testing"
	"time"
)

// TestWindow: windows show what was written, and say when it was written anew; what is written behind them is nothing to them.
func TestWindow(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(c *Content) error
		intact bool
	}{
		"nothing":             {func(*Content) error { return nil }, true},
		"written behind":      {func(c *Content) error { _, err := c.WriteAt([]byte("x"), 20, false, time.Now()); return err }, true},
		"appended":            {func(c *Content) error { _, err := c.WriteAt([]byte("x"), 0, true, time.Now()); return err }, true},
		"cut behind":          {func(c *Content) error { return c.Truncate(15, time.Now()) }, true},
		"written":             {func(c *Content) error { _, err := c.WriteAt([]byte("x"), 9, false, time.Now()); return err }, false},
		"written in front":    {func(c *Content) error { _, err := c.WriteAt([]byte("x"), 0, false, time.Now()); return err }, false},
		"cut":                 {func(c *Content) error { return c.Truncate(9, time.Now()) }, false},
		"dropped":             {func(c *Content) error { c.Drop(); return nil }, false},
		"another time or bit": {func(c *Content) error { now, yes := time.Now(), true; c.Set(&now, &yes); return nil }, true},
	} {
		c := New(opened(t), &Budget{Limit: 1 << 20}, nil, State{}, [8]byte{1})
		if _, err := c.WriteAt([]byte("0123456789abcdefghij"), 0, false, time.Now()); err != nil || c.Grown() != 20 {
			t.Fatal(err, c.Grown())
		}
		w := c.Window(5, 10)
		b := make([]byte, 11)
		if n, err := w.ReadAt(b, 0); err != io.EOF || !bytes.Equal(b[:n], []byte("56789abcde")) || !w.Intact() {
			t.Errorf("%s: %q, %v", name, b[:n], err)
		}
		if n, err := w.ReadAt(b[:3], 7); err != nil || n != 3 || string(b[:3]) != "cde" {
			t.Errorf("%s: %q, %v", name, b[:n], err)
		}
		if err := tc.change(c); err != nil {
			t.Fatal(err)
		}
		if w.Intact() != tc.intact {
			t.Errorf("%s: it is intact: %v", name, !tc.intact)
		}
		if name == "dropped" {
			continue
		}
		if again := c.Window(5, 10); !again.Intact() || again.Version == w.Version != tc.intact {
			t.Errorf("%s: another window of the same place is intact: %v, and of version %x after %x", name, again.Intact(), again.Version, w.Version)
		}
		c.Drop()
	}
	c := New(opened(t), &Budget{Limit: 1 << 20}, nil, State{}, [8]byte{1})
	if _, err := c.WriteAt([]byte("x"), 1, false, time.Now()); err != nil || c.Grown() != 0 {
		t.Errorf("%d bytes from the start on, %v", c.Grown(), err)
	}
	c.Drop()
}

package auth_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/peerd/peerd/peer/auth"
	"github.com/peerd/peerd/peer/auth/opaquetest"
)

// Respond never fails in another way than ErrMessage, and takes what the oracle takes.
func FuzzKE1(f *testing.F) {
	b, have := newBinding(f), dummy(f).Credentials()
	_, ke1, err := auth.Start(b, weak(f, "a guess"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(ke1)
	f.Add(ke1[:191])
	f.Add(make([]byte, 192))
	f.Add(bytes.Repeat([]byte{0xff}, 192))
	f.Add(append(slices.Clone(ke1[:96]), make([]byte, 96)...))
	oracle := opaquetest.NewServer(nil)
	valid := func(half []byte) bool {
		_, shareErr := oracle.Evaluate([]byte("id"), half[64:])
		_, blindedErr := oracle.Evaluate([]byte("id"), half[:32])
		return shareErr == nil && blindedErr == nil && !bytes.Equal(half[32:64], make([]byte, 32))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		want := len(message) == 192 && valid(message[:96]) && valid(message[96:])
		ke2, pending, err := auth.Respond(b, have, message)
		switch {
		case err == nil != want:
			t.Errorf("error %v, the oracle takes it: %v", err, want)
		case err == nil && (len(ke2) != auth.KE2Size || pending == nil):
			t.Errorf("KE2 of %d bytes", len(ke2))
		case err != nil && !errors.Is(err, auth.ErrMessage):
			t.Errorf("error %v", err)
		}
	})
}

// No KE2 but the right one gives a KE3.
func FuzzKE2(f *testing.F) {
	b, have := newBinding(f), dummy(f).Credentials()
	_, ke1, err := auth.Start(b, weak(f, "a guess"))
	if err != nil {
		f.Fatal(err)
	}
	ke2, _, err := auth.Respond(b, have, ke1)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(ke2)
	f.Add(ke2[:639])
	f.Add(make([]byte, 640))
	f.Fuzz(func(t *testing.T, message []byte) {
		c, _, err := auth.Start(b, weak(t, "a guess"))
		if err != nil {
			t.Fatal(err)
		}
		slot, ke3, err := c.Finish(message)
		if slot != 0 || ke3 != nil || !errors.Is(err, auth.ErrWrong) && !errors.Is(err, auth.ErrMessage) {
			t.Errorf("opened %v: %v", slot, err)
		}
	})
}

// No KE3 but the right one opens a slot.
func FuzzKE3(f *testing.F) {
	b, have := newBinding(f), credentials(f, "the read one", "")
	c, ke1, err := auth.Start(b, weak(f, "the read one"))
	if err != nil {
		f.Fatal(err)
	}
	ke2, _, err := auth.Respond(b, have, ke1)
	if err != nil {
		f.Fatal(err)
	}
	_, ke3, err := c.Finish(ke2)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(ke3) // right in another run
	f.Add([]byte{})
	f.Add(make([]byte, 64))
	f.Fuzz(func(t *testing.T, message []byte) {
		_, pending, err := auth.Respond(b, have, ke1)
		if err != nil {
			t.Fatal(err)
		}
		if slot, err := pending.Check(message); slot != 0 || !errors.Is(err, auth.ErrWrong) {
			t.Errorf("opened %v: %v", slot, err)
		}
	})
}

// A record that parses is encoded as it was, and answers.
func FuzzRecord(f *testing.F) {
	b := newBinding(f)
	have := credentials(f, "the read one", "")
	_, ke1, err := auth.Start(b, weak(f, "a guess"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(have.Read.Record.Bytes())
	f.Add(dummy(f).Credentials().Read.Record.Bytes())
	f.Add(make([]byte, 193))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, stored []byte) {
		record, err := auth.ParseRecord(stored)
		if err != nil {
			return
		}
		if !bytes.Equal(record.Bytes(), stored) {
			t.Errorf("%x became %x", stored, record.Bytes())
		}
		have := have
		have.Read.Record = record
		if _, _, err := auth.Respond(b, have, ke1); err != nil {
			t.Error(err)
		}
	})
}

// Keys that parse are encoded as they were, and answer.
func FuzzServerKeys(f *testing.F) {
	b := newBinding(f)
	have := credentials(f, "the read one", "")
	_, ke1, err := auth.Start(b, weak(f, "a guess"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(have.Read.Keys.Bytes())
	f.Add(make([]byte, 97))
	f.Add(append([]byte{1}, bytes.Repeat([]byte{0xff}, 96)...))
	f.Fuzz(func(t *testing.T, stored []byte) {
		keys, err := auth.ParseServerKeys(stored)
		if err != nil {
			return
		}
		if !bytes.Equal(keys.Bytes(), stored) {
			t.Errorf("%x became %x", stored, keys.Bytes())
		}
		have := have
		have.Read.Keys = keys
		if _, _, err := auth.Respond(b, have, ke1); err != nil {
			t.Error(err)
		}
	})
}

package registry

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/registry/diskfile"
	"github.com/peerd/peerd/share/setting"
)

// example is a registry with one of everything.
func example(t testing.TB) (dir string, s Share) {
	t.Helper()
	dir = state(t)
	r := reopen(t, dir)
	s, err := r.Add(Share{
		Name: "docs", Dir: folder(t), Comment: "c", Hidden: true, Slots: Slots{ModePassword, ModeOpen},
		Peers:    map[peer.ID]share.Right{somebody(t): share.Read, somebody(t): share.Full},
		Settings: setting.Settings{Quota: 10e9, Brake: setting.Brake{Off: true}},
		Denied:   map[peer.ID]time.Time{somebody(t): start}, Suspended: map[peer.ID]time.Time{somebody(t): start},
	}, Secrets{Read: secret("read")}, start)
	must(t, err)
	must(t, r.Block(somebody(t), "eve", start))
	return dir, s
}

// TestBroken edits the file in many ways. None is loaded, and none is overwritten.
func TestBroken(t *testing.T) {
	for _, c := range []struct{ name, old, new string }{
		{"empty", "*", ""},
		{"no JSON", "*", "shares: none"},
		{"cut off", "\n}\n", "\n"},
		{"something behind", "\n}\n", "\n}\n{}"},
		{"newer", `"version": 1`, `"version": 2`},
		{"without version", `"version": 1,`, ``},
		{"unknown field", `"comment": "c"`, `"comment": "c", "colour": "red"`},
		{"short ID", `"id": "`, `"id": "", "x": "`},
		{"ID of other length", `"id": "`, `"id": "00`},
		{"no ID", `"id": "`, `"id": "xx`},
		{"bad name", `"name": "docs"`, `"name": "a/b"`},
		{"no name", `"name": "docs"`, `"name": ""`},
		{"relative folder", `"dir": "/`, `"dir": "`},
		{"no such mode", `"mode": "open"`, `"mode": "ajar"`},
		{"password without record", `"mode": "open"`, `"mode": "password"`},
		{"keys elsewhere", `"keys": "`, `"keys": "../`},
		{"record without keys", `"keys": "`, `"keys": "", "x": "`},
		{"no epoch", fmt.Sprintf(`"epoch": %d`, start.Unix()), `"epoch": 0`},
		{"no such right", `"right": "full"`, `"right": "half"`},
		{"a peer with no right", `"right": "full"`, `"right": "none"`},
		{"no such peer", `"peer": "12D3`, `"peer": "12d3`},
		{"a denied peer that is none", `"denied": [`, `"denied": [ {"peer": "x", "since": "2026-03-01T12:00:00Z"},`},
		{"a suspended peer that is none", `"suspended": [`, `"suspended": [ {"peer": "", "since": "2026-03-01T12:00:00Z"},`},
		{"a blocked peer that is none", `"blocked": [`, `"blocked": [ {"peer": "QmX", "since": "2026-03-01T12:00:00Z"},`},
		{"a blocked peer of no name", `"name": "eve"`, `"name": "e/ve"`},
		{"no such setting", `"quota": `, `"quoat": `},
		{"no value of a setting", `"quota": "10GB"`, `"quota": "-1"`},
		{"comment", `"comment": "c"`, `"comment": "a\nb"`},
		{"the same twice", `"shares": [`, `"shares": [ TWICE,`},
		{"a name twice", `"shares": [`, `"shares": [ OTHER,`},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, s := example(t)
			path := filepath.Join(dir, fileName)
			good, err := os.ReadFile(path)
			must(t, err)
			bad := []byte(c.new)
			if c.old != "*" {
				bad = bytes.Replace(good, []byte(c.old), bad, 1)
				body := bytes.Trim(good[bytes.IndexByte(good, '['):bytes.LastIndexByte(good, ']')], "[ \n")
				bad = bytes.ReplaceAll(bad, []byte("TWICE"), body)
				bad = bytes.ReplaceAll(bad, []byte("OTHER"), bytes.Replace(body, []byte(s.ID.String()), []byte(NewID().String()), 1))
			}
			if bytes.Equal(good, bad) {
				t.Fatalf("nothing changed in %s", good)
			}
			must(t, os.WriteFile(path, bad, 0o600))
			_, err = Open(dir, Options{Home: "/nobody's home"})
			wantKind(t, "Open", err, peer.Other)
			if err != nil && (!strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "backup")) {
				t.Errorf("the error does not help: %v", err)
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, bad) {
				t.Errorf("the file was touched: %q, %v", after, err)
			}
			if err := os.WriteFile(path, good, 0o600); err != nil {
				t.Fatal(err)
			}
			if sec, err := reopen(t, dir).Secret(s.ID, share.Read); err != nil || !reflect.DeepEqual(sec, secret("read")) {
				t.Errorf("mended: %q, %v", sec, err)
			}
		})
	}
}

// TestForbiddenOnLoad has somebody write a folder into the file that could not be added.
func TestForbiddenOnLoad(t *testing.T) {
	dir, s := example(t)
	path := filepath.Join(dir, fileName)
	good, err := os.ReadFile(path)
	must(t, err)
	for _, forbidden := range []string{"/", "/proc/self", dir, filepath.Dir(dir), filepath.Join(dir, keysName)} {
		must(t, os.WriteFile(path, bytes.Replace(good, []byte(s.Dir), []byte(forbidden), 1), 0o600))
		_, err := Open(dir, Options{Home: "/nobody's home"})
		wantKind(t, forbidden, err, peer.Other)
	}
}

// TestCrash leaves on the disk what a crash leaves at each step of a change, and loads it.
func TestCrash(t *testing.T) {
	dir, s := example(t)
	keys := filepath.Join(dir, keysName)
	before := names(t, keys)
	for _, leftover := range []string{
		filepath.Join(dir, fileName+diskfile.TempMark+"123"),                 // while the file was written
		filepath.Join(keys, before[0]+diskfile.TempMark+"456"),               // while keys were
		filepath.Join(keys, fmt.Sprintf("%s.read.%d", s.ID, 1<<40)),          // before the registry was
		filepath.Join(keys, fmt.Sprintf("%s.full.%d", NewID(), 1<<40)),       // of a share that was never added
		filepath.Join(keys, fmt.Sprintf("%s.read.%d", s.ID, start.Unix()-5)), // after the registry was, before they were removed
	} {
		must(t, os.WriteFile(leftover, []byte("half"), 0o600))
	}
	must(t, os.WriteFile(filepath.Join(dir, "identity"), []byte("not ours"), 0o600))
	r := reopen(t, dir)
	if got, err := r.ByID(s.ID); err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("it is %+v, %v, was %+v", got, err, s)
	}
	if sec, err := r.Secret(s.ID, share.Read); err != nil || !reflect.DeepEqual(sec, secret("read")) {
		t.Errorf("the secret is %q, %v", sec, err)
	}
	if got := names(t, keys); !slices.Equal(got, before) {
		t.Errorf("keys are %q, want %q", got, before)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"identity", keysName, fileName, sealName}) {
		t.Errorf("there are %q", got)
	}
}

// TestSaveFails makes the file impossible to replace: nothing changes, in memory or on the disk.
func TestSaveFails(t *testing.T) {
	dir, s := example(t)
	r := reopen(t, dir)
	told := 0
	r.OnChange(func(_, _ *Share) { told++ })
	path := filepath.Join(dir, fileName)
	must(t, os.Rename(path, path+".good"))
	must(t, os.MkdirAll(filepath.Join(path, "in the way"), 0o755))
	later := start.Add(time.Hour)
	for what, err := range map[string]error{
		"Add":       second(r.Add(Share{Name: "new", Dir: folder(t)}, Secrets{Read: secret("new")}, later)),
		"Set":       second(r.Set(s.ID, func(s *Share) { s.Name = "new" }, later)),
		"SetSecret": second(r.SetSecret(s.ID, share.Read, secret("new"), ModePassword, later)),
		"Remove":    r.Remove(s.ID),
	} {
		wantKind(t, what, err, peer.Other)
	}
	must(t, second(r.Add(Share{Name: "of this run", Dir: folder(t), Ephemeral: true}, Secrets{}, later))) // needs no file
	must(t, os.RemoveAll(path))
	must(t, os.Rename(path+".good", path))
	again := reopen(t, dir)
	for _, r := range []*Registry{r, again} {
		got, err := r.ByID(s.ID)
		if r == again {
			got.Epochs = s.Epochs // the file was away, so that all grants are over
		}
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("it is %+v, %v, was %+v", got, err, s)
		}
		if sec, err := r.Secret(s.ID, share.Read); err != nil || !reflect.DeepEqual(sec, secret("read")) {
			t.Errorf("the secret is %q, %v", sec, err)
		}
	}
	if told != 1 {
		t.Errorf("told of %d changes", told)
	}
	if got := names(t, filepath.Join(dir, keysName)); len(got) != 1 {
		t.Errorf("keys are %q", got)
	}
}

// TestLost takes away the keys, and then the file: what is left stays.
func TestLost(t *testing.T) {
	dir, s := example(t)
	keys := filepath.Join(dir, keysName)
	key := filepath.Join(keys, names(t, keys)[0])
	must(t, os.Rename(key, key+".away"))
	must(t, os.Rename(key+".away", filepath.Join(dir, "away")))
	_, err := reopen(t, dir).Secret(s.ID, share.Read)
	wantKind(t, "a secret without keys", err, peer.Other)
	if err != nil && !strings.Contains(err.Error(), "peerd share passwd") {
		t.Errorf("the error does not help: %v", err)
	}
	must(t, os.Rename(filepath.Join(dir, "away"), key))
	must(t, os.Rename(filepath.Join(dir, fileName), filepath.Join(dir, "backup")))
	if list := reopen(t, dir).List(); len(list) != 0 {
		t.Errorf("there are %+v", list)
	}
	must(t, os.Rename(filepath.Join(dir, "backup"), filepath.Join(dir, fileName)))
	if sec, err := reopen(t, dir).Secret(s.ID, share.Read); err != nil || !reflect.DeepEqual(sec, secret("read")) {
		t.Errorf("the secret is %q, %v", sec, err)
	}
}

// TestBackup (T9) changes a password after the registry came back from a backup: the epoch is none that was used before.
func TestBackup(t *testing.T) {
	dir, s := example(t)
	path := filepath.Join(dir, fileName)
	backup, err := os.ReadFile(path)
	must(t, err)
	used := map[uint64]bool{s.Epochs.Read: true}
	for day := range 3 {
		r := reopen(t, dir)
		after, err := r.SetSecret(s.ID, share.Read, secret("new"), ModePassword, start.AddDate(0, 0, day+1))
		must(t, err)
		if used[after.Epochs.Read] {
			t.Errorf("epoch %d for the second time", after.Epochs.Read)
		}
		used[after.Epochs.Read] = true
		must(t, os.WriteFile(path, backup, 0o600))
	}
}

func TestNoUTF8(t *testing.T) {
	dir := filepath.Join(folder(t), "not\xffutf8")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skip(err)
	}
	_, err := reopen(t, state(t)).Add(Share{Name: "s", Dir: dir}, Secrets{}, start)
	wantKind(t, "a name that JSON can't hold", err, peer.Usage)
}

func TestLeftoversTold(t *testing.T) {
	dir, _ := example(t)
	must(t, os.Mkdir(filepath.Join(dir, keysName, "folder"), 0o700)) // is left alone
	var log bytes.Buffer
	_, err := Open(dir, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	must(t, err)
	if log.Len() > 0 {
		t.Errorf("told of %s", log.String())
	}
}

// FuzzDecode: what is loaded is saved as it was.
func FuzzDecode(f *testing.F) {
	dir, _ := example(f)
	b, err := os.ReadFile(filepath.Join(dir, fileName))
	must(f, err)
	f.Add(b)
	f.Add([]byte(`{"version":1,"shares":[]}`))
	f.Add([]byte(`{"version":1,"shares":[{"id":"00112233445566778899aabbccddeeff","name":"s","dir":"/s","created":"2026-03-01T12:00:00Z",` +
		`"read":{"mode":"none","epoch":1},"full":{"mode":"none","epoch":18446744073709551615}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		items, err := decode(b)
		if err != nil {
			return
		}
		saved, err := encode(items)
		if err != nil {
			t.Skip(err) // a year that JSON can't hold
		}
		again, err := decode(saved)
		if err != nil {
			t.Fatalf("%s was saved as %s, and that is %v", b, saved, err)
		}
		if twice, err := encode(again); err != nil || !bytes.Equal(saved, twice) {
			t.Fatalf("%s was saved as %s and then as %s, %v", b, saved, twice, err)
		}
	})
}

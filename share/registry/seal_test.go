package registry

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/share/grant"
	"github.com/peerd/peerd/share/registry/diskfile"
)

// openAt opens a registry at a time, and gives what it logs.
func openAt(t testing.TB, dir string, now time.Time) (*Registry, string) {
	t.Helper()
	var log bytes.Buffer
	r, err := Open(dir, Options{Home: "/nobody's home", Now: func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(&log, nil))})
	must(t, err)
	return r, log.String()
}

func epochs(t testing.TB, r *Registry, s Share) grant.Epochs {
	t.Helper()
	now, err := r.ByID(s.ID)
	must(t, err)
	return now.Epochs
}

// copyTree copies the files of a folder into another, over those that are there.
func copyTree(t testing.TB, from, to string) {
	t.Helper()
	must(t, filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		b, err := os.ReadFile(path)
		return errors.Join(err, os.WriteFile(filepath.Join(to, rel), b, 0o600))
	}))
}

func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skip(err)
	}
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}

// TestRestored brings an older state back in every way that there is, and does to the newest what others may do to it. All
// epochs rise, above the highest that there ever was, once.
func TestRestored(t *testing.T) {
	file := func(dir string) string { return filepath.Join(dir, fileName) }
	for name, c := range map[string]struct {
		// restore is given the folder as it is, an older copy of it, and a folder for what it likes.
		restore func(t *testing.T, dir, old, tmp string)
		why     string
	}{
		"the older file, written over": {func(t *testing.T, dir, old, _ string) {
			b, err := os.ReadFile(file(old))
			must(t, errors.Join(err, os.WriteFile(file(dir), b, 0o600)))
		}, "something else"},
		"the older file, moved": {func(t *testing.T, dir, old, _ string) { must(t, os.Rename(file(old), file(dir))) }, "something else"},
		"the older file, by cp -a": {func(t *testing.T, dir, old, _ string) {
			run(t, "cp", "-a", file(old), dir)
		}, "something else"},
		"all of it, written over": {func(t *testing.T, dir, old, _ string) { copyTree(t, old, dir) }, "copied"},
		"all of it, by cp -a over it": {func(t *testing.T, dir, old, _ string) {
			run(t, "cp", "-a", old+"/.", dir)
		}, "copied"},
		"all of it, by cp -a": {func(t *testing.T, dir, old, _ string) {
			must(t, os.RemoveAll(dir))
			run(t, "cp", "-a", old, dir)
		}, "copied"},
		"all of it, by tar": {func(t *testing.T, dir, old, tmp string) {
			run(t, "tar", "-C", old, "-cpf", filepath.Join(tmp, "x.tar"), ".")
			run(t, "tar", "-C", dir, "-xpf", filepath.Join(tmp, "x.tar"))
		}, "copied"},
		"the newest, away and back": {func(t *testing.T, dir, _, tmp string) {
			run(t, "cp", "-a", dir, filepath.Join(tmp, "away"))
			must(t, os.RemoveAll(dir))
			run(t, "cp", "-a", filepath.Join(tmp, "away"), dir)
		}, "copied"},
		"edited": {func(t *testing.T, dir, _, _ string) {
			b, err := os.ReadFile(file(dir))
			must(t, errors.Join(err, os.WriteFile(file(dir), bytes.Replace(b, []byte(`"comment": "c"`), []byte(`"comment": "d"`), 1), 0o600)))
		}, "something else"},
		"touched": {func(t *testing.T, dir, _, _ string) { must(t, os.Chmod(file(dir), 0o640)) }, "touched"},
		"written anew with the same": {func(t *testing.T, dir, _, _ string) {
			b, err := os.ReadFile(file(dir))
			must(t, errors.Join(err, os.WriteFile(file(dir), b, 0o600)))
		}, "touched"},
		"without a seal": {func(t *testing.T, dir, _, _ string) { must(t, os.Remove(filepath.Join(dir, sealName))) }, "no seal"},
		"with a broken seal": {func(t *testing.T, dir, _, _ string) {
			must(t, os.WriteFile(filepath.Join(dir, sealName), []byte("{"), 0o600))
		}, "no seal"},
		"with a seal of a newer peerd": {func(t *testing.T, dir, _, _ string) {
			must(t, os.WriteFile(filepath.Join(dir, sealName), []byte(`{"version": 2, "shares": {}}`), 0o600))
		}, "no seal"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, s := example(t)
			old, tmp := filepath.Join(folder(t), "old"), folder(t)
			copyTree(t, dir, old)
			r, _ := openAt(t, dir, start)
			for i := range 5 { // the password is changed more often than seconds pass
				_, err := r.SetSecret(s.ID, share.Read, secret("new"), ModePassword, start.Add(time.Duration(i)))
				must(t, err)
			}
			newest := epochs(t, r, s)
			time.Sleep(20 * time.Millisecond) // so much may pass until the system sees another time of change
			c.restore(t, dir, old, tmp)

			now := start
			if strings.HasPrefix(c.why, "no seal") || strings.Contains(name, "all of it") {
				now = start.Add(time.Hour) // what was sealed is lost, and the clock counts
			}
			r, log := openAt(t, dir, now)
			after := epochs(t, r, s)
			if after.Read <= newest.Read || after.Full <= newest.Full {
				t.Errorf("epochs were %v and are %v", newest, after)
			}
			if !strings.Contains(log, "all logins and grants of before are over") || !strings.Contains(log, c.why) {
				t.Errorf("the log says %q", log)
			}
			again, log := openAt(t, dir, now.Add(time.Hour))
			if got := epochs(t, again, s); got != after || log != "" {
				t.Errorf("the next time epochs are %v, were %v; the log says %q", got, after, log)
			}
		})
	}
}

// TestRestoredRights: what was taken from devices after a backup was made does not come back with it.
func TestRestoredRights(t *testing.T) {
	dir := state(t)
	r := reopen(t, dir)
	denied, lowered, out, kept, suspended, blocked, later := somebody(t), somebody(t), somebody(t), somebody(t), somebody(t), somebody(t), somebody(t)
	s := add(t, r, Share{Name: "s", Peers: map[peer.ID]share.Right{denied: share.Full, lowered: share.Full, out: share.Read, kept: share.Read, suspended: share.Full}})
	gone := add(t, r, Share{Name: "gone", Slots: Slots{Read: ModeOpen}})
	backup, err := os.ReadFile(filepath.Join(dir, fileName))
	must(t, err)
	must(t, second(r.Deny(s.ID, denied, start)))
	must(t, second(r.Allow(s.ID, lowered, share.Read, start)))
	must(t, second(r.Set(s.ID, func(s *Share) { delete(s.Peers, out) }, start)))
	must(t, second(r.Allow(s.ID, later, share.Full, start)))
	must(t, r.Suspend(s.ID, suspended, start))
	must(t, r.Block(blocked, "eve", start))
	must(t, r.Remove(gone.ID))
	must(t, os.WriteFile(filepath.Join(dir, fileName), backup, 0o600))

	r = reopen(t, dir)
	got, err := r.ByID(s.ID)
	must(t, err)
	want := map[peer.ID]Standing{
		denied: {Denied: true}, lowered: {Allowed: share.Read}, out: {}, kept: {Allowed: share.Read},
		suspended: {Allowed: share.Full, Suspended: true}, later: {},
	}
	for who, st := range want {
		if got.Standing(who) != st {
			t.Errorf("%+v, want %+v", got.Standing(who), st)
		}
	}
	if b := r.Blocked(); !reflect.DeepEqual(b, map[peer.ID]Block{blocked: {"eve", start}}) {
		t.Errorf("blocked are %v", b)
	}
	if back, err := r.ByID(gone.ID); err != nil || back.Epochs.Read <= gone.Epochs.Read {
		t.Errorf("a share that was removed came back as %+v, %v", back, err)
	}
	if again := reopen(t, dir).List(); !reflect.DeepEqual(again, r.List()) {
		t.Errorf("saved is %+v, want %+v", again, r.List())
	}
}

// TestSealCrash stops a change after each of its steps: the share is as it was or as it should become, and nobody's right ends.
func TestSealCrash(t *testing.T) {
	for name, steps := range map[string]int{"before": 0, "the seal knows what comes": 1, "the file has its place": 2, "the seal knows that it has": 3} {
		t.Run(name, func(t *testing.T) {
			dir, s := example(t)
			r, _ := openAt(t, dir, start)
			after := r.items[0]
			after.Share = after.clone()
			after.Comment = "new"
			want := "c"
			if steps > 0 {
				tmp, b, err := r.seal.prepare(content{[]item{after}, r.Blocked()}, start)
				must(t, err)
				if steps > 1 {
					must(t, diskfile.Place(tmp, filepath.Join(dir, fileName)))
					want = "new"
				}
				if steps > 2 {
					must(t, r.seal.finish(b))
				}
			}
			for range 2 {
				r, log := openAt(t, dir, start.Add(time.Hour))
				got, err := r.ByID(s.ID)
				if err != nil || got.Comment != want || got.Epochs != s.Epochs || log != "" {
					t.Errorf("it is %+v, %v; the log says %q", got, err, log)
				}
				if all := names(t, dir); len(all) != 3 {
					t.Errorf("there are %q", all)
				}
			}
			// What was about to come is still no way for an older file.
			b, err := os.ReadFile(filepath.Join(dir, fileName))
			must(t, errors.Join(err, os.Remove(filepath.Join(dir, fileName)), os.WriteFile(filepath.Join(dir, fileName), b, 0o600)))
			r, _ = openAt(t, dir, start.Add(time.Hour))
			if got := epochs(t, r, s); got.Read <= s.Epochs.Read {
				t.Error("a copy passes for the file")
			}
		})
	}
}

// TestSealFails: a change that can't be sealed is not made; one that was made is known as ours.
func TestSealFails(t *testing.T) {
	dir, s := example(t)
	r, _ := openAt(t, dir, start)
	path := filepath.Join(dir, sealName)
	must(t, os.Rename(path, path+".good"))
	must(t, os.MkdirAll(filepath.Join(path, "in the way"), 0o755))
	wantKind(t, "Set", second(r.Set(s.ID, func(s *Share) { s.Comment = "new" }, start)), peer.Other)
	must(t, os.RemoveAll(path))
	must(t, os.Rename(path+".good", path))
	r, log := openAt(t, dir, start)
	if got, err := r.ByID(s.ID); err != nil || !reflect.DeepEqual(got, s) || log != "" {
		t.Errorf("it is %+v, %v; the log says %q", got, err, log)
	}
}

// TestSealForgets: the epochs of a share that is gone are kept for as long as a ticket to it could be, and a while more.
func TestSealForgets(t *testing.T) {
	dir := state(t)
	r, _ := openAt(t, dir, start)
	s := add(t, r, Share{Name: "s"})
	must(t, r.Remove(s.ID))
	sealed := func(after time.Duration) bool {
		r, _ := openAt(t, dir, start.Add(after))
		must(t, r.Block(somebody(t), "", start))
		_, ok := r.seal.last.Shares[s.ID.String()]
		return ok
	}
	if !sealed(grant.MaxTicketLife) {
		t.Error("it was forgotten")
	}
	if sealed(sealKeeps + time.Minute) {
		t.Error("it is kept for ever")
	}
}

// TestSealHasRoom: a restored list and the sealed one together are no more than a share can have.
func TestSealHasRoom(t *testing.T) {
	var was sealShare
	s := Share{Name: "s", Denied: make(map[peer.ID]time.Time)}
	for range MaxPeers - 1 {
		was.Denied = append(was.Denied, fileMark{Peer: somebody(t).String(), Since: start})
		s.Denied[somebody(t)] = start
	}
	was.restrict(&s)
	if len(s.Denied) != MaxPeers {
		t.Errorf("%d are denied", len(s.Denied))
	}
}

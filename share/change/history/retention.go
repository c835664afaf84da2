package history

import (
	"cmp"
	"slices"
	"time"
)

// Retention says how long versions are kept: all for a while, then fewer and fewer. A zero field is its default.
type Retention struct {
	All     time.Duration // every version is kept for so long; 1 h
	Hourly  time.Duration // then the last of each hour, up to this age; 24 h
	Daily   time.Duration // then the last of each day (UTC); 30 days
	Weekly  time.Duration // then the last of each week, and beyond this age none; 365 days
	PerPath int           // of one path, at most; 100. Beyond it those go that lie closest together
	Percent int           // of the disk that all versions together may fill; 10. Beyond it the oldest go
	// Safe is the age below which nothing that a peer replaced goes for its age or for room, so that no peer can flush out
	// what it overwrites; 24 h. Of a path with more than PerPath versions the first of each run by one peer is kept even then.
	Safe time.Duration
}

// Defaults fills in what is zero.
func (r Retention) Defaults() Retention {
	const day = 24 * time.Hour
	return Retention{
		All: cmp.Or(r.All, time.Hour), Hourly: cmp.Or(r.Hourly, day), Daily: cmp.Or(r.Daily, 30*day), Weekly: cmp.Or(r.Weekly, 365*day),
		PerPath: cmp.Or(r.PerPath, 100), Percent: cmp.Or(r.Percent, 10), Safe: cmp.Or(r.Safe, day),
	}
}

// run is how close changes of one path by one peer follow each other to be taken for one piece of work.
const run = 5 * time.Minute

// Version is what thinning looks at: when something was replaced, and by whom (0: the owner).
type Version struct {
	ID ID
	By uint16
}

// Thin gives the versions of one path that go, newest first. It looks at the versions and the time alone, and giving it what it
// left gives nothing more.
func (r Retention) Thin(now time.Time, vs []Version) (drop []ID) {
	r = r.Defaults()
	vs = slices.SortedFunc(slices.Values(vs), func(a, b Version) int { return cmp.Compare(b.ID, a.ID) })
	slots := map[slot]bool{}
	var left []Version
	for _, v := range vs {
		if age := now.Sub(v.ID.Time()); r.stays(v, age, slots) {
			left = append(left, v)
		} else {
			drop = append(drop, v.ID)
		}
	}
	return append(drop, r.crowd(now, left)...)
}

// slot is a span of time of which the last version is kept.
type slot struct {
	length time.Duration
	number int64
}

// stays reports whether a version is not too old; those before it were newer.
func (r Retention) stays(v Version, age time.Duration, slots map[slot]bool) bool {
	const day = 24 * time.Hour
	length := 7 * day
	switch {
	case age <= r.All, age <= r.Safe && v.By != 0:
		length = 0
	case age <= r.Hourly:
		length = time.Hour
	case age <= r.Daily:
		length = day
	case age > r.Weekly:
		return false
	}
	if length == 0 {
		return true
	}
	s := slot{length, v.ID.Time().Unix() / int64(length/time.Second)}
	taken := slots[s]
	slots[s] = true
	return !taken
}

// crowd gives what is too many: time and again the version whose neighbours are closest together. The newest and the oldest
// have only one neighbour and stay.
func (r Retention) crowd(now time.Time, vs []Version) (drop []ID) {
	for len(vs) > max(2, r.PerPath) {
		best, gap := -1, ID(0)
		for i := 1; i < len(vs)-1; i++ {
			if g := vs[i-1].ID - vs[i+1].ID; (best < 0 || g < gap) && !r.begins(now, vs[i], vs[i+1]) {
				best, gap = i, g
			}
		}
		if best < 0 {
			break
		}
		drop = append(drop, vs[best].ID)
		vs = slices.Delete(vs, best, best+1)
	}
	return drop
}

// begins reports whether a version is what a peer found when it began to change the path, within the time that Safe protects.
func (r Retention) begins(now time.Time, v, older Version) bool {
	return v.By != 0 && now.Sub(v.ID.Time()) <= r.Safe && (older.By != v.By || v.ID.Time().Sub(older.ID.Time()) > run)
}

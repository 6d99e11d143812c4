package state

import "time"

const (
	// fineGrain is the longest tick of a kernel's clock for time stamps.
	fineGrain = 10 * time.Millisecond
	// coarseGrain is that of FAT, the coarsest time stamps that are known.
	coarseGrain = 2 * time.Second
)

// Grain is for how long two writes to the file may leave one time stamp. It shows in the
// time stamps: where both are whole numbers of a unit, the file system has no finer.
func (s Stat) Grain() time.Duration {
	wholes := func(unit time.Duration) bool {
		return s.Mtime().Nanosecond()%int(unit) == 0 && s.Ctime().Nanosecond()%int(unit) == 0
	}
	switch {
	case wholes(time.Second):
		return coarseGrain
	case wholes(fineGrain): // exfat
		return 2 * fineGrain
	}
	return fineGrain
}

// longestSeen bounds how far back [Stat.SeenSince] goes.
const longestSeen = time.Minute

// SeenSince tells, by [Uptime], since when a file that was seen just now is known to be
// as it was seen. Where identity is proven the kernel that tells the time sets the
// change time of each write, so a file has been so since its change time.
func (s Stat) SeenSince(now time.Time) time.Duration {
	up := Uptime()
	if s.Mount != 0 {
		return up
	}
	if age := now.Sub(s.Ctime()); age > 0 {
		return max(up-min(age, longestSeen), 0)
	}
	return up
}

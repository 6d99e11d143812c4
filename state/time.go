package state

import (
	"math"
	"time"
)

// NoTime is a modification time that no file has.
const NoTime = math.MinInt64

const (
	// exactSeconds is up to how many seconds from 1970, before and after it, a time is
	// held to the nanosecond: from 1748 to 2191.
	exactSeconds = 7_000_000_000
	exactNs      = exactSeconds * int64(time.Second)
	// mostSeconds is up to where times differ at all: for some 70,000 years.
	mostSeconds = exactSeconds + (math.MaxInt64-exactNs)/int64(time.Second/time.Microsecond) - 1
)

// EncodeTime returns a file's time as [Stat] holds it: in nanoseconds since 1970, which
// 64 bits hold for 292 years to either side. So beyond exactSeconds they count
// microseconds: file systems hold times from 1601 (NTFS) or 1901 (ext4) to 2446 and
// later, and damaged ones anything. The order of the times is that of the numbers. It is
// never [NoTime].
func EncodeTime(sec, nsec int64) int64 {
	if -exactSeconds <= sec && sec < exactSeconds {
		return sec*int64(time.Second) + nsec
	}
	sec = min(max(sec, -mostSeconds), mostSeconds)
	us := nsec / int64(time.Microsecond)
	if sec < 0 {
		return (sec+exactSeconds)*int64(time.Second/time.Microsecond) + us - exactNs
	}
	return (sec-exactSeconds)*int64(time.Second/time.Microsecond) + us + exactNs
}

// DecodeTime is the time that a number of [EncodeTime] stands for; the zero time for
// [NoTime].
func DecodeTime(ns int64) time.Time {
	switch {
	case ns == NoTime:
		return time.Time{}
	case ns < -exactNs:
		us := ns + exactNs
		return time.Unix(us/1e6-exactSeconds, us%1e6*1e3)
	case ns >= exactNs:
		us := ns - exactNs
		return time.Unix(us/1e6+exactSeconds, us%1e6*1e3)
	}
	return time.Unix(0, ns)
}

// Mtime is when the content was modified, as the file system gives it.
func (s Stat) Mtime() time.Time { return DecodeTime(s.MtimeNs) }

// Ctime is when the file was changed, as the file system gives it.
func (s Stat) Ctime() time.Time { return DecodeTime(s.CtimeNs) }

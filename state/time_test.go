package state_test

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"iksync/state"
)

func TestTimesKeepTheirOrderAndComeBack(t *testing.T) {
	var times []time.Time
	for _, year := range []int{-9000, 1, 1601, 1677, 1678, 1748, 1901, 1970, 2026, 2191, 2262, 2263, 2300, 2446, 9999, 60056} {
		for _, ns := range []int{0, 1000, 999_999_000} {
			times = append(times, time.Date(year, 1, 1, 0, 0, 0, ns, time.UTC))
		}
	}
	for _, sec := range []int64{-7_000_000_000, 7_000_000_000} { // where the resolution changes
		times = append(times, time.Unix(sec, 0), time.Unix(sec-1, 999_999_000), time.Unix(sec, 1000))
	}
	slices.SortFunc(times, time.Time.Compare)
	before := int64(state.NoTime)
	for _, at := range times {
		ns := state.EncodeTime(at.Unix(), int64(at.Nanosecond()))
		if ns <= before {
			t.Errorf("%v is %d, which is not after %d", at, ns, before)
		}
		before = ns
		if back := state.DecodeTime(ns); !back.Equal(at) {
			t.Errorf("%v comes back as %v", at, back)
		}
	}
	for _, at := range []time.Time{time.Unix(0, 1), time.Unix(-1, 1), time.Date(2190, 1, 1, 0, 0, 0, 1, time.UTC)} {
		if ns := state.EncodeTime(at.Unix(), int64(at.Nanosecond())); ns != at.UnixNano() {
			t.Errorf("%v is %d, not its nanoseconds %d", at, ns, at.UnixNano())
		}
	}
	for _, sec := range []int64{math.MinInt64, math.MaxInt64} {
		if ns := state.EncodeTime(sec, 999_999_999); ns == state.NoTime || (ns < 0) != (sec < 0) {
			t.Errorf("%d seconds are %d", sec, ns)
		}
	}
}

func TestATimeThatNanosecondsDoNotHoldIsRecorded(t *testing.T) {
	db, root := openNew(t)
	want := make(map[string]string)
	stats := make(map[int64]string)
	for name, at := range map[string]time.Time{
		"2300":  time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC),
		"2400":  time.Date(2400, 1, 1, 0, 0, 0, 5e6, time.UTC),
		"1905":  time.Date(1905, 1, 1, 0, 0, 0, 0, time.UTC),
		"1600":  time.Date(1600, 1, 1, 0, 0, 0, 0, time.UTC),
		"1":     time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC),
		"9998":  time.Date(9998, 12, 31, 23, 59, 59, 0, time.UTC),
		"today": time.Now(),
	} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if !info.ModTime().Equal(at) {
			t.Logf("this file system makes %v of %v", info.ModTime(), at)
		}
		f := record(root.ID, name)
		f.Stat = state.StatOf(info)
		if other, ok := stats[f.Stat.MtimeNs]; ok && info.ModTime().Equal(at) {
			t.Errorf("%s has the time of %s", name, other)
		}
		stats[f.Stat.MtimeNs] = name
		put(t, db, f)
		back, err := db.FileAt(t.Context(), root.ID, name)
		if err != nil || !back.Stat.Same(f.Stat) || !back.Stat.Mtime().Equal(info.ModTime()) {
			t.Errorf("%s comes back as %v (%v), it is %v", name, back.Stat.Mtime(), err, info.ModTime())
		}
		want[name] = info.ModTime().UTC().Format("2006-01-02T15:04")
	}
	none := record(root.ID, "none")
	none.Stat.MtimeNs = state.NoTime
	put(t, db, none)
	want["none"] = ""
	rows, err := db.Query(t.Context(), `SELECT local_path, coalesce(substr(modified_at, 1, 16), '') FROM iksync_files`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name, at string
		if err := rows.Scan(&name, &at); err != nil {
			t.Fatal(err)
		}
		if at != want[name] {
			t.Errorf("the view has %s for %s, should have %s", at, name, want[name])
		}
	}
	if err := rows.Err(); err != nil {
		t.Error(err)
	}
}

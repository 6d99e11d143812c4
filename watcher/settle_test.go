package watcher

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"iksync/state"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return noon.Add(d) }

func TestAPathIsDueWhenItHasBeenQuietForTheSettleTime(t *testing.T) {
	s := newSettling(2 * time.Second)
	s.touch("a", at(0))
	s.touch("b", at(time.Second))
	s.touch("a", at(1500*time.Millisecond))
	for _, c := range []struct {
		at   time.Duration
		want string
	}{{0, ""}, {2 * time.Second, ""}, {3 * time.Second, "b"}, {3499 * time.Millisecond, ""}, {3500 * time.Millisecond, "a"}, {time.Hour, ""}} {
		got := ""
		if e := s.dueEntry(at(c.at)); e != nil {
			got = e.path
			s.drop(e)
		}
		if got != c.want {
			t.Errorf("after %v %q is due, should be %q", c.at, got, c.want)
		}
	}
	if len(s.entries) != 0 || len(s.order) != 0 {
		t.Error("something is left")
	}
}

func TestAFileIsSettledWhen(t *testing.T) {
	const mb = 1 << 20
	// look is one look at the file: when, its size and how old its ctime and mtime
	// are then; negative is in the future, which a clock that differs makes of both.
	type look struct {
		at      time.Duration
		size    int64
		ctime   time.Duration
		mtime   time.Duration
		settled bool
		again   time.Duration // when it is looked at next, if not settled
	}
	const sec = time.Second
	for _, c := range []struct {
		name  string
		looks []look
	}{
		{"its ctime is old enough", []look{{2 * sec, 1, 2 * sec, 2 * sec, true, 0}}},
		{"its ctime is old enough, wherever its mtime is", []look{{2 * sec, 1, 2 * sec, -1000 * time.Hour, true, 0}}},
		{"it is not written any more", []look{{2 * sec, 1, sec, sec, false, 2 * sec}, {4 * sec, 1, 3 * sec, 3 * sec, true, 0}}},
		{"two looks agree though its clock is ahead", []look{{2 * sec, 1, -time.Hour, -time.Hour, false, 2 * sec}, {4 * sec, 1, 2*sec - time.Hour, 2*sec - time.Hour, true, 0}}},
		{"two looks agree though its clock is years ahead", []look{{2 * sec, 1, -500_000 * time.Hour, 0, false, 2 * sec}, {4 * sec, 1, -500_000 * time.Hour, 2 * sec, true, 0}}},
		{"its clock is behind", []look{{2 * sec, 1, time.Hour, time.Hour, true, 0}}},
		{"it does not grow any more, the later the bigger it is", []look{
			{2 * sec, 100 * mb, sec, sec, false, 2 * sec},
			{4 * sec, 200 * mb, sec, sec, false, 5 * sec},
			{9 * sec, 300 * mb, 3 * sec, 3 * sec, false, 6 * sec},
			{15 * sec, 10_000 * mb, sec, sec, false, 30 * sec},
			{45 * sec, 10_000 * mb, 31 * sec, 31 * sec, true, 0},
		}},
		{"a big one was written in one go", []look{{2 * sec, 10_000 * mb, 2 * sec, 2 * sec, true, 0}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSettling(2 * sec)
			s.touch("a", at(0))
			for i, l := range c.looks {
				now := at(l.at)
				e := s.dueEntry(now)
				if e == nil {
					t.Fatalf("look %d: not due", i)
				}
				st := state.Stat{Size: l.size, CtimeNs: now.Add(-l.ctime).UnixNano(), MtimeNs: now.Add(-l.mtime).UnixNano(), Ino: 7}
				if got := s.settled(e, st, now); got != l.settled {
					t.Fatalf("look %d: settled is %v", i, got)
				}
				if next, _ := s.next(); !l.settled && !next.Equal(now.Add(l.again)) {
					t.Errorf("look %d: the next is in %v, should be %v", i, next.Sub(now), l.again)
				}
			}
		})
	}
}

func TestEntriesComeInTheOrderInWhichTheyAreDue(t *testing.T) {
	s := newSettling(time.Second)
	r := rand.New(rand.NewPCG(1, 2))
	due := make(map[string]time.Time)
	for range 5000 {
		p, now := fmt.Sprint(r.IntN(500)), at(time.Duration(r.IntN(1e9)))
		s.touch(p, now)
		due[p] = now.Add(time.Second)
		if e := s.entries[fmt.Sprint(r.IntN(500))]; e != nil && r.IntN(4) == 0 {
			s.drop(e)
			delete(due, e.path)
		}
	}
	for last := at(0); ; {
		e := s.dueEntry(at(time.Hour))
		if e == nil {
			break
		}
		if e.due.Before(last) || !e.due.Equal(due[e.path]) {
			t.Fatalf("%s is due at %v after %v", e.path, e.due, last)
		}
		last = e.due
		s.drop(e)
		delete(due, e.path)
	}
	if len(due) != 0 {
		t.Errorf("%d are lost", len(due))
	}
}

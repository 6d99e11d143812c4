package state_test

import (
	"testing"
	"time"

	"iksync/state"
)

func TestProve(t *testing.T) {
	t.Parallel()
	const proven, unproven, otherMount = 0, 7, 8
	hash, otherHash := state.Hash{1}, state.Hash{2}
	stat := func(mount int64, change func(*state.Stat)) state.Stat {
		st := state.Stat{Size: 5, MtimeNs: 100, CtimeNs: 200, Dev: 1, Ino: 10, Mount: mount}
		if change != nil {
			change(&st)
		}
		return st
	}
	record := func(mount int64) state.Content {
		return state.Content{Stat: stat(mount, nil), Read: true, Hash: hash}
	}
	inode := func(st *state.Stat) { st.Ino = 11 }
	device := func(st *state.Stat) { st.Dev = 2 }
	ctime := func(st *state.Stat) { st.CtimeNs++ }
	mtime := func(st *state.Stat) { st.MtimeNs++ }
	size := func(st *state.Stat) { st.Size++ }
	adopted := func(mount int64) state.Content {
		c := record(mount)
		c.Unproven = true
		return c
	}
	unread := func(mount int64) state.Content { return state.Content{Stat: stat(mount, nil)} }
	seen := func(mount int64, change func(*state.Stat)) state.Content {
		return state.Content{Stat: stat(mount, change)}
	}
	read := func(hash state.Hash, change func(*state.Stat)) state.Content {
		return state.Content{Stat: stat(unproven, change), Read: true, Hash: hash}
	}
	for name, c := range map[string]struct {
		record, observed state.Content
		at               state.Relation
		want             state.Proof
	}{
		"same path, nothing differs":                   {record(proven), seen(proven, nil), state.SamePath, state.Equal},
		"same path, another device number":             {record(proven), seen(proven, device), state.SamePath, state.Equal},
		"same path, another inode":                     {record(proven), seen(proven, inode), state.SamePath, state.NotCompared},
		"same path, another change time":               {record(proven), seen(proven, ctime), state.SamePath, state.NotCompared},
		"same path, another modification time":         {record(proven), seen(proven, mtime), state.SamePath, state.Different},
		"same path, another size":                      {record(proven), seen(proven, size), state.SamePath, state.Different},
		"unproven, same path, nothing differs":         {record(unproven), seen(otherMount, nil), state.SamePath, state.Equal},
		"unproven, same path, renumbered by a mount":   {record(unproven), seen(otherMount, inode), state.SamePath, state.NotCompared},
		"unproven, same path, renumbered in one mount": {record(unproven), seen(unproven, inode), state.SamePath, state.NotCompared},
		"unproven, same path, changed in one mount":    {record(unproven), seen(unproven, ctime), state.SamePath, state.NotCompared},
		"unproven since, same path, renumbered":        {record(proven), seen(unproven, inode), state.SamePath, state.NotCompared},
		"same path, renumbered, nothing to compare":    {unread(unproven), seen(otherMount, inode), state.SamePath, state.Different},
		"same path, nothing differs, never read":       {unread(proven), seen(proven, nil), state.SamePath, state.Equal},
		"same path, read and equal":                    {record(proven), read(hash, mtime), state.SamePath, state.Equal},
		"same path, read and different":                {record(proven), read(otherHash, nil), state.SamePath, state.Different},
		"same path, adopted, touched":                  {adopted(proven), seen(proven, ctime), state.SamePath, state.NotCompared},
		"same path, adopted, read and equal":           {adopted(proven), read(hash, mtime), state.SamePath, state.Equal},
		"same path, read, and the record never":        {unread(proven), read(state.Hash{}, nil), state.SamePath, state.Different},
		"moved, nothing differs":                       {record(proven), seen(proven, nil), state.OtherPath, state.Equal},
		"moved, another device":                        {record(proven), seen(proven, device), state.OtherPath, state.NotCompared},
		"moved, another inode":                         {record(proven), seen(proven, inode), state.OtherPath, state.NotCompared},
		"moved, another change time":                   {record(proven), seen(proven, ctime), state.OtherPath, state.NotCompared},
		"moved, another modification time":             {record(proven), seen(proven, mtime), state.OtherPath, state.Different},
		"moved, unproven, nothing differs":             {record(unproven), seen(unproven, nil), state.OtherPath, state.NotCompared},
		"moved, recorded as unproven, nothing differs": {record(unproven), seen(proven, nil), state.OtherPath, state.NotCompared},
		"moved, unproven, read and equal":              {record(unproven), read(hash, nil), state.OtherPath, state.Equal},
		"moved, unproven, read and different":          {record(unproven), read(otherHash, nil), state.OtherPath, state.Different},
		"moved, adopted, nothing differs":              {adopted(proven), seen(proven, nil), state.OtherPath, state.Different},
		"moved, adopted, read and equal":               {adopted(proven), read(hash, nil), state.OtherPath, state.Different},
		"moved, never read, nothing differs":           {unread(proven), seen(proven, nil), state.OtherPath, state.Different},
		"copied, read and equal in hash, another size": {record(proven), read(hash, size), state.OtherPath, state.Different},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := state.Prove(c.record, c.observed, c.at); got != c.want {
				t.Errorf("the proof is %q, should be %q", got, c.want)
			}
		})
	}
}

func TestGrainShowsInTheTimeStamps(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		mtime, ctime int64
		want         time.Duration
	}{
		"whole seconds, as FAT has":  {4e9, 4e9, 2 * time.Second},
		"nanoseconds":                {4e9 + 1, 4e9 + 2, 10 * time.Millisecond},
		"a copied modification time": {4e9, 5e9 + 123456, 10 * time.Millisecond},
		"hundredths, as exfat has":   {4e9 + 10e6, 4e9 + 20e6, 20 * time.Millisecond},
	} {
		if got := (state.Stat{MtimeNs: c.mtime, CtimeNs: c.ctime}).Grain(); got != c.want {
			t.Errorf("%s: %s, should be %s", name, got, c.want)
		}
	}
}

func TestSinceWhenAFileIsKnownToBeAsItIs(t *testing.T) {
	t.Parallel()
	now := time.Now()
	age := func(st state.Stat) time.Duration { return state.Uptime() - st.SeenSince(now) }
	old, future := now.Add(-10*time.Second).UnixNano(), now.Add(time.Hour).UnixNano()
	if a := age(state.Stat{CtimeNs: old}); a < 9*time.Second {
		t.Errorf("by its change time: for %s", a)
	}
	if a := age(state.Stat{CtimeNs: old, Mount: 1}); a >= 9*time.Second {
		t.Errorf("a change time that proves nothing: for %s", a)
	}
	if a := age(state.Stat{CtimeNs: future}); a >= 9*time.Second {
		t.Errorf("a change time to come: for %s", a)
	}
}

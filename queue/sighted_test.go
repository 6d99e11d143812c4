package queue

import "testing"

// TestReplaced decides whether a directory is the recorded one, from what a scan has found.
func TestReplaced(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		s    sighted
		want bool
	}{
		{"nothing is recorded", sighted{}, false},
		{"the first scan, all as recorded", sighted{inStep: 5, found: 5, records: 5, all: 5}, false},
		{"the first scan, nothing as recorded", sighted{records: 5, all: 5}, true},
		{"approved", sighted{any: true, stranger: true, missing: 60, records: 60, all: 60}, false},

		{"the same disk, all there", sighted{same: true, proven: true, records: 60, found: 60, all: 60}, false},
		{"the same disk, all changed", sighted{same: true, proven: true, records: 60, all: 60}, false},
		{"the same disk, half of them deleted", sighted{same: true, proven: true, records: 60, missing: 30, found: 30, all: 60}, false},
		{"the same disk, few files, all deleted", sighted{same: true, proven: true, records: 9, missing: 9, all: 9}, false},
		{"the same disk is back", sighted{same: true, proven: true, stranger: true, records: 60, found: 60, all: 60}, false},
		{"a clone of it with other files", sighted{same: true, proven: true, records: 60, missing: 60, all: 60}, true},
		{"the same disk, few left", sighted{same: true, proven: true, records: 60, missing: 59, found: 1, all: 60}, false},
		{"a clone of it whose files were changed", sighted{same: true, proven: true, records: 60, missing: 10, found: 0, all: 60}, true},
		{"a clone of it that stays", sighted{same: true, proven: true, stranger: true, records: 60, missing: 60, found: -3, all: 90}, true},

		{"no id, all there", sighted{same: true, records: 60, found: 60, all: 60}, false},
		{"no id, most there", sighted{same: true, records: 60, found: 31, missing: 29, all: 60}, false},
		{"no id, half there", sighted{same: true, records: 60, found: 30, missing: 30, all: 60}, false},
		{"no id, few there", sighted{same: true, records: 60, found: 29, missing: 31, all: 60}, true},
		{"no id, all changed", sighted{same: true, records: 60, all: 60}, true},
		{"no id, back", sighted{same: true, stranger: true, records: 60, found: 60, all: 60}, false},
		{"no id, another still, with files that were uploaded from it", sighted{same: true, stranger: true, records: 60, missing: 60, found: 0, inStep: 90, all: 150}, true},

		{"another disk with the files themselves", sighted{inStep: 31, records: 60, found: 60, all: 60}, false},
		{"another disk with copies of them", sighted{records: 60, found: 60, all: 60}, true},
		{"another disk that stays", sighted{stranger: true, inStep: 60, found: 60, records: 60, all: 60}, true},
	} {
		if got := c.s.replaced(); got != c.want {
			t.Errorf("%s: replaced is %v", c.name, got)
		}
	}
}

func TestIdentityIs(t *testing.T) {
	t.Parallel()
	disk := Identity{ID: []byte("uuid:1:80"), Earlier: []byte("0:0:801:80"), Weak: true}
	strong := Identity{ID: []byte("fsid:1:2"), Earlier: []byte("1:2:0:2")}
	none := Identity{ID: []byte(ByFiles), Earlier: []byte("0:0:30:1"), Weak: true}
	for _, c := range []struct {
		id           Identity
		recorded     string
		same, proven bool
	}{
		{disk, "uuid:1:80", true, true}, {disk, "uuid:2:80", false, false}, {disk, "0:0:801:80", true, false}, {disk, "0:0:802:80", false, false}, {disk, ByFiles, true, false},
		{strong, "1:2:0:2", true, true}, {strong, "1:3:0:2", false, false},
		{none, ByFiles, true, false}, {none, "0:0:30:1", true, false}, {none, "0:0:31:1", true, false}, {none, "uuid:1:80", true, false},
		{Identity{ID: []byte("x")}, "y", false, false},
	} {
		if same, proven := c.id.Is([]byte(c.recorded)); same != c.same || proven != c.proven {
			t.Errorf("%s is %q: %v, proven %v", c.id.ID, c.recorded, same, proven)
		}
	}
}

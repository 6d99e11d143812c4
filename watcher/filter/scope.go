package filter

import (
	"slices"
	"strings"
	"time"
)

// Scope is the state of the filters in one directory: with it, a decision about
// an entry needs the entry's name only. It comes from Set.Root and Enter, is
// two words long, and stays valid for ever.
type Scope struct {
	set *Set
	at  *place
}

// place is what a Scope knows of its directory. Directories where the same
// holds share one.
type place struct {
	exclude, include []thread
	included         *line     // matched this directory or one above, in Include
	cut              *Decision // excluded this directory or one above
}

// Root is the scope of the root's own directory.
func (s *Set) Root() Scope { return Scope{s, &s.root} }

// Enter decides on the directory name inside sc's directory and returns the
// scope inside it. When the decision excludes it, nothing below is wanted and
// there is no need to look; the scope then repeats that decision for everything.
//
// A directory is excluded by a pattern, or because it lies outside of Include
// and nothing below it could be inside.
func (sc Scope) Enter(name string) (Scope, Decision) {
	s, at := sc.set, sc.at
	if at.cut != nil {
		return sc, *at.cut
	}
	d, excluded := s.byExclude(at, name, true)
	if excluded {
		return sc.cutBy(d), d
	}

	// The threads are built here first: only those that differ from what
	// another scope has are worth an allocation.
	var excludeBuf, includeBuf [32]thread
	exclude := step(excludeBuf[:0], s.exclude.lines, at.exclude, name)
	var include []thread
	included := at.included
	if s.including && included == nil {
		ln, _ := s.include.find(at.include, name, true)
		if ln != nil && !ln.negated {
			included = ln
		} else {
			include = step(includeBuf[:0], s.include.lines, at.include, name)
			if !s.include.mayMatchBelow(include) {
				d := Decision{Excluded: true, Rule: RuleInclude, Pattern: textOf(ln)}
				return sc.cutBy(d), d
			}
		}
	}
	if included != nil && d.Rule == RuleNone {
		d = Decision{Rule: RuleInclude, Pattern: included.text}
	}
	return Scope{s, s.place(at, exclude, include, included)}, d
}

// place returns a place for these threads, an old one if it fits.
func (s *Set) place(at *place, exclude, include []thread, included *line) *place {
	if included == at.included && slices.Equal(exclude, at.exclude) && slices.Equal(include, at.include) {
		return at
	}
	if included == nil && len(exclude) == 0 && len(include) == 0 {
		return &s.free
	}
	return &place{exclude: slices.Clone(exclude), include: slices.Clone(include), included: included}
}

func (sc Scope) cutBy(d Decision) Scope {
	return Scope{sc.set, &place{cut: &d}}
}

// File decides on the file name inside sc's directory: size in bytes, mtime when
// it was modified, now the time to reckon its age by. The patterns are asked
// first, then type, size and age.
func (sc Scope) File(name string, size int64, mtime, now time.Time) Decision {
	s, at := sc.set, sc.at
	if at.cut != nil {
		return *at.cut
	}
	d, excluded := s.byExclude(at, name, false)
	if excluded {
		return d
	}
	if s.including {
		ln := at.included
		if ln == nil {
			ln, _ = s.include.find(at.include, name, false)
			if ln == nil || ln.negated {
				return Decision{Excluded: true, Rule: RuleInclude, Pattern: textOf(ln)}
			}
		}
		if d.Rule == RuleNone {
			d = Decision{Rule: RuleInclude, Pattern: ln.text}
		}
	}
	switch {
	case s.kinds != 0 && !s.kinds.has(KindOf(name)):
		return Decision{Excluded: true, Rule: RuleType, Pattern: s.typesText}
	case s.minSize > 0 && size < s.minSize:
		return Decision{Excluded: true, Rule: RuleMinSize, Pattern: s.minSizeText}
	case s.maxSize > 0 && size > s.maxSize:
		return Decision{Excluded: true, Rule: RuleMaxSize, Pattern: s.maxSizeText}
	case s.minAge > 0 && now.Sub(mtime) < s.minAge:
		return Decision{Excluded: true, Rule: RuleMinAge, Pattern: s.minAgeText, Retry: mtime.Add(s.minAge)}
	}
	return d
}

// byExclude asks the exclude list. A line that re-includes is told in the
// decision, too.
func (s *Set) byExclude(at *place, name string, dir bool) (d Decision, excluded bool) {
	ln, i := s.exclude.find(at.exclude, name, dir)
	if ln == nil {
		return Decision{}, false
	}
	rule := RuleExclude
	if i < s.junk {
		rule = RuleJunk
	}
	return Decision{Excluded: !ln.negated, Rule: rule, Pattern: ln.text}, !ln.negated
}

func textOf(ln *line) string {
	if ln == nil {
		return ""
	}
	return ln.text
}

// Path decides on the file at path, slash-separated and relative to the root:
// Enter for every directory, then File. The decision about a directory that is
// excluded is returned as it is. With a slash at its end, path is a directory,
// whose size and times do not count. Empty names are skipped.
func (s *Set) Path(path string, size int64, mtime, now time.Time) Decision {
	sc := s.Root()
	var d Decision
	for path != "" {
		var name string
		var dir bool
		name, path, dir = cutName(path)
		switch {
		case name == "":
		case !dir:
			return sc.File(name, size, mtime, now)
		default:
			if sc, d = sc.Enter(name); d.Excluded {
				return d
			}
		}
	}
	return d
}

// cutName cuts the first name off a path. dir: a slash follows it.
func cutName(path string) (name, rest string, dir bool) {
	return strings.Cut(path, "/")
}

package filter

import (
	"strings"
	"time"
)

// Options say which files of a root are wanted. The zero value wants every file.
type Options struct {
	// Junk puts Junk() in front of Exclude, so that a "!" line of Exclude can
	// take a junk pattern back.
	Junk bool

	// Exclude are gitignore lines: later ones win, "!" re-includes, an excluded
	// directory cuts its tree. Blank lines and comments say nothing.
	Exclude []string

	// Include are gitignore lines too. Unless they are empty, or all blank or
	// comments, only files are wanted that they match, or that lie below a
	// directory that they match: what .gitignore would ignore is included.
	Include []string

	// Types are "image", "video", "audio" and "any", told by the file's
	// extension; empty is any.
	Types []string

	// MinSize and MaxSize bound a file's size in bytes, both included; 0 or
	// less is no bound.
	MinSize, MaxSize int64

	// MinAge is how long ago a file must have been modified; 0 or less is no
	// bound. A file dated in the future waits until its date has come, too.
	MinAge time.Duration
}

// Set is a root's filters, ready for use. It comes from New.
type Set struct {
	exclude, include *list
	junk             int  // so many lines of exclude are Junk's
	including        bool // include has lines

	kinds            kindSet // 0: any
	minSize, maxSize int64
	minAge           time.Duration

	// The bounds as decisions name them, spelt once and not for every file.
	typesText, minSizeText, maxSizeText, minAgeText string

	root, free place // free: no anchored line can match any more
}

// New compiles the options. The error is a *PatternError for an entry that is
// malformed, that could never match anything, or that names an unknown type.
func New(o Options) (*Set, error) {
	s := &Set{minSize: o.MinSize, maxSize: o.MaxSize, minAge: o.MinAge}
	var junk []line
	var err error
	if o.Junk {
		if junk, err = parseLines("junk", Junk()); err != nil {
			return nil, err
		}
	}
	exclude, err := parseLines("exclude", o.Exclude)
	if err != nil {
		return nil, err
	}
	include, err := parseLines("include", o.Include)
	if err != nil {
		return nil, err
	}
	s.exclude, s.junk = newList(append(junk, exclude...)), len(junk)
	s.include, s.including = newList(include), len(include) > 0
	if s.kinds, err = parseTypes(o.Types); err != nil {
		return nil, err
	}

	s.typesText = strings.Join(o.Types, ", ")
	s.minSizeText = formatSize(o.MinSize)
	s.maxSizeText = formatSize(o.MaxSize)
	s.minAgeText = o.MinAge.String()
	s.root = place{exclude: s.exclude.root, include: s.include.root}
	return s, nil
}

// parseTypes returns 0 when every file is of a wanted type.
func parseTypes(types []string) (kindSet, error) {
	var set kindSet
	all := false
	for i, t := range types {
		switch t {
		case "any":
			all = true
		case Image.String():
			set |= 1 << Image
		case Video.String():
			set |= 1 << Video
		case Audio.String():
			set |= 1 << Audio
		default:
			return 0, &PatternError{List: "types", Index: i, Pattern: t, Err: errUnknownType}
		}
	}
	if all {
		return 0, nil
	}
	return set, nil
}

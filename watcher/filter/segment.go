package filter

import "strings"

// element is one step of a segment: a run of any bytes, one byte out of a set,
// one byte whatever it is, or one given byte.
type element struct {
	kind elementKind
	char byte     // of a literal
	set  *byteSet // of a oneOf
}

type elementKind uint8

const (
	literal elementKind = iota
	anyByte
	oneOf
	star
)

func (e *element) matches(c byte) bool {
	switch e.kind {
	case literal:
		return e.char == c
	case oneOf:
		return e.set.has(c)
	default:
		return true
	}
}

// segment matches one name, that is a path's part between two slashes.
type segment struct {
	shape    shape
	prefix   string    // the name itself when shape is plain
	suffix   string    // of an affix
	elements []element // of a glob
}

// shape is the cheapest way to match a segment.
type shape uint8

const (
	plain shape = iota // exactly prefix
	affix              // prefix, anything, suffix
	glob               // elements
)

func newSegment(elements []element) segment {
	var before, after strings.Builder
	into, stars := &before, 0
	for _, e := range elements {
		switch e.kind {
		case star:
			stars++
			into = &after
		case literal:
			into.WriteByte(e.char)
		default:
			stars = 2 // not to be told by prefix and suffix
		}
		if stars > 1 {
			return segment{shape: glob, elements: elements}
		}
	}
	if stars == 0 {
		return segment{shape: plain, prefix: before.String()}
	}
	return segment{shape: affix, prefix: before.String(), suffix: after.String()}
}

func (s *segment) match(name string) bool {
	switch s.shape {
	case plain:
		return s.prefix == name
	case affix:
		return len(name) >= len(s.prefix)+len(s.suffix) &&
			strings.HasSuffix(name, s.suffix) && strings.HasPrefix(name, s.prefix)
	default:
		return matchElements(s.elements, name)
	}
}

// matchElements goes back to the last star only. That is enough, because an
// earlier star that took more bytes would leave less for what already matched:
// at most len(elements) steps for every byte of name.
func matchElements(elements []element, name string) bool {
	i, j := 0, 0
	back, taken := -1, 0 // the element after the last star, and where its run ends
	for j < len(name) {
		switch {
		case i < len(elements) && elements[i].kind == star:
			i++
			back, taken = i, j
		case i < len(elements) && elements[i].matches(name[j]):
			i++
			j++
		case back >= 0:
			taken++
			i, j = back, taken
		default:
			return false
		}
	}
	for i < len(elements) && elements[i].kind == star {
		i++
	}
	return i == len(elements)
}

// firstByte is the byte that every matching name begins with.
func (s *segment) firstByte() (byte, bool) {
	if s.shape != glob {
		if s.prefix == "" {
			return 0, false
		}
		return s.prefix[0], true
	}
	e := s.elements[0]
	return e.char, e.kind == literal
}

// lastByte is the byte that every matching name ends with. It is not told for a
// plain segment, which has a first one.
func (s *segment) lastByte() (byte, bool) {
	if s.shape != glob {
		if s.suffix == "" {
			return 0, false
		}
		return s.suffix[len(s.suffix)-1], true
	}
	e := s.elements[len(s.elements)-1]
	return e.char, e.kind == literal
}

package filter

import "strings"

// maxPattern is the longest line in bytes. No path is longer on Linux.
const maxPattern = 4096

// line is one parsed line of a list.
type line struct {
	text     string // without what git drops at its end; reported in decisions
	negated  bool   // began with "!"
	dirOnly  bool   // ended with "/"
	anchored bool   // holds a "/" elsewhere: matches the path, not just the name

	name  segment // when not anchored
	parts []part  // when anchored: what the path's names must be, in order
}

// part is one element of an anchored line: a name, or a "**" between slashes.
type part struct {
	gap  gap
	name segment // when gap is noGap
}

// gap is how many names a part stands for.
type gap uint8

const (
	noGap  gap = iota // exactly one, matched by the segment
	anyGap            // "**/": none or more, never the last part
	oneGap            // "**" at the end, or "**\/": one or more
)

// parseLine reads a line as git does. ok is false when the line says nothing:
// it is blank or a comment.
func parseLine(raw string) (ln line, ok bool, err error) {
	text := trim(raw)
	switch {
	case text == "" || text[0] == '#':
		return line{}, false, nil
	case len(text) > maxPattern:
		return line{}, false, errTooLong
	case strings.IndexByte(text, 0) >= 0:
		return line{}, false, errNUL
	case strings.IndexByte(text, '\n') >= 0:
		return line{}, false, errLineBreak
	}

	ln.text = text
	rest := text
	rest, ln.negated = strings.CutPrefix(rest, "!")
	rest, ln.dirOnly = strings.CutSuffix(rest, "/")
	ln.anchored = strings.IndexByte(rest, '/') >= 0
	rest = strings.TrimPrefix(rest, "/")
	if rest == "" {
		return line{}, false, errEmpty
	}
	parts, err := parseParts(rest)
	if err != nil {
		return line{}, false, err
	}
	if ln.anchored {
		ln.parts = mergeGaps(parts)
		return ln, true, nil
	}
	ln.name = parts[0].name
	if parts[0].gap != noGap {
		ln.name = newSegment([]element{{kind: star}}) // "**" among names is "*"
	}
	return ln, true, nil
}

// trim drops what git drops at the end of a line: one carriage return, then the
// spaces that no backslash protects.
func trim(raw string) string {
	text := strings.TrimSuffix(raw, "\r")
	end := 0 // behind the last byte that stays
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case ' ':
		case '\\':
			i++
			end = i + 1
		default:
			end = i + 1
		}
	}
	return text[:min(end, len(text))]
}

// parseParts splits at the slashes, which are those outside of brackets, be
// they escaped or not.
func parseParts(p string) ([]part, error) {
	var parts []part
	var name []element
	for i := 0; i < len(p); {
		switch c := p[i]; {
		case c == '/' || strings.HasPrefix(p[i:], `\/`):
			nm, err := closeName(name)
			if err != nil {
				return nil, err
			}
			parts, name = append(parts, part{name: nm}), nil
			i += slashLen(p[i:])
		case c == '\\':
			if i+1 == len(p) {
				return nil, errBackslash
			}
			name = append(name, element{kind: literal, char: p[i+1]})
			i += 2
		case c == '?':
			name = append(name, element{kind: anyByte})
			i++
		case c == '[':
			set, next, err := parseSet(p, i)
			if err != nil {
				return nil, err
			}
			name = append(name, element{kind: oneOf, set: set})
			i = next
		case c == '*':
			rest := strings.TrimLeft(p[i:], "*")
			run := len(p) - i - len(rest)
			i += run
			if run < 2 || len(name) > 0 || rest != "" && slashLen(rest) == 0 {
				// Only a "**" that is a whole name crosses slashes.
				name = append(name, element{kind: star})
				break
			}
			if rest == "" {
				return append(parts, part{gap: oneGap}), nil
			}
			g := anyGap
			if rest[0] == '\\' {
				g = oneGap // git lets "**" stand for no name before a bare slash only
			}
			parts = append(parts, part{gap: g})
			i += slashLen(rest)
		default:
			name = append(name, element{kind: literal, char: c})
			i++
		}
	}
	nm, err := closeName(name)
	if err != nil {
		return nil, err
	}
	return append(parts, part{name: nm}), nil
}

// slashLen is how many bytes a separator at the beginning of p has, or 0.
func slashLen(p string) int {
	switch {
	case strings.HasPrefix(p, "/"):
		return 1
	case strings.HasPrefix(p, `\/`):
		return 2
	}
	return 0
}

func closeName(elements []element) (segment, error) {
	if len(elements) == 0 {
		return segment{}, errEmptyName
	}
	s := newSegment(elements)
	if s.shape == plain && (s.prefix == "." || s.prefix == "..") {
		return segment{}, errDotName
	}
	return s, nil
}

// mergeGaps joins neighbours of which one may stand for nothing, so that an
// anyGap is always followed by a name. step relies on that.
func mergeGaps(parts []part) []part {
	merged := parts[:0]
	for _, p := range parts {
		if n := len(merged); n > 0 && p.gap != noGap && merged[n-1].gap != noGap {
			switch {
			case p.gap == anyGap:
				continue
			case merged[n-1].gap == anyGap:
				merged[n-1] = p
				continue
			}
		}
		merged = append(merged, p)
	}
	return merged
}

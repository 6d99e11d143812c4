package filter

import "strings"

// byteSet is a set of bytes, one bit each.
type byteSet [4]uint64

func (s *byteSet) has(c byte) bool { return s[c>>6]&(1<<(c&63)) != 0 }
func (s *byteSet) add(c byte)      { s[c>>6] |= 1 << (c & 63) }

// addRange adds lo to hi, both included; nothing when hi is below lo.
func (s *byteSet) addRange(lo, hi byte) {
	for c := int(lo); c <= int(hi); c++ {
		s.add(byte(c))
	}
}

// parseSet reads the bracket expression at p[i] == '[' and returns what it
// matches and the index behind its "]".
func parseSet(p string, i int) (*byteSet, int, error) {
	set := new(byteSet)
	i++
	negated := i < len(p) && (p[i] == '!' || p[i] == '^')
	if negated {
		i++
	}

	// prev is the low end of a range that a "-" would make; 0 when what came
	// before cannot be one: nothing, another range, or a class.
	var prev byte
	for first := true; ; first = false {
		if i >= len(p) {
			return nil, 0, errBracket
		}
		c := p[i]
		if c == ']' && !first {
			break
		}
		switch {
		case c == '\\':
			i++
			if i >= len(p) {
				return nil, 0, errBracket
			}
			set.add(p[i])
			prev = p[i]
		case c == '-' && prev != 0 && i+1 < len(p) && p[i+1] != ']':
			i++
			if p[i] == '\\' {
				i++
				if i >= len(p) {
					return nil, 0, errBracket
				}
			}
			set.addRange(prev, p[i])
			prev = 0
		case c == '[' && i+1 < len(p) && p[i+1] == ':':
			// The name ends at the next "]" and not at the next ":]": when no
			// ":" stands before it, the bracket is an ordinary member.
			n := strings.IndexByte(p[i+2:], ']')
			if n < 0 {
				return nil, 0, errBracket
			}
			name, ok := strings.CutSuffix(p[i+2:i+2+n], ":")
			if !ok {
				set.add('[')
				prev = '['
				break
			}
			if !set.addClass(name) {
				return nil, 0, errClassName
			}
			prev = 0
			i += 2 + n
		default:
			set.add(c)
			prev = c
		}
		i++
	}

	if negated {
		for w := range set {
			set[w] = ^set[w]
		}
	}
	// A set never stands for the separator, not even a negated one, and NUL
	// stands in no name.
	set[0] &^= 1 | 1<<'/'
	if *set == (byteSet{}) {
		return nil, 0, errEmptySet
	}
	return set, i + 1, nil
}

// addClass adds the members of a POSIX class as git sees them: ASCII only,
// whatever the locale, and without vertical tab and form feed in "space".
func (s *byteSet) addClass(name string) bool {
	switch name {
	case "alnum":
		s.addClass("alpha")
		s.addClass("digit")
	case "alpha":
		s.addClass("lower")
		s.addClass("upper")
	case "blank":
		s.add(' ')
		s.add('\t')
	case "cntrl":
		s.addRange(0, 0x1f)
		s.add(0x7f)
	case "digit":
		s.addRange('0', '9')
	case "graph":
		s.addRange('!', '~')
	case "lower":
		s.addRange('a', 'z')
	case "print":
		s.addRange(' ', '~')
	case "punct":
		s.addRange('!', '/')
		s.addRange(':', '@')
		s.addRange('[', '`')
		s.addRange('{', '~')
	case "space":
		s.add(' ')
		s.add('\t')
		s.add('\n')
		s.add('\r')
	case "upper":
		s.addRange('A', 'Z')
	case "xdigit":
		s.addClass("digit")
		s.addRange('a', 'f')
		s.addRange('A', 'F')
	default:
		return false
	}
	return true
}

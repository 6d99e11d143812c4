package filter

// thread says how far an anchored line has come: the names of the directories
// gone down so far are matched by the parts before part.
//
// The threads of a directory are kept by falling line and, within a line, by
// rising part: the first that matches belongs to the line that decides.
type thread struct {
	line, part int32
}

// begin gives the threads of the root.
func begin(lines []line) []thread {
	var threads []thread
	for i := len(lines) - 1; i >= 0; i-- {
		if lines[i].anchored {
			threads = advance(threads, lines, thread{line: int32(i)})
		}
	}
	return threads
}

// step appends to dst the threads inside the directory name, given those of the
// directory that holds it. It needs no set to keep threads apart: a thread at
// part p leads to p, p+1 and (over an anyGap) p+2 and always to those between
// too, so what the next thread repeats is never above the last one appended.
func step(dst []thread, lines []line, src []thread, name string) []thread {
	for _, t := range src {
		p := &lines[t.line].parts[t.part]
		next := thread{t.line, t.part + 1}
		switch p.gap {
		case anyGap:
			dst = advance(dst, lines, t)
		case oneGap:
			dst = advance(dst, lines, t)
			dst = advance(dst, lines, next)
		default:
			if p.name.match(name) {
				dst = advance(dst, lines, next)
			}
		}
	}
	return dst
}

// advance appends t and what it leads to without any name, unless they are
// there or the line has no part left.
func advance(dst []thread, lines []line, t thread) []thread {
	parts := lines[t.line].parts
	for int(t.part) < len(parts) {
		if n := len(dst); n == 0 || dst[n-1].line != t.line || dst[n-1].part < t.part {
			dst = append(dst, t)
		}
		if parts[t.part].gap != anyGap {
			break
		}
		t.part++
	}
	return dst
}

// matches reports whether the line of t matches an entry of the directory.
func (t thread) matches(lines []line, name string, dir bool) bool {
	ln := &lines[t.line]
	if int(t.part) != len(ln.parts)-1 || ln.dirOnly && !dir {
		return false
	}
	p := &ln.parts[t.part]
	return p.gap != noGap || p.name.match(name)
}

package filter

// list is an ordered list of lines with an index over those that match names,
// so that an entry is compared with the few lines that can match it.
type list struct {
	lines []line
	root  []thread // of the anchored lines

	// Lines by the cheapest sure sign, numbers falling in each: a whole name,
	// the first byte, the last byte, or none.
	plain map[string]plainLines
	first [256][]int32
	last  [256][]int32
	rest  []int32

	// wants: some line that matches names is not negated, so that any
	// directory may hold a match.
	wants bool
}

// plainLines are the last lines for one whole name; -1 is none.
type plainLines struct {
	file int32 // that matches a file of this name
	dir  int32 // that matches a directory of this name
}

// parseLines parses the lines that say something; the error is a *PatternError.
func parseLines(kind string, raw []string) ([]line, error) {
	lines := make([]line, 0, len(raw))
	for i, text := range raw {
		ln, ok, err := parseLine(text)
		if err != nil {
			return nil, &PatternError{List: kind, Index: i, Pattern: text, Err: err}
		}
		if ok {
			lines = append(lines, ln)
		}
	}
	return lines, nil
}

func newList(lines []line) *list {
	l := &list{lines: lines, root: begin(lines), plain: make(map[string]plainLines)}
	for i := len(lines) - 1; i >= 0; i-- {
		if ln := &lines[i]; !ln.anchored {
			l.index(int32(i), ln)
			l.wants = l.wants || !ln.negated
		}
	}
	return l
}

// index adds line i; the lines come from the last to the first.
func (l *list) index(i int32, ln *line) {
	if ln.name.shape == plain {
		p, ok := l.plain[ln.name.prefix]
		if !ok {
			p = plainLines{-1, -1}
		}
		p.dir = max(p.dir, i)
		if !ln.dirOnly {
			p.file = max(p.file, i)
		}
		l.plain[ln.name.prefix] = p
	} else if c, ok := ln.name.firstByte(); ok {
		l.first[c] = append(l.first[c], i)
	} else if c, ok := ln.name.lastByte(); ok {
		l.last[c] = append(l.last[c], i)
	} else {
		l.rest = append(l.rest, i)
	}
}

// find returns the last line that matches an entry of the directory with these
// threads, or nil. Its number is returned too, -1 for none.
func (l *list) find(threads []thread, name string, dir bool) (*line, int) {
	if name == "" || len(l.lines) == 0 {
		return nil, -1
	}
	best := int32(-1)
	if p, ok := l.plain[name]; ok {
		best = p.file
		if dir {
			best = p.dir
		}
	}
	best = l.scan(l.first[name[0]], best, name, dir)
	best = l.scan(l.last[name[len(name)-1]], best, name, dir)
	best = l.scan(l.rest, best, name, dir)
	for _, t := range threads {
		if t.line <= best {
			break
		}
		if t.matches(l.lines, name, dir) {
			best = t.line
			break
		}
	}
	if best < 0 {
		return nil, -1
	}
	return &l.lines[best], int(best)
}

// scan looks for a later line than best.
func (l *list) scan(numbers []int32, best int32, name string, dir bool) int32 {
	for _, i := range numbers {
		if i <= best {
			break
		}
		if ln := &l.lines[i]; (dir || !ln.dirOnly) && ln.name.match(name) {
			return i
		}
	}
	return best
}

// mayMatchBelow reports whether any line that is not negated can still match
// something in a directory with these threads.
func (l *list) mayMatchBelow(threads []thread) bool {
	if l.wants {
		return true
	}
	for _, t := range threads {
		if !l.lines[t.line].negated {
			return true
		}
	}
	return false
}

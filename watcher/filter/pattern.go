package filter

// Pattern is one gitignore pattern that stands alone. It comes from Compile.
type Pattern struct {
	lines []line // one
	root  []thread
}

// Compile reads one pattern as a line of gitignore. A blank line, a comment and
// a "!" line, which mean nothing alone, are errors as well. The error is a
// *PatternError without a list.
func Compile(pattern string) (*Pattern, error) {
	ln, ok, err := parseLine(pattern)
	switch {
	case err != nil:
	case !ok && trim(pattern) == "":
		err = errEmpty
	case !ok:
		err = errComment
	case ln.negated:
		err = errNegated
	}
	if err != nil {
		return nil, &PatternError{Pattern: pattern, Err: err}
	}
	p := &Pattern{lines: []line{ln}}
	p.root = begin(p.lines)
	return p, nil
}

// String is the pattern's text, without the spaces at its end that count for
// nothing.
func (p *Pattern) String() string { return p.lines[0].text }

// Match reports whether the pattern matches the file at path, slash-separated
// and relative to the root, or a directory above it. With a slash at its end,
// path is a directory. Empty names are skipped.
func (p *Pattern) Match(path string) bool {
	var bufs [2][16]thread
	threads, turn := p.root, 0
	ln := &p.lines[0]
	for path != "" {
		var name string
		var dir bool
		name, path, dir = cutName(path)
		switch {
		case name == "":
			continue
		case !ln.anchored:
			if (dir || !ln.dirOnly) && ln.name.match(name) {
				return true
			}
			continue
		}
		for _, t := range threads {
			if t.matches(p.lines, name, dir) {
				return true
			}
		}
		// Two buffers in turn: step reads the one while it fills the other.
		threads = step(bufs[turn][:0], p.lines, threads, name)
		turn = 1 - turn
		if len(threads) == 0 {
			return false
		}
	}
	return false
}

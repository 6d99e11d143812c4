package filter

import (
	"errors"
	"strings"
	"testing"
)

func TestPatternsThatStandAlone(t *testing.T) {
	for _, c := range []struct {
		name, pattern, path string
		want                bool
	}{
		{"a name at any depth", "a.jpg", "x/y/a.jpg", true},
		{"a directory above", "raw", "x/raw/y/a.jpg", true},
		{"a directory line and a directory above", "raw/", "x/raw/a.jpg", true},
		{"a directory line and a file", "raw/", "x/raw", false},
		{"a directory line and a path that says it is one", "raw/", "x/raw/", true},
		{"an anchored line", "/2024/*.jpg", "2024/a.jpg", true},
		{"an anchored line elsewhere", "/2024/*.jpg", "x/2024/a.jpg", false},
		{"an anchored directory above", "/2024", "2024/x/a.jpg", true},
		{"two stars", "a/**/b", "a/x/y/b", true},
		{"two stars and a directory above", "a/**/b", "a/x/b/c/d", true},
		{"two stars at the end", "a/**", "a", false},
		{"empty names in the path", "a/b/c", "/a//b///c", true},
		{"an empty path", "*", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := Compile(c.pattern)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Match(c.path); got != c.want {
				t.Errorf("%q matches %q: %t", c.pattern, c.path, got)
			}
			if p.String() != c.pattern {
				t.Errorf("%q reads %q", c.pattern, p)
			}
		})
	}
}

func TestCompileRejectsWhatSaysNothingAlone(t *testing.T) {
	for pattern, want := range map[string]error{"": errEmpty, "  ": errEmpty, "\r": errEmpty, "#a": errComment, "!a": errNegated} {
		_, err := Compile(pattern)
		wantPatternError(t, err, &PatternError{Pattern: pattern, Err: want})
	}
}

// Exponential backtracking would not end in a lifetime; that this test ends is
// the proof.
func TestManyStarsDoNotExplode(t *testing.T) {
	for _, c := range []struct{ name, pattern, path, end string }{
		{"stars in a name", strings.Repeat("a*", 1000) + "b", strings.Repeat("a", 4000), "b"},
		{"stars and question marks", strings.Repeat("*?", 1000) + "b", strings.Repeat("a", 4000), "b"},
		{"stars and sets", strings.Repeat("*[ab]", 800) + "c", strings.Repeat("ab", 2000), "c"},
		{"pairs of stars", strings.Repeat("**/a/", 600) + "b", strings.Repeat("a/", 600), "b"},
		{"pairs of stars with stars between", strings.Repeat("**/*a*/", 500) + "b", strings.Repeat("aa/", 600), "b"},
		{"pairs of stars before escaped slashes", strings.Repeat(`**\/`, 600) + "b", strings.Repeat("a/", 600), "b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := Compile(c.pattern)
			if err != nil {
				t.Fatal(err)
			}
			if p.Match(c.path + "x") {
				t.Error("it matches a path that ends otherwise")
			}
			if !p.Match(c.path + c.end) {
				t.Error("it does not match")
			}
		})
	}
}

// FuzzPattern compares with a slow reader of the pattern's bytes that knows of
// no fast path, and one that goes through a list.
func FuzzPattern(f *testing.F) {
	for _, c := range gitignoreCases {
		for _, l := range c.lines {
			for _, p := range append(c.excluded[:len(c.excluded):len(c.excluded)], c.wanted...) {
				f.Add(l, p)
			}
		}
	}
	for _, c := range badLines {
		f.Add(c.line, "a/b")
	}
	f.Add(strings.Repeat("a*", 50)+"b", strings.Repeat("a", 255))
	f.Fuzz(func(t *testing.T, pattern, path string) {
		if !realPath(path) || len(pattern) > 200 || len(path) > 300 {
			return
		}
		p, err := Compile(pattern)
		if err != nil {
			for _, e := range []error{errEmpty, errComment, errNegated, errTooLong, errLineBreak, errNUL} {
				if errors.Is(err, e) {
					return
				}
			}
			if slowMatch(trim(pattern), path) {
				t.Fatalf("%q is rejected (%v) but matches %q", pattern, err, path)
			}
			return
		}
		want := slowMatch(trim(pattern), path)
		if got := p.Match(path); got != want {
			t.Fatalf("%q matches %q: %t, the slow way: %t", pattern, path, got, want)
		}
		if got := decide(mustNew(t, Options{Exclude: []string{pattern}}), path).Excluded; got != want {
			t.Fatalf("%q excludes %q: %t, the slow way: %t", pattern, path, got, want)
		}
		if got := decide(mustNew(t, Options{Exclude: []string{"*", "!" + pattern}}), path).Excluded; !got && !want {
			t.Fatalf("%q does not match %q but re-includes it", pattern, path)
		}
	})
}

// realPath: a path as a walk finds it.
func realPath(path string) bool {
	for _, n := range strings.Split(strings.TrimSuffix(path, "/"), "/") {
		if n == "" || n == "." || n == ".." || strings.IndexByte(n, 0) >= 0 {
			return false
		}
	}
	return true
}

// slowMatch reads gitignore's rules one after another for path and each
// directory above it.
func slowMatch(pattern, path string) bool {
	path, isDir := strings.CutSuffix(path, "/")
	pattern, dirOnly := strings.CutSuffix(pattern, "/")
	anchored := strings.Contains(pattern, "/")
	pattern = strings.TrimPrefix(pattern, "/")
	for i := 0; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' || dirOnly && i == len(path) && !isDir {
			continue
		}
		text := path[:i]
		if !anchored {
			text = text[strings.LastIndexByte(text, '/')+1:]
		}
		w := slowMatcher{pattern: pattern, text: text, known: map[[2]int]bool{}}
		if w.match(0, 0) {
			return true
		}
	}
	return false
}

// slowMatcher tries every way to spend the text on the pattern, remembering the
// answers so that the fuzzer does not wait for it.
type slowMatcher struct {
	pattern, text string
	known         map[[2]int]bool
}

func (w *slowMatcher) match(i, j int) bool {
	key := [2]int{i, j}
	answer, ok := w.known[key]
	if !ok {
		answer = w.try(i, j)
		w.known[key] = answer
	}
	return answer
}

func (w *slowMatcher) try(i, j int) bool {
	p, text := w.pattern, w.text
	if i == len(p) {
		return j == len(text)
	}
	if p[i] == '*' {
		end := i
		for end < len(p) && p[end] == '*' {
			end++
		}
		rest := p[end:]
		wide := end-i > 1 && (i == 0 || p[i-1] == '/') &&
			(rest == "" || rest[0] == '/' || strings.HasPrefix(rest, `\/`))
		if wide && rest != "" && rest[0] == '/' && w.match(end+1, j) {
			return true
		}
		for k := j; ; k++ {
			if w.match(end, k) {
				return true
			}
			if k == len(text) || text[k] == '/' && !wide {
				return false
			}
		}
	}
	if j == len(text) {
		return false
	}
	c := text[j]
	switch p[i] {
	case '?':
		return c != '/' && w.match(i+1, j+1)
	case '\\':
		return i+1 < len(p) && p[i+1] == c && w.match(i+2, j+1)
	case '[':
		in, next := slowSet(p, i+1, c)
		return in && c != '/' && w.match(next, j+1)
	default:
		return p[i] == c && w.match(i+1, j+1)
	}
}

// slowSet reads the set behind "[" at p[:i] for the byte c; next is behind it.
func slowSet(p string, i int, c byte) (in bool, next int) {
	not := i < len(p) && strings.IndexByte("!^", p[i]) >= 0
	if not {
		i++
	}
	start := i
	low := -1
	for i < len(p) && (p[i] != ']' || i == start) {
		m := p[i]
		if m == '[' && i+1 < len(p) && p[i+1] == ':' {
			end := strings.IndexByte(p[i+2:], ']')
			if end < 0 {
				return false, 0
			}
			if name := p[i+2 : i+2+end]; strings.HasSuffix(name, ":") {
				members, ok := slowClasses()[name[:len(name)-1]]
				if !ok {
					return false, 0
				}
				in = in || strings.IndexByte(members, c) >= 0
				i, low = i+3+end, -1
				continue
			}
		}
		if m == '-' && low >= 0 && i+1 < len(p) && p[i+1] != ']' {
			i++
			if p[i] == '\\' {
				i++
			}
			if i == len(p) {
				return false, 0
			}
			in = in || low <= int(c) && c <= p[i]
			i, low = i+1, -1
			continue
		}
		if m == '\\' {
			i++
			if i == len(p) {
				return false, 0
			}
			m = p[i]
		}
		in = in || m == c
		i, low = i+1, int(m)
	}
	if i >= len(p) {
		return false, 0
	}
	return in != not, i + 1
}

func slowClasses() map[string]string {
	const lower, upper, digit = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"
	const punct = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
	cntrl := "\x7f"
	for c := range 32 {
		cntrl += string(rune(c))
	}
	return map[string]string{
		"lower": lower, "upper": upper, "alpha": lower + upper, "digit": digit, "alnum": lower + upper + digit,
		"xdigit": digit + "abcdefABCDEF", "punct": punct, "graph": lower + upper + digit + punct,
		"print": lower + upper + digit + punct + " ", "blank": " \t", "space": " \t\n\r", "cntrl": cntrl,
	}
}

package filter

import (
	"strings"
	"testing"
	"time"
)

// gitignoreCase is a list and what it does to paths; a slash at a path's end
// means a directory. TestGitignoreRules tells us, TestGitAgreesWithTheRules git.
type gitignoreCase struct {
	name     string
	lines    []string
	excluded []string
	wanted   []string
}

var gitignoreCases = []gitignoreCase{
	{"a bare name matches at every depth", []string{"a.jpg"},
		[]string{"a.jpg", "x/a.jpg", "x/y/a.jpg"}, []string{"b.jpg", "a.jpgx", "xa.jpg", "a.jp"}},
	{"a bare name matches a directory and cuts its tree", []string{"raw"},
		[]string{"raw/", "x/raw/", "x/raw/y/z"}, []string{"raws/a", "x/"}},
	{"names are case-sensitive", []string{"a.JPG"}, []string{"a.JPG"}, []string{"a.jpg", "A.JPG"}},
	{"a leading slash anchors", []string{"/a"}, []string{"a"}, []string{"x/a", "aa"}},
	{"a slash in the middle anchors", []string{"a/b.jpg"}, []string{"a/b.jpg"}, []string{"x/a/b.jpg", "b.jpg", "a/b.jpg2"}},
	{"a trailing slash does not anchor", []string{"build/"}, []string{"build/", "x/build/", "x/build/y"}, []string{"x/y"}},
	{"a trailing slash matches directories only", []string{"build/"}, nil, []string{"build", "x/build"}},
	{"an anchored directory is a directory only", []string{"/a/b/"}, []string{"a/b/", "a/b/c"}, []string{"x/a/b/", "a/c"}},
	{"an anchored directory spares a file", []string{"/a/b/"}, nil, []string{"a/b"}},
	{"below an excluded directory nothing is re-included", []string{"build/", "!build/keep"},
		[]string{"build/", "build/keep", "build/x/keep"}, []string{"keep"}},
	{"below an excluded directory no directory is re-included", []string{"build", "!build/keep/", "!*.jpg"},
		[]string{"build/keep/", "build/keep/a.jpg"}, []string{"a.jpg"}},
	{"everything but one directory", []string{"/*", "!/foo", "/foo/*", "!/foo/bar"},
		[]string{"a", "x/", "foo/a", "foo/x/"}, []string{"foo/", "foo/bar/", "foo/bar/a"}},
	{"only one extension in all directories", []string{"*", "!*/", "!*.jpg"},
		[]string{"a", "x/a.png", "x/y/z.gif"}, []string{"a.jpg", "x/", "x/a.jpg", "x/y/b.jpg"}},
	{"later lines win", []string{"*.jpg", "!a.jpg", "/x/a.jpg"}, []string{"b.jpg", "x/a.jpg"}, []string{"a.jpg", "y/a.jpg"}},
	{"a re-included name is excluded again", []string{"a", "!a", "a"}, []string{"a", "x/a"}, nil},
	{"an excluded name is re-included again", []string{"a", "a", "!a"}, nil, []string{"a", "x/a"}},
	{"a directory line that comes later does not win over a file line", []string{"a", "!a/"}, []string{"a"}, []string{"b/"}},
	{"a directory line re-includes the directory", []string{"a", "!a/"}, nil, []string{"a/", "a/b"}},
	{"a star does not cross slashes", []string{"/a*c"}, []string{"ac", "abc", "abbc"}, []string{"a/c", "ab/c", "x/abc"}},
	{"a star in the middle stands for one name", []string{"a/*/c"}, []string{"a/b/c"}, []string{"a/c", "a/b/b/c"}},
	{"a star at the end of a path takes one level, whose trees are cut", []string{"a/*"},
		[]string{"a/b", "a/c/", "a/c/d"}, []string{"a/", "x/a/b"}},
	{"a star matches the empty string", []string{"a*.jpg", "*b"}, []string{"a.jpg", "b"}, []string{"c"}},
	{"a star matches a leading dot", []string{"*.jpg", "x?y"}, []string{".jpg", ".a.jpg", "x.y"}, []string{"jpg"}},
	{"a question mark is one byte and not a slash", []string{"?.gif", "/a?b"},
		[]string{"a.gif", "x/b.gif", "\xff.gif", "axb"}, []string{".gif", "aa.gif", "é.gif", "a/b", "ab"}},
	{"two question marks are a two-byte letter", []string{"??.gif"}, []string{"é.gif"}, []string{"日.gif"}},
	{"two stars and a slash match at every depth", []string{"**/a/b"},
		[]string{"a/b", "x/a/b", "x/y/a/b"}, []string{"a/x/b", "b"}},
	{"two stars before a name match at every depth", []string{"**/a"}, []string{"a", "x/a", "x/y/a"}, []string{"xa", "x/ya"}},
	{"two stars at the end match everything inside but not the directory", []string{"a/**"},
		[]string{"a/b", "a/b/c"}, []string{"a/", "x/a/b", "b"}},
	{"two stars at the end of a bare directory line", []string{"a/**/"},
		[]string{"a/b/", "a/b/c"}, []string{"a/", "a/c"}},
	{"two stars between slashes match no name or more", []string{"a/**/b"},
		[]string{"a/b", "a/x/b", "a/x/y/b"}, []string{"a/xb", "x/a/b", "a/x/yb", "a/"}},
	{"two stars next to a letter are one star", []string{"/a**b", "/c**/d"},
		[]string{"ab", "axb", "c/d", "cx/d"}, []string{"a/b", "cx/y/d", "c/x/d"}},
	{"two stars next to a star are one star", []string{"/x?**/d"}, []string{"xy/d"}, []string{"x/d", "xy/z/d"}},
	{"three stars are two", []string{"a/***/b", "***/c"}, []string{"a/b", "a/x/b", "c", "x/y/c"}, []string{"b"}},
	{"two pairs of stars", []string{"a/**/b/**/c"},
		[]string{"a/b/c", "a/x/b/c", "a/b/x/c", "a/x/b/y/c", "a/b/b/c"}, []string{"a/c", "a/x/c", "b/c"}},
	{"pairs of stars one after another", []string{"a/**/**/b", "c/**/**"}, []string{"a/b", "a/x/b", "c/x", "c/x/y"}, []string{"c/"}},
	{"two stars before an escaped slash are one name or more", []string{`a/**\/b`}, []string{"a/x/b", "a/x/y/b"}, []string{"a/b"}},
	{"two stars alone match everything", []string{"**"}, []string{"a", "x/", "x/a"}, nil},
	{"a slash and two stars match everything", []string{"/**"}, []string{"a", "x/", "x/a"}, nil},
	{"two stars and a slash match every directory", []string{"**/"}, []string{"x/", "x/a"}, []string{"a"}},
	{"a slash and a star match everything in the root", []string{"/*", "!/x"}, []string{"a", "y/", "y/a"}, []string{"x/", "x/a"}},
	{"an escaped slash is a slash", []string{`a\/b`}, []string{"a/b"}, []string{"x/a/b"}},
	{"a set", []string{"[abc].jpg"}, []string{"a.jpg", "x/c.jpg"}, []string{"d.jpg", "ab.jpg", ".jpg"}},
	{"a negated set with an exclamation mark", []string{"[!x].jpg"}, []string{"a.jpg", "!.jpg"}, []string{"x.jpg", ".jpg"}},
	{"a negated set with a caret", []string{"[^x].jpg"}, []string{"a.jpg", "^.jpg"}, []string{"x.jpg"}},
	{"a negated set does not match a slash", []string{"/a[!x]b"}, []string{"ayb"}, []string{"a/b", "axb"}},
	{"a range", []string{"[a-c]1", "[x-]2", "[-x]3"}, []string{"a1", "b1", "c1", "x2", "-2", "-3", "x3"}, []string{"d1", "-1", "y2", "y3"}},
	{"a range that runs backwards is its first byte", []string{"[c-ax]1"}, []string{"c1", "x1"}, []string{"a1", "b1", "-1"}},
	{"a range after a range", []string{"[a-c-e]1"}, []string{"a1", "c1", "-1", "e1"}, []string{"d1"}},
	{"a range over bytes above ASCII", []string{"[\x80-\xff]"}, []string{"\xe9", "\x80"}, []string{"a", "é"}},
	{"a closing bracket first in a set", []string{"[]a]1", "[!]a]2"}, []string{"]1", "a1", "b2"}, []string{"b1", "]2", "a2"}},
	{"an opening bracket in a set", []string{"[[]1", "[a[]2"}, []string{"[1", "[2", "a2"}, []string{"]1", "a1"}},
	{"an escape in a set", []string{`[\]]1`, `[a\-c]2`, `[\!a]3`, `[\\]4`, `[a-\c]5`},
		[]string{"]1", "a2", "-2", "c2", "!3", "a3", `\4`, "b5"}, []string{`\1`, "b2", "b3", `\5`}},
	{"a slash in a set anchors and is not matched", []string{"x[/a]b"}, []string{"xab"}, []string{"y/xab", "x/b"}},
	{"a digit class", []string{"IMG_[[:digit:]].jpg"}, []string{"IMG_1.jpg", "x/IMG_0.jpg"}, []string{"IMG_a.jpg", "IMG_12.jpg", "IMG_:.jpg"}},
	{"a negated class", []string{"[![:digit:]]1", "[^[:alpha:]_]2"}, []string{"a1", ":1", "12", ".2"}, []string{"21", "a2", "_2"}},
	{"classes of letters", []string{"[[:alpha:]]1", "[[:upper:]]2", "[[:lower:]]3", "[[:alnum:]]4"},
		[]string{"a1", "Z1", "A2", "z3", "94", "b4"}, []string{"11", "a2", "A3", "_4", "\xe91"}},
	{"classes of signs", []string{"[[:punct:]]1", "[[:xdigit:]]2", "[[:blank:]]3", "[[:graph:]]4", "[[:print:]]5"},
		[]string{"!1", "~1", "_1", "f2", "F2", "02", " 3", "\t3", "!4", "a4", " 5"}, []string{"a1", "g2", "a3", " 4", "\x015", "\x7f1"}},
	{"classes of space and control", []string{"[[:space:]]1", "[[:cntrl:]]2"},
		[]string{" 1", "\t1", "\n1", "\r1", "\x012", "\x7f2", "\t2"}, []string{"\v1", "\f1", "a1", " 2"}},
	{"several classes in a set", []string{"[[:digit:][:upper:]x-z]1"}, []string{"01", "A1", "y1"}, []string{"a1", "-1"}},
	{"a class cannot begin a range", []string{"[[:digit:]-z]1"}, []string{"51", "-1", "z1"}, []string{"y1"}},
	{"what only begins like a class is a set", []string{"[[:]1", "[[:a]2", "[[:digit]3"}, []string{"[1", ":1", "a2", "d3", "[3"}, []string{"51", "b2", "03"}},
	{"a backslash escapes wildcards", []string{`\*`, `a\?`, `\[b]`}, []string{"*", "a?", "[b]"}, []string{"x", "ab", "b"}},
	{"a backslash before a letter counts for nothing", []string{`\a\b`}, []string{"ab", "x/ab"}, []string{`\a\b`}},
	{"a doubled backslash is a backslash", []string{`a\\b`}, []string{`a\b`}, []string{"ab"}},
	{"a hash begins a comment", []string{"#a", "b"}, []string{"b"}, []string{"#a", "a"}},
	{"a hash that is escaped or not in front is a hash", []string{`\#a`, "b#", " #c", "!#d"}, []string{"#a", "b#", " #c"}, []string{"#c"}},
	{"an exclamation mark that is escaped is itself", []string{`\!a`, "*.b", `!\!c.b`}, []string{"!a", "x.b"}, []string{"a", "!c.b"}},
	{"a second exclamation mark belongs to the name", []string{"*a", "!!a"}, []string{"a", "xa"}, []string{"!a"}},
	{"blank lines say nothing", []string{"", "   ", "a", ""}, []string{"a"}, []string{"b", " "}},
	{"spaces at the end are dropped", []string{"a   ", "b /  "}, []string{"a", "b /"}, []string{"a ", "a   "}},
	{"an escaped space at the end stays", []string{`a\ `, `b\  `, `c \ `}, []string{"a ", "b ", "c  "}, []string{"a", "b", "c "}},
	{"spaces in front and within stay", []string{" a", "b c"}, []string{" a", "b c"}, []string{"a", "bc"}},
	{"a tab at the end stays", []string{"a\t"}, []string{"a\t"}, []string{"a"}},
	{"a carriage return at the end is dropped", []string{"a\r", "b\r\r", "c \r"}, []string{"a", "b\r", "c"}, []string{"a\r", "b"}},
	{"a carriage return in a set is not at the end", []string{"Icon[\r]"}, []string{"Icon\r"}, []string{"Icon"}},
	{"regular expressions are not known", []string{"(a|b)", "a+", "^c$", "d.e", "{x,y}"},
		[]string{"(a|b)", "a+", "^c$", "d.e", "{x,y}"}, []string{"a", "aa", "c", "dxe", "x"}},
	{"bytes that are not UTF-8 match themselves", []string{"\xff*", "é?"}, []string{"\xff", "\xffa", "é\xfe"}, []string{"a\xff", "é"}},
	{"a prefix and a suffix may not overlap", []string{"ab*ba"}, []string{"abba", "abxba"}, []string{"aba"}},
	{"stars go back", []string{"/a*b*c", "x*yz*z"}, []string{"abc", "abbbc", "aXbXbXc", "xyzyzz"}, []string{"acb", "ab", "xyz"}},
	{"an excluded directory is named before a line that matches the file", []string{"*.jpg", "x/"}, []string{"x/a.jpg", "a.jpg"}, []string{"y/"}},
	{"a directory re-included by a deep line", []string{"/x/*", "!/x/y/", "/x/y/*", "!/x/y/*.jpg"},
		[]string{"x/a.jpg", "x/z/", "x/y/a.png"}, []string{"x/", "x/y/", "x/y/a.jpg"}},
	{"the junk list spares files with the names of junk directories", Junk(), nil, []string{"$RECYCLE.BIN", "@eaDir", "lost+found"}},
	{"the junk list", Junk(),
		[]string{".DS_Store", "x/._IMG_1.jpg", "Icon\r", "Thumbs.db", "thumbs.db", "$RECYCLE.BIN/", "x/@eaDir/a.jpg", "#recycle/a.jpg",
			"~syncthing~a.jpg.tmp", ".syncthing.a.jpg.tmp", "a.jpg.part", "a~", "#a#", ".#a", "~$a.psd", ".IMG_1.jpg.AbC123", ".a.HEIC.zzzzzz"},
		[]string{"IMG_1.jpg", "Icon", "part.jpg", "#1.jpg", "~a.jpg", ".hidden.jpg", ".notes.txt.backup", "tmp/", "a.tmp.jpg"}},
}

// decide asks about a file, or about a directory when path ends with a slash.
func decide(s *Set, path string) Decision {
	return s.Path(path, 1, time.Time{}, time.Time{})
}

func TestGitignoreRules(t *testing.T) {
	for _, c := range gitignoreCases {
		t.Run(c.name, func(t *testing.T) {
			s, err := New(Options{Exclude: c.lines})
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range c.excluded {
				if d := decide(s, p); !d.Excluded {
					t.Errorf("%q is wanted (%v), should be excluded", p, d)
				}
			}
			for _, p := range c.wanted {
				if d := decide(s, p); d.Excluded {
					t.Errorf("%q is excluded (%v), should be wanted", p, d)
				}
			}
		})
	}
}

// badLines can never match; git takes them without a word.
var badLines = []struct {
	name, line string
	want       error
}{
	{"a lone slash", "/", errEmpty},
	{"a lone exclamation mark", "!", errEmpty},
	{"a negated slash", "!/", errEmpty},
	{"two slashes", "//", errEmpty},
	{"a doubled slash in front", "//a", errEmptyName},
	{"a doubled slash within", "a//b", errEmptyName},
	{"a doubled slash at the end", "a//", errEmptyName},
	{"a doubled slash after stars", "**//", errEmptyName},
	{"an escaped slash in front", `\/a`, errEmptyName},
	{"an escaped slash at the end", `a\/`, errBackslash},
	{"a backslash at the end", `a\`, errBackslash},
	{"a backslash alone", `\`, errBackslash},
	{"a bracket that is not closed", "[a", errBracket},
	{"a bracket closed only at once", "[]", errBracket},
	{"a negated bracket closed only at once", "a[!]", errBracket},
	{"a bracket that ends with an escape", `[a\`, errBracket},
	{"a bracket whose end is escaped", `[a\]`, errBracket},
	{"a bracket behind the slash at the end", "[a/", errBracket},
	{"a class that is not closed", "[[:digit:", errBracket},
	{"a class without a name", "[[::]]", errClassName},
	{"an unknown class", "[[:dIgit:]]", errClassName},
	{"a set of no byte", "[!\x01-\xff]", errEmptySet},
	{"a set of a slash only", "a[/]b", errEmptySet},
	{"a dot in front", "./a", errDotName},
	{"a name of dots", "a/../b", errDotName},
	{"a dot alone", ".", errDotName},
	{"a dot as a directory", "./", errDotName},
}

func TestNewRejectsLinesThatCanNeverMatch(t *testing.T) {
	more := append(badLines[:len(badLines):len(badLines)], []struct {
		name, line string
		want       error
	}{
		{"a NUL byte", "a\x00", errNUL},
		{"a line break", "a\nb", errLineBreak},
		{"a very long line", strings.Repeat("a", maxPattern+1), errTooLong},
	}...)
	for _, c := range more {
		t.Run(c.name, func(t *testing.T) {
			for _, o := range []struct {
				list string
				Options
			}{
				{"exclude", Options{Junk: true, Exclude: []string{"# ours", "", c.line}}},
				{"include", Options{Include: []string{"a", "b", c.line}}},
			} {
				_, err := New(o.Options)
				wantPatternError(t, err, &PatternError{List: o.list, Index: 2, Pattern: c.line, Err: c.want})
			}
			_, err := Compile(c.line)
			if c.line[0] != '!' {
				wantPatternError(t, err, &PatternError{Pattern: c.line, Err: c.want})
			}
		})
	}
}

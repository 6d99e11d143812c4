package filter

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// repository is a git repository whose directories each have a .gitignore of
// their own, so that one call of git answers for many lists.
type repository struct {
	dir string

	// wideStars: this git lets "**" cross slashes after a literal beginning, as
	// in "a**/b", against its own documentation. It was a mistake of the
	// prefix comparison in match_pathname, mended in git 2.52.
	wideStars bool
}

func newRepository(t testing.TB) *repository {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed; nothing to compare with")
	}
	r := &repository{dir: t.TempDir()}
	if out, err := r.git("init", "-q", "--template=").CombinedOutput(); err != nil {
		t.Fatalf("git init: %v: %s", err, out)
	}
	probe := [][]string{{"a/x/b"}}
	r.mkdir(t, 0, probe[0])
	r.wideStars = r.ask(t, [][]string{{"a**/b"}}, probe)[0][0] != ""
	if err := os.RemoveAll(filepath.Join(r.dir, directory(0))); err != nil {
		t.Fatal(err)
	}
	return r
}

// comparable replaces the lines by comments that this git reads otherwise than
// its documentation says.
func (r *repository) comparable(lines []string) []string {
	kept := slices.Clone(lines)
	for i, text := range kept {
		if r.wideStars && wideStarsLine.MatchString(strings.TrimPrefix(text, "!")) {
			kept[i] = "#"
		}
	}
	return kept
}

var wideStarsLine = regexp.MustCompile(`^/?[^*?\[\\]*[^*?\[\\/]\*\*+(\\?/|\s*$)`)

// git prepares a call that no configuration of the machine or user reaches.
func (r *repository) git(args ...string) *exec.Cmd {
	cmd := exec.Command("git", append([]string{
		"-c", "core.excludesFile=" + os.DevNull, "-c", "core.ignoreCase=false",
	}, args...)...)
	cmd.Dir = r.dir
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "GIT_") && !strings.HasPrefix(v, "HOME=") && !strings.HasPrefix(v, "XDG_CONFIG_HOME=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "HOME="+r.dir, "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1")
	return cmd
}

// directory says how list number i is named on disk.
func directory(i int) string { return fmt.Sprintf("list%04d", i) }

// mkdir makes the directories of paths. git must find them: of a path with a
// slash at its end it knows that it is a directory when it looks for the lines
// that exclude, but not when it looks for those that re-include.
func (r *repository) mkdir(t testing.TB, i int, paths []string) {
	t.Helper()
	for _, p := range append(paths, "x") {
		dir := p[:strings.LastIndexByte(p, '/')+1]
		if err := os.MkdirAll(filepath.Join(r.dir, directory(i), dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// verdict is the line that decided about a path; empty for none.
type verdict string

func (v verdict) ignored() bool { return v != "" && v[0] != '!' }

type fataler interface{ Fatalf(string, ...any) }

// ask writes the lists and returns git's verdicts on paths[i] under lists[i].
func (r *repository) ask(t fataler, lists, paths [][]string) [][]verdict {
	var in bytes.Buffer
	for i, lines := range lists {
		name := filepath.Join(r.dir, directory(i), ".gitignore")
		if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
			t.Fatalf("%v", err)
		}
		for _, p := range paths[i] {
			in.WriteString(directory(i) + "/" + strings.TrimSuffix(p, "/") + "\x00")
		}
	}
	cmd := r.git("check-ignore", "--no-index", "-v", "-n", "-z", "--stdin")
	cmd.Stdin = &in
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil && cmd.ProcessState.ExitCode() != 1 { // 1: no path is ignored
		t.Fatalf("git check-ignore: %v: %s", err, complaint.Bytes())
	}

	fields := strings.Split(string(out), "\x00") // source, line number, pattern, path, ...
	verdicts := make([][]verdict, len(lists))
	for i := range lists {
		for _, p := range paths[i] {
			want := directory(i) + "/" + strings.TrimSuffix(p, "/")
			if len(fields) < 4 || fields[3] != want {
				t.Fatalf("git check-ignore did not answer about %q", want)
			}
			if fields[0] != "" && fields[0] != directory(i)+"/.gitignore" {
				t.Fatalf("git took %q from %q for %q", fields[2], fields[0], want)
			}
			verdicts[i] = append(verdicts[i], verdict(fields[2]))
			fields = fields[4:]
		}
	}
	return verdicts
}

func TestGitAgreesWithTheRules(t *testing.T) {
	r := newRepository(t)
	var lists, paths [][]string
	for i, c := range gitignoreCases {
		ps := slices.Concat(c.excluded, c.wanted)
		r.mkdir(t, i, ps)
		lists, paths = append(lists, r.comparable(c.lines)), append(paths, ps)
	}
	for i, verdicts := range r.ask(t, lists, paths) {
		c := gitignoreCases[i]
		s, err := New(Options{Exclude: lists[i]})
		if err != nil {
			t.Fatal(err)
		}
		for j, v := range verdicts {
			p := paths[i][j]
			if want := j < len(c.excluded); v.ignored() != want && slices.Equal(c.lines, lists[i]) {
				t.Errorf("%s: git says ignored: %t about %q (line %q); the table says %t", c.name, v.ignored(), p, v, want)
			}
			if d := decide(s, p); d.Pattern != string(v) {
				t.Errorf("%s: %q decided about %q; git says %q", c.name, d.Pattern, p, v)
			}
		}
	}
}

func TestGitMatchesNothingWithTheLinesThatNewRejects(t *testing.T) {
	r := newRepository(t)
	names := []string{"a", "b", "ab", "[a", "[]", `a\`, `\`, "/", ".a", "z", "-", "!", "1"}
	var ps []string
	for _, n := range names {
		if n != "/" {
			ps = append(ps, n, "d/"+n, "a/b/"+n, "d/")
		}
	}
	var lists, paths [][]string
	for i, c := range badLines {
		qs := slices.DeleteFunc(slices.Clone(ps), func(p string) bool { return p == "a" })
		r.mkdir(t, i, qs)
		lists, paths = append(lists, []string{c.line}), append(paths, qs)
	}
	for i, verdicts := range r.ask(t, lists, paths) {
		for j, v := range verdicts {
			if v != "" {
				t.Errorf("git matches %q with %q, which New rejects", paths[i][j], v)
			}
		}
	}
}

// oracleNames are few and look alike, so that patterns hit them.
var oracleNames = []string{"a", "b", "ab", "a.b", ".a", "*", "[a]", "#a", "!b", "a ", `\`, "\xffa"}

// oracleTree is a tree of paths for list number i, the directories marked by a
// slash at the end. The same path is a file for one list and a directory for
// another, and the same in every run, so that a failure can be replayed.
func oracleTree(i, depth int) []string {
	var paths []string
	var grow func(dir string, depth int)
	grow = func(dir string, depth int) {
		for _, n := range oracleNames {
			h := fnv.New64a()
			fmt.Fprint(h, i, dir, n)
			switch p, kind := dir+n, h.Sum64()>>32%3; {
			case kind == 0 && depth > 1:
				paths = append(paths, p+"/")
				grow(p+"/", depth-1)
			case kind == 1:
				paths = append(paths, p)
			}
		}
	}
	grow("", depth)
	return paths
}

// oraclePattern draws a line of pieces that gitignore gives a meaning to.
func oraclePattern() *rapid.Generator[string] {
	piece := rapid.SampledFrom([]string{
		"a", "b", "a", "b", "ab", "a.b", ".", "-", "a ", "#", "!", " ", "\r", `\`, "\xff",
		"*", "*", "**", "***", "?", "/", "/", "/", "/**", "**/", "/**/", `\/`, `\*`, `\a`, `\ `,
		"[ab]", "[!a]", "[^b]", "[a-b]", "[]a]", "[a/]", "[[:alpha:]]", "[![:punct:]]", "[[:x:]]", "[", "]", `[\]]`, "[*-b]",
	})
	return rapid.Custom(func(t *rapid.T) string {
		line := strings.Join(rapid.SliceOfN(piece, 1, 6).Draw(t, "pieces"), "")
		if rapid.IntRange(0, 3).Draw(t, "negate") == 0 {
			return "!" + line
		}
		return line
	})
}

// usable replaces the lines that New rejects by comments; git keeps them, and
// must not match anything with them.
func usable(lines []string) []string {
	kept := slices.Clone(lines)
	for i, text := range kept {
		if _, _, err := parseLine(text); err != nil {
			kept[i] = "#"
		}
	}
	return kept
}

func TestGitAgreesAboutRandomLists(t *testing.T) {
	const batch = 30
	r := newRepository(t)
	paths := make([][]string, batch)
	for i := range paths {
		paths[i] = oracleTree(i, 3)
		r.mkdir(t, i, paths[i])
	}
	lists := rapid.SliceOfN(rapid.SliceOfN(oraclePattern(), 1, 6), batch, batch)
	decided := 0

	rapid.Check(t, func(t *rapid.T) {
		drawn := lists.Draw(t, "lists")
		for i := range drawn {
			drawn[i] = r.comparable(drawn[i])
		}
		for i, verdicts := range r.ask(t, drawn, paths) {
			lines := usable(drawn[i])
			exclude, err := New(Options{Exclude: lines})
			if err != nil {
				t.Fatal(err)
			}
			include, err := New(Options{Include: lines})
			if err != nil {
				t.Fatal(err)
			}
			alone, _ := Compile(drawn[i][0])
			for j, v := range verdicts {
				p := paths[i][j]
				if v != "" {
					decided++
				}
				d := decide(exclude, p)
				if d.Pattern != string(v) || d.Excluded != v.ignored() {
					t.Fatalf("lines %q, path %q: git decides by %q, we by %q (%v)", lines, p, v, d.Pattern, d)
				}
				if strings.HasSuffix(p, "/") || !include.including {
					continue
				}
				if d := decide(include, p); d.Excluded == v.ignored() || !d.Excluded && d.Pattern != string(v) {
					t.Fatalf("include %q, path %q: git decides by %q, we by %q (%v)", lines, p, v, d.Pattern, d)
				}
				if len(lines) == 1 && alone != nil && alone.Match(p) != v.ignored() {
					t.Fatalf("pattern %q, path %q: git decides by %q, Match the other way", lines[0], p, v)
				}
			}
		}
	})
	if decided == 0 {
		t.Error("no line matched any path: the comparison says nothing")
	}
	t.Logf("%d paths a list, %d verdicts with a line", len(slices.Concat(paths...))/batch, decided)
}

// FuzzGit lets git judge any bytes: lines, and paths parted by NUL. Each input is
// a process, so they are few and short.
func FuzzGit(f *testing.F) {
	r := newRepository(f)
	paths := strings.Join([]string{"\xff", "d/\xff/e", "é", "ü.jpg", "a\tb", "a ", "a\r", "\x01\x7f", "\xef\xbb\xbfa", "]", "-", `\`, "^", "a\nb", "z", "[a]", "d/a", "d/\xff/a"}, "\x00")
	for _, list := range []string{
		"\x80", "[\x80-\xff]", "?", "[!a]", "\xc3?", "é", "[é]", "*\xbc", "a\tb", "a\t", "a \\ ", "a\r", "\ra", "\x01*", "[[:cntrl:]]*", "[[:print:]]", "[[:space:]]", "[\x7f]",
		"\xef\xbb\xbfa", "*\n!\xff*", "\\\xff", "d/\xff", "**/\xff/**\n!/d/**/a", "\v", "\f a", `[\]-a]`, `[a-\]]`, "[[:alpha:]-z]", "[z-a]", "[--0]", "[]-a]", "[!]a-]", "[^^]", "\xff/\n!d/\xff/a", "[^[:alpha:]]*",
	} {
		f.Add(list, paths)
	}
	r.mkdir(f, 0, nil)
	f.Fuzz(func(t *testing.T, list, joined string) {
		lines, paths := strings.Split(list, "\n"), strings.Split(joined, "\x00")
		if len(list) > 200 || len(lines) > 6 || len(joined) > 400 || len(paths) > 20 || strings.Contains(list, "\x00") {
			return
		}
		slices.Sort(paths)
		paths = slices.Compact(paths)
		for i, p := range paths {
			if !realPath(p) || strings.HasSuffix(p, "/") || slices.ContainsFunc(paths[i+1:], func(other string) bool { return strings.HasPrefix(other, p+"/") }) {
				return // no disk has these together
			}
			for name := range strings.SplitSeq(p, "/") {
				if strings.EqualFold(name, ".git") || name == ".gitignore" { // of these git has its own opinion
					return
				}
			}
		}
		// git drops a byte order mark at the beginning of its file; a list has none.
		lines = r.comparable(slices.Concat([]string{"#"}, lines))
		r.mkdir(t, 1, slices.Clone(paths))
		defer func() {
			if err := os.RemoveAll(filepath.Join(r.dir, directory(1))); err != nil {
				t.Fatal(err)
			}
		}()
		s := mustNew(t, Options{Exclude: usable(lines)})
		asked := make([][]string, 2)
		asked[1] = paths
		for j, v := range r.ask(t, [][]string{nil, lines}, asked)[1] {
			if d := decide(s, paths[j]); d.Pattern != string(v) || d.Excluded != v.ignored() {
				t.Fatalf("lines %q, path %q: git decides by %q, we by %q (%v)", lines, paths[j], v, d.Pattern, d)
			}
		}
	})
}

// A walk must tell the same as Path, whatever the order of its steps.
func TestWalkingDownAgreesWithPath(t *testing.T) {
	paths := oracleTree(0, 4)
	rapid.Check(t, func(t *rapid.T) {
		draw := rapid.SliceOfN(oraclePattern(), 0, 5)
		s, err := New(Options{Exclude: usable(draw.Draw(t, "exclude")), Include: usable(draw.Draw(t, "include"))})
		if err != nil {
			t.Fatal(err)
		}
		scopes := map[string]Scope{"": s.Root()}
		for _, p := range paths {
			dir, isDir := strings.CutSuffix(p, "/")
			i := strings.LastIndexByte(dir, '/') + 1
			var d Decision
			if isDir {
				scopes[p], d = scopes[p[:i]].Enter(dir[i:])
			} else {
				d = scopes[p[:i]].File(dir[i:], 1, time.Time{}, time.Time{})
			}
			if want := decide(s, p); d != want {
				t.Fatalf("%q: walking says %v, Path says %v", p, d, want)
			}
		}
	})
}

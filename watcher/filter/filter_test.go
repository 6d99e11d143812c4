package filter

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func mustNew(t testing.TB, o Options) *Set {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func wantPatternError(t *testing.T, err error, want *PatternError) {
	t.Helper()
	var got *PatternError
	if !errors.As(err, &got) {
		t.Fatalf("error is %v, should be a *PatternError", err)
	}
	if *got != *want {
		t.Errorf("error is %+v, should be %+v", *got, *want)
	}
	if !errors.Is(err, want.Err) {
		t.Error("the error does not unwrap to its reason")
	}
}

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func TestDecisions(t *testing.T) {
	included := func(p string) Decision { return Decision{Rule: RuleInclude, Pattern: p} }
	for _, c := range []struct {
		name string
		o    Options
		path string
		size int64
		age  time.Duration
		want Decision
		text string
	}{
		{"no filter wants every file", Options{}, "x/.DS_Store", 0, 0, Decision{}, "wanted"},
		{"junk is excluded and named", Options{Junk: true}, "x/.DS_Store", 0, 0,
			Decision{Excluded: true, Rule: RuleJunk, Pattern: ".DS_Store"}, `excluded by junk pattern ".DS_Store"`},
		{"a line takes a junk pattern back", Options{Junk: true, Exclude: []string{"!*.tmp"}}, "a.tmp", 0, 0,
			Decision{Rule: RuleExclude, Pattern: "!*.tmp"}, `wanted: re-included by exclude pattern "!*.tmp"`},
		{"a line excludes", Options{Junk: true, Exclude: []string{`\#x `}}, "#x", 0, 0,
			Decision{Excluded: true, Rule: RuleExclude, Pattern: `\#x`}, `excluded by exclude pattern "\#x"`},
		{"the directory's line is named", Options{Exclude: []string{"*.jpg", "x/"}}, "x/y/a.jpg", 0, 0,
			Decision{Excluded: true, Rule: RuleExclude, Pattern: "x/"}, `excluded by exclude pattern "x/"`},
		{"what cannot be shown is quoted", Options{Junk: true}, "Icon\r", 0, 0,
			Decision{Excluded: true, Rule: RuleJunk, Pattern: "Icon[\r]"}, `excluded by junk pattern "Icon[\r]"`},
		{"include wants what it matches", Options{Include: []string{"*.jpg"}}, "x/a.jpg", 0, 0,
			included("*.jpg"), `wanted: included by include pattern "*.jpg"`},
		{"include does not want the rest", Options{Include: []string{"*.jpg"}}, "x/a.png", 0, 0,
			Decision{Excluded: true, Rule: RuleInclude}, "matched by no include pattern"},
		{"include wants all below a directory that it matches", Options{Include: []string{"/2024"}}, "2024/x/a.png", 0, 0,
			included("/2024"), `wanted: included by include pattern "/2024"`},
		{"a line of include leaves out", Options{Include: []string{"*.jpg", "!a.*"}}, "a.jpg", 0, 0,
			Decision{Excluded: true, Rule: RuleInclude, Pattern: "!a.*"}, `left out by include pattern "!a.*"`},
		{"nothing leaves out below an included directory", Options{Include: []string{"x/", "!a.*"}}, "x/a.jpg", 0, 0, included("x/"), ""},
		{"blank lines and comments do not make an include", Options{Include: []string{"", "  ", "# jpg only"}}, "a", 0, 0, Decision{}, ""},
		{"exclude goes before include", Options{Exclude: []string{"a.*"}, Include: []string{"*.jpg"}}, "a.jpg", 0, 0,
			Decision{Excluded: true, Rule: RuleExclude, Pattern: "a.*"}, ""},
		{"a re-included file must be included, too", Options{Exclude: []string{"*.png", "!a.*"}, Include: []string{"*.jpg"}}, "a.png", 0, 0,
			Decision{Excluded: true, Rule: RuleInclude}, ""},
		{"the line that re-included is named rather than the one that included", Options{Exclude: []string{"*", "!a.*"}, Include: []string{"*.jpg"}}, "a.jpg", 0, 0,
			Decision{Rule: RuleExclude, Pattern: "!a.*"}, ""},
		{"a wanted type", Options{Types: []string{"video", "image"}}, "x.d/a.JPG", 0, 0, Decision{}, ""},
		{"a type that is not wanted", Options{Types: []string{"video", "image"}}, "a.mp3", 0, 0,
			Decision{Excluded: true, Rule: RuleType, Pattern: "video, image"}, "not of type video, image"},
		{"a file without a type", Options{Types: []string{"audio"}}, "jpg", 0, 0, Decision{Excluded: true, Rule: RuleType, Pattern: "audio"}, ""},
		{"any type", Options{Types: []string{"image", "any"}}, "a.txt", 0, 0, Decision{}, ""},
		{"too small", Options{MinSize: 10_000}, "a", 9_999, 0, Decision{Excluded: true, Rule: RuleMinSize, Pattern: "10 kB"}, "smaller than min_size 10 kB"},
		{"just large enough", Options{MinSize: 10_000}, "a", 10_000, 0, Decision{}, ""},
		{"too large", Options{MaxSize: 25 << 20}, "a", 25<<20 + 1, 0, Decision{Excluded: true, Rule: RuleMaxSize, Pattern: "25 MiB"}, "larger than max_size 25 MiB"},
		{"just small enough", Options{MaxSize: 25 << 20}, "a", 25 << 20, 0, Decision{}, ""},
		{"too young", Options{MinAge: time.Minute}, "a", 0, 59 * time.Second,
			Decision{Excluded: true, Rule: RuleMinAge, Pattern: "1m0s", Retry: noon.Add(time.Second)},
			"younger than min_age 1m0s; old enough at 2026-05-01T12:00:01Z"},
		{"just old enough", Options{MinAge: time.Minute}, "a", 0, time.Minute, Decision{}, ""},
		{"dated in the future", Options{MinAge: time.Minute}, "a", 0, -time.Hour,
			Decision{Excluded: true, Rule: RuleMinAge, Pattern: "1m0s", Retry: noon.Add(time.Hour + time.Minute)}, ""},
		{"negative bounds are none", Options{MinSize: -1, MaxSize: -1, MinAge: -1}, "a", 5, 0, Decision{}, ""},
		{"empty names in a path are skipped", Options{Exclude: []string{"/x/a"}}, "/x//a", 0, 0, Decision{Excluded: true, Rule: RuleExclude, Pattern: "/x/a"}, ""},
		{"a directory has no size, type or age", Options{MinSize: 5, Types: []string{"image"}, MinAge: time.Hour}, "x/", 0, 0, Decision{}, ""},
		{"an empty path is the root", Options{Exclude: []string{"*"}}, "", 0, 0, Decision{}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := mustNew(t, c.o).Path(c.path, c.size, noon.Add(-c.age), noon)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if c.text != "" && got.String() != c.text {
				t.Errorf("it reads %q, should read %q", got, c.text)
			}
		})
	}
}

func TestUnknownTypesAreErrors(t *testing.T) {
	for _, typ := range []string{"Image", "images", "", "other"} {
		_, err := New(Options{Types: []string{"any", typ}})
		wantPatternError(t, err, &PatternError{List: "types", Index: 1, Pattern: typ, Err: errUnknownType})
	}
}

func TestPatternErrorsReadWell(t *testing.T) {
	_, err := New(Options{Exclude: []string{"*.jpg", `photos\`}})
	if want := `exclude, entry 2, "photos\": the backslash at the end escapes nothing; write \\ for a backslash, and / between names`; err.Error() != want {
		t.Errorf("it reads %q, should read %q", err, want)
	}
	_, err = Compile("x[/]")
	if want := `pattern "x[/]": it can never match: no byte of a name is in the bracket expression`; err.Error() != want {
		t.Errorf("it reads %q, should read %q", err, want)
	}
}

func TestDirectoriesOutsideOfIncludeAreCut(t *testing.T) {
	s := mustNew(t, Options{Include: []string{"/2024/trip/*.jpg", "!/2023/a"}})
	for path, excluded := range map[string]bool{
		"2023/": true, "2024/": false, "2024/x/": true, "2024/trip/": false, "2024/trip/x/": true, "2024/trip/x.jpg/": false, "x/2024/": true,
	} {
		if d := decide(s, path); d.Excluded != excluded || excluded && d.Rule != RuleInclude {
			t.Errorf("%s: %v", path, d)
		}
	}
	s = mustNew(t, Options{Include: []string{"/2024/", "*.jpg"}})
	if d := decide(s, "x/y/"); d.Excluded {
		t.Errorf("a directory that may hold a match is cut: %v", d)
	}
}

func TestAnExcludedScopeRepeatsItsDecision(t *testing.T) {
	sc, want := mustNew(t, Options{Exclude: []string{"x/", "!*.jpg"}}).Root().Enter("x")
	if !want.Excluded {
		t.Fatal("x is not excluded")
	}
	sub, d := sc.Enter("y")
	if d != want || sub.File("a.jpg", 1, noon, noon) != want || sc.File("a.jpg", 1, noon, noon) != want {
		t.Error("something below the excluded directory is decided otherwise")
	}
}

func TestScopesOfSiblingsAreIndependent(t *testing.T) {
	root := mustNew(t, Options{Exclude: []string{"/a/x", "/b/y", "**/c/z"}}).Root()
	a, _ := root.Enter("a")
	b, _ := root.Enter("b")
	c, _ := a.Enter("c")
	for _, q := range []struct {
		sc       Scope
		name     string
		excluded bool
	}{{a, "x", true}, {a, "y", false}, {b, "x", false}, {b, "y", true}, {c, "z", true}, {c, "x", false}, {a, "z", false}, {root, "x", false}} {
		if d := q.sc.File(q.name, 1, noon, noon); d.Excluded != q.excluded {
			t.Errorf("%s: %v", q.name, d)
		}
	}
}

func TestRulesHaveTheNamesOfTheConfiguration(t *testing.T) {
	want := []string{"none", "junk", "exclude", "include", "type", "min_size", "max_size", "min_age", "rule(8)"}
	for i, name := range want {
		if got := Rule(i).String(); got != name {
			t.Errorf("rule %d is %q, should be %q", i, got, name)
		}
	}
}

func TestSizesAreSpeltExactly(t *testing.T) {
	for size, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1 kB", 1024: "1 KiB", 1500: "1.5 kB", 10_000: "10 kB", 25_000_000: "25 MB",
		20 << 20: "20 MiB", 1_500_000_000: "1.5 GB", 1 << 40: "1 TiB", 3e12: "3 TB", 1_234_567: "1234567 B", 1536: "1536 B",
	} {
		if got := formatSize(size); got != want {
			t.Errorf("%d is %q, should be %q", size, got, want)
		}
	}
}

func TestJunkIsTheCallersAndHasNoDoubles(t *testing.T) {
	junk := Junk()
	junk[0] = "changed"
	if Junk()[0] == "changed" {
		t.Error("callers share one list")
	}
	sorted := slices.Sorted(slices.Values(Junk()))
	if len(slices.Compact(sorted)) != len(junk) {
		t.Error("a pattern stands twice")
	}
}

func TestJunkSparesPhotographs(t *testing.T) {
	s := mustNew(t, Options{Junk: true})
	for _, name := range []string{
		"IMG_1.jpg", "DSC_0001.NEF", "100_1.HEIC", "a.b.c.d.jpg", "part.mov", "#sunset#.jpg", "~.jpg", ".a.jpg", "2024/Icon.png",
		"download/a.jpg", "temp/a.jpg", "sync/a.jpg", "Trash/a.jpg", "snapshot/a.jpg", "git/a.jpg", ".a.tar.backup", ".a.jpg.AbC1234",
	} {
		if d := decide(s, name); d.Rule != RuleNone {
			t.Errorf("%s: %v", name, d)
		}
	}
	for _, line := range Junk() {
		// A line that a name without its wildcards does not hit would be dead.
		if strings.ContainsAny(line, `*?[\`) {
			continue
		}
		if d := decide(s, "x/"+strings.TrimSuffix(line, "/")+"/"); !d.Excluded || d.Rule != RuleJunk || d.Pattern != line {
			t.Errorf("%s: %v", line, d)
		}
	}
}

func TestKinds(t *testing.T) {
	for names, want := range map[string]Kind{
		"a.jpg a.JPG a.b.Jpeg x/y.png a.heic a.HIF a.webp a.avif a.jxl a.tiff a.svg a.ico a.psd a.bmp a.gif a.jpe": Image,
		"a.cr2 a.CR3 a.nef a.ARW a.dng a.orf a.rw2 a.raf a.pef a.srw a.3fr a.iiq a.x3f":                            Image,
		"a.mp4 a.MOV a.m4v a.webm a.mkv a.avi a.3gp a.ogv a.mpg a.mpeg a.wmv a.flv a.mts a.m2ts a.ts":              Video,
		"a.mp3 a.WAV a.flac a.aac a.m4a a.ogg a.opus a.aiff a.aif a.wma":                                           Audio,
		"a .jpg x/.jpg a. a.txt a.jpg/b jpg a.jpgg a.jpeg2000 a.jp\xff a.ＪＰＧ":                                      Other,
	} {
		for _, name := range strings.Fields(names) {
			if got := KindOf(name); got != want {
				t.Errorf("%s is %v, should be %v", name, got, want)
			}
		}
	}
	if KindOf("") != Other {
		t.Error("no name has a kind")
	}
}

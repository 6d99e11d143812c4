package filter

import (
	"fmt"
	"testing"
	"time"
)

// benchNames are what a photo directory holds, with a little junk.
var benchNames = func() []string {
	names := []string{".DS_Store", "._IMG_0001.jpg", "Thumbs.db", "IMG_0002.jpg.part", ".IMG_1.jpg.AbC123"}
	for i := range 123 {
		names = append(names, fmt.Sprintf("IMG_%04d.jpg", i))
	}
	return names
}()

func BenchmarkFile(b *testing.B) {
	for _, c := range []struct {
		name string
		o    Options
	}{
		{"no filter", Options{}},
		{"junk", Options{Junk: true}},
		{"junk and types", Options{Junk: true, Types: []string{"image", "video"}}},
		{"junk and anchored lines", Options{Junk: true, Exclude: []string{"/export", "a/**/b", "**/proof/*.jpg", "*draft*"}}},
		{"include", Options{Include: []string{"*.jpg", "*.heic", "/2024/**"}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			sc, _ := mustNew(b, c.o).Root().Enter("2024")
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				sc.File(benchNames[i%len(benchNames)], 1<<20, time.Time{}, time.Time{})
			}
		})
	}
}

func BenchmarkEnter(b *testing.B) {
	for _, c := range []struct {
		name  string
		lines []string
	}{
		{"names only", nil},
		{"anchored lines", []string{"/2023/x", "**/a/b"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			sc, _ := mustNew(b, Options{Junk: true, Exclude: c.lines}).Root().Enter("2024")
			b.ReportAllocs()
			for b.Loop() {
				sc.Enter("summer")
			}
		})
	}
}

func BenchmarkPath(b *testing.B) {
	s := mustNew(b, Options{Junk: true})
	b.ReportAllocs()
	for b.Loop() {
		s.Path("2024/summer/greece/IMG_0001.jpg", 1<<20, time.Time{}, time.Time{})
	}
}

func BenchmarkPatternMatch(b *testing.B) {
	for _, pattern := range []string{"*.jpg", "/2024/**/*.jpg", "a*b*c?[0-9]"} {
		b.Run(pattern, func(b *testing.B) {
			p, err := Compile(pattern)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				p.Match("2024/summer/greece/IMG_0001.jpg")
			}
		})
	}
}

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		mustNew(b, Options{Junk: true})
	}
}

func TestFilesAndDirectoriesCostNoAllocation(t *testing.T) {
	s := mustNew(t, Options{Junk: true, Exclude: []string{"/export", "**/proof/*.jpg", "*draft*"}, Types: []string{"image"}})
	sc, _ := s.Root().Enter("2024")
	p, err := Compile("/2024/**/*.jpg")
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func(){
		"File":  func() { sc.File("IMG_0001.jpg", 1, noon, noon) },
		"Enter": func() { sc.Enter("summer") },
		"Match": func() { p.Match("2024/summer/greece/IMG_0001.jpg") },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

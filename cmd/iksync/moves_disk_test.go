//go:build unix

package main

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// movesOp is one thing that a user does to the trees. Its numbers choose among
// what is there when it is done, so that a program from which others were taken
// still means something.
type movesOp struct {
	what string
	n    [4]uint32
}

// movesOps are the operations, each as often as it is likely.
var movesOps = []string{
	"create", "create", "create fixed", "edit", "edit same size", "touch",
	"rename", "rename", "rename here", "move", "rename case", "rename onto", "rename edit",
	"rename dir", "rename dir", "move dir", "move dir", "move dir both", "swap", "swap dirs", "chain", "rotate", "save",
	"delete", "delete dir", "restore", "restore", "copy", "copy -p", "copy dir", "copy dir -p", "copy -p and delete", "link",
	"hide", "hide", "show", "show", "filter", "retire dir",
}

// movesTrees are the directories of a program's roots while it runs.
type movesTrees struct {
	base     string
	roots    []string // names below base
	rawOut   bool     // "*.raw" is excluded by now
	deleted  []movesDeleted
	contents [][]byte // that several files have
	made     int
	said     []string // what was done
}

type movesDeleted struct {
	path    string
	content []byte
	mtime   time.Time
}

// anchor is a file of each root that nothing happens to: an empty root says
// nothing.
const anchor = "anchor.bin"

func (w *movesTrees) say(format string, args ...any) {
	w.said = append(w.said, fmt.Sprintf(format, args...))
}

// list gives the files and directories below base, in order, the roots among
// the directories, and without what nothing is to happen to.
func (w *movesTrees) list() (files, dirs []string) {
	for _, root := range w.roots {
		_ = filepath.WalkDir(filepath.Join(w.base, root), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(w.base, path)
			switch {
			case err != nil:
				return err
			case d.IsDir() && d.Name() == still:
				return fs.SkipDir
			case d.IsDir():
				dirs = append(dirs, rel)
			case d.Name() != anchor:
				files = append(files, rel)
			}
			return nil
		})
	}
	return files, dirs
}

func (w *movesTrees) abs(rel string) string { return filepath.Join(w.base, rel) }

func (w *movesTrees) exists(rel string) bool {
	_, err := os.Lstat(w.abs(rel))
	return err == nil
}

// name gives a name of few, so that files meet.
func (w *movesTrees) name(n uint32) string {
	return fmt.Sprintf("f%d.%s", n%8, []string{"jpg", "raw", "bin"}[n/8%3])
}

// free gives a name in a directory that nothing has.
func (w *movesTrees) free(dir, name string) string {
	for at := filepath.Join(dir, name); ; {
		if !w.exists(at) {
			return at
		}
		w.made++
		at = filepath.Join(dir, fmt.Sprintf("n%d%s", w.made, filepath.Ext(name)))
	}
}

func (w *movesTrees) content(n uint32) []byte {
	r := rand.New(rand.NewPCG(uint64(n), uint64(w.made)))
	w.made++
	if n%5 == 0 {
		return w.contents[int(n/5)%len(w.contents)]
	}
	size := 1 + r.IntN(20_000)
	if n%5 == 1 {
		size = 100 // as others have
	}
	return movesNoise(r, size)
}

func movesNoise(r *rand.Rand, size int) []byte {
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(r.Uint32())
	}
	return content
}

// do does an operation. One that makes no sense now is left out, as is one that
// the system refuses.
func (w *movesTrees) do(op movesOp) {
	files, dirs := w.list()
	var inner []string // directories that are no root
	for _, d := range dirs {
		if strings.Contains(d, "/") {
			inner = append(inner, d)
		}
	}
	before := len(w.said)
	err := w.done(op, files, dirs, inner)
	for i := before; i < len(w.said); i++ {
		w.said[i] = op.what + ": " + w.said[i]
		if err != nil {
			w.said[i] += " (" + err.Error() + ")"
		}
	}
}

func (w *movesTrees) done(op movesOp, files, dirs, inner []string) error {
	n := op.n
	dir := dirs[int(n[1])%len(dirs)]
	var file, other, sub, sub2 string
	if len(files) > 0 {
		file, other = files[int(n[0])%len(files)], files[int(n[2])%len(files)]
	}
	if len(inner) > 0 {
		sub, sub2 = inner[int(n[0])%len(inner)], inner[int(n[2])%len(inner)]
	}
	switch op.what {
	case "create", "create fixed":
		if n[3]%3 == 0 {
			dir = filepath.Join(dir, fmt.Sprintf("d%d", n[3]%4))
		}
		at := filepath.Join(dir, w.name(n[0]))
		if err := w.write(at, w.content(n[2])); err != nil || op.what == "create" {
			return err
		}
		old := time.Unix(1_700_000_000+int64(n[2]%2), 0)
		return os.Chtimes(w.abs(at), old, old)
	case "filter":
		w.rawOut = !w.rawOut
		w.say("*.raw excluded: %v", w.rawOut)
		return nil
	case "restore":
		return w.restore(n)
	}
	if strings.Contains(op.what, " dir") || op.what == "swap dirs" {
		if sub == "" {
			return nil
		}
		return w.toDir(op, sub, sub2, dir)
	}
	if file == "" {
		return nil
	}
	return w.toFile(op, file, other, dir)
}

func (w *movesTrees) toFile(op movesOp, file, other, dir string) error {
	n := op.n
	switch op.what {
	case "edit":
		return w.write(file, w.content(n[2]))
	case "edit same size":
		info, err := os.Stat(w.abs(file))
		if err != nil {
			return err
		}
		return w.write(file, movesNoise(rand.New(rand.NewPCG(uint64(n[2]), 1)), int(info.Size())))
	case "touch":
		w.say("%s", file)
		t := time.Unix(1_600_000_000+int64(n[2]%1_000_000), int64(n[3]%1_000_000))
		return os.Chtimes(w.abs(file), t, t)
	case "rename":
		return w.rename(file, w.free(dir, w.name(n[2])))
	case "rename here":
		return w.rename(file, w.free(filepath.Dir(file), w.name(n[2])))
	case "move":
		return w.rename(file, w.free(dir, filepath.Base(file)))
	case "rename case":
		to := filepath.Join(filepath.Dir(file), swapCase(filepath.Base(file)))
		if w.exists(to) {
			return nil
		}
		return w.rename(file, to)
	case "rename onto":
		if file == other {
			return nil
		}
		return w.rename(file, other)
	case "rename edit":
		to := w.free(dir, w.name(n[2]))
		if err := w.rename(file, to); err != nil {
			return err
		}
		return w.write(to, w.content(n[3]))
	case "swap":
		return w.swap(file, other)
	case "chain":
		if file == other {
			return nil
		}
		if err := w.rename(other, w.free(dir, w.name(n[3]))); err != nil {
			return err
		}
		return w.rename(file, other)
	case "rotate": // something new is where the file was
		if err := w.rename(file, w.free(dir, w.name(n[2]))); err != nil {
			return err
		}
		return w.write(file, w.content(n[3]))
	case "save": // as editors do
		at := w.free(filepath.Dir(file), "saved.tmp")
		if err := w.write(at, w.content(n[2])); err != nil {
			return err
		}
		return w.rename(at, file)
	case "delete":
		return w.remove(file)
	case "copy", "copy -p", "copy -p and delete":
		if err := w.copy(file, w.free(dir, w.name(n[2])), op.what != "copy"); err != nil || op.what != "copy -p and delete" {
			return err
		}
		return w.remove(file)
	case "link":
		to := w.free(dir, w.name(n[2]))
		w.say("%s %s", file, to)
		return os.Link(w.abs(file), w.abs(to))
	case "hide":
		if strings.HasSuffix(file, ".tmp") {
			return nil
		}
		return w.rename(file, file+".tmp")
	case "show":
		files, _ := w.list()
		files = slices.DeleteFunc(files, func(f string) bool { return !strings.HasSuffix(f, ".tmp") })
		if len(files) == 0 {
			return nil
		}
		file = files[int(n[0])%len(files)]
		to := strings.TrimSuffix(file, ".tmp")
		if n[1]%2 == 0 {
			to = filepath.Join(dir, filepath.Base(to))
		}
		if w.exists(to) {
			return nil
		}
		return w.rename(file, to)
	}
	panic("no operation " + op.what)
}

func (w *movesTrees) toDir(op movesOp, sub, other, dir string) error {
	n := op.n
	switch op.what {
	case "rename dir":
		return w.rename(sub, w.free(filepath.Dir(sub), fmt.Sprintf("r%d", n[2]%6)))
	case "move dir":
		return w.rename(sub, w.free(dir, filepath.Base(sub)))
	case "move dir both":
		return w.rename(sub, w.free(dir, fmt.Sprintf("r%d", n[2]%6)))
	case "swap dirs":
		return w.swap(sub, other)
	case "retire dir": // a new one has its name
		if err := w.rename(sub, w.free(filepath.Dir(sub), fmt.Sprintf("old%d", n[2]%3))); err != nil {
			return err
		}
		return w.write(filepath.Join(sub, w.name(n[3])), w.content(n[2]))
	case "delete dir":
		files, _ := w.list()
		for _, f := range files {
			if strings.HasPrefix(f, sub+"/") {
				if err := w.remove(f); err != nil {
					return err
				}
			}
		}
		if n[2]%3 == 0 {
			return nil // empty directories stay
		}
		return os.RemoveAll(w.abs(sub))
	case "copy dir", "copy dir -p":
		to := w.free(dir, fmt.Sprintf("c%d", n[2]%4))
		if strings.HasPrefix(to, sub+"/") {
			return nil
		}
		files, _ := w.list()
		for _, f := range files {
			if below, ok := strings.CutPrefix(f, sub+"/"); ok {
				if err := w.copy(f, filepath.Join(to, below), op.what == "copy dir -p"); err != nil {
					return err
				}
			}
		}
		return nil
	}
	panic("no operation " + op.what)
}

func swapCase(name string) string {
	if strings.ToUpper(name) != name {
		return strings.ToUpper(name)
	}
	return strings.ToLower(name)
}

func (w *movesTrees) write(at string, content []byte) error {
	w.say("write %s, %d bytes", at, len(content))
	if err := os.MkdirAll(filepath.Dir(w.abs(at)), 0o755); err != nil {
		return err
	}
	return os.WriteFile(w.abs(at), content, 0o644)
}

func (w *movesTrees) rename(from, to string) error {
	w.say("mv %s %s", from, to)
	return os.Rename(w.abs(from), w.abs(to))
}

func (w *movesTrees) swap(a, b string) error {
	if a == b || strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/") {
		return nil
	}
	w.say("%s %s", a, b)
	aside := filepath.Join(w.base, "aside")
	if err := os.Rename(w.abs(a), aside); err != nil {
		return err
	}
	if err := os.Rename(w.abs(b), w.abs(a)); err != nil {
		return err
	}
	return os.Rename(aside, w.abs(b))
}

func (w *movesTrees) copy(from, to string, preserve bool) error {
	w.say("cp %s %s", from, to)
	content, err := os.ReadFile(w.abs(from))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(w.abs(to)), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(w.abs(to), content, 0o644); err != nil || !preserve {
		return err
	}
	info, err := os.Stat(w.abs(from))
	if err != nil {
		return err
	}
	return os.Chtimes(w.abs(to), info.ModTime(), info.ModTime())
}

func (w *movesTrees) remove(file string) error {
	w.say("rm %s", file)
	content, err := os.ReadFile(w.abs(file))
	if err != nil {
		return err
	}
	info, err := os.Stat(w.abs(file))
	if err != nil {
		return err
	}
	w.deleted = append(w.deleted, movesDeleted{file, content, info.ModTime()})
	return os.Remove(w.abs(file))
}

// restore brings back what was deleted, as a backup does.
func (w *movesTrees) restore(n [4]uint32) error {
	if len(w.deleted) == 0 {
		return nil
	}
	d := w.deleted[int(n[0])%len(w.deleted)]
	if w.exists(d.path) {
		return nil
	}
	if err := w.write(d.path, d.content); err != nil {
		return err
	}
	return os.Chtimes(w.abs(d.path), d.mtime, d.mtime)
}

// inodeOf tells the inode of a file and how many names it has.
func inodeOf(info fs.FileInfo) (ino uint64, names uint64) {
	st := info.Sys().(*syscall.Stat_t)
	return st.Ino, uint64(st.Nlink)
}

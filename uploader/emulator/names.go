package emulator

import (
	"strings"
	"unicode"
)

// maxNesting is how deep folders can nest (documentation of the upload API).
const maxNesting = 50

// badName is the message of the 400 that refuses a name.
type badName string

func (b badName) Error() string { return string(b) }

const (
	errDots    badName = "'.' & '..' can not be used as folder-name"
	errNesting badName = "Your request contains invalid folder parameter. Folders can not be nested more than 50 levels deep."
)

// names turns what a client sent into names of the library.
type names struct{ strict bool }

// file gives the name a file gets. Strict names keep letters, marks and numbers
// of any script, ".", "_" and "-", and all else becomes "_" (upload and rename
// API). A name of dots alone would be no file's name in a URL, so its dots become
// "_" under either rule.
func (n names) file(name string) string {
	name = strings.Map(func(r rune) rune { return n.keep(r, ".-") }, name)
	if strings.Trim(name, ".") == "" {
		name = strings.Repeat("_", len(name))
	}
	return name
}

// folders gives the path a folder parameter names: "/" or "/a/b". Empty
// segments vanish. A "." becomes "_" in strict names, since the documented
// alphabet of folders has no dot. It refuses "." and ".." as whole names, and too many levels.
func (n names) folders(path string) (string, error) {
	if path == "" || path == "/" {
		return "/", nil
	}
	return n.cleanPath(path, func(r rune) rune { return n.keep(r, "-") })
}

// existing gives the path of a folder that should be there already, without
// changing its characters.
func (n names) existing(path string) (string, error) {
	return n.cleanPath(path, func(r rune) rune { return r })
}

// created gives the name of POST /v1/folder, whose strict alphabet has no "-".
func (n names) created(name string) (string, error) { return n.folder(name, "") }

// renamed gives the name of renameFolder, whose strict alphabet has the "-".
func (n names) renamed(name string) (string, error) { return n.folder(name, "-") }

func (n names) folder(name, special string) (string, error) {
	if name == "." || name == ".." {
		return "", errDots
	}
	return strings.Map(func(r rune) rune { return n.keep(r, special) }, name), nil
}

func (n names) cleanPath(path string, mapping func(rune) rune) (string, error) {
	var b strings.Builder
	levels := 0
	for segment := range strings.SplitSeq(path, "/") {
		switch segment {
		case "":
			continue
		case ".", "..":
			return "", errDots
		}
		if levels++; levels > maxNesting {
			return "", errNesting
		}
		b.WriteByte('/')
		b.WriteString(strings.Map(mapping, segment))
	}
	if levels == 0 {
		return "/", nil
	}
	return b.String(), nil
}

func (n names) keep(r rune, special string) rune {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '_':
		return r
	case strings.ContainsRune(special, r):
		return r
	case !n.strict && r != '/' && r != unicode.ReplacementChar && !unicode.IsControl(r):
		return r
	case r != unicode.ReplacementChar && (unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsNumber(r)):
		return r
	}
	return '_'
}

// splitPath parts a file path into its folder and name; ok is false when there
// is no name.
func splitPath(path string) (folder, name string, ok bool) {
	i := strings.LastIndexByte(path, '/')
	if name = path[i+1:]; name == "" {
		return "", "", false
	}
	folder, err := names{}.existing(path[:i+1])
	return folder, name, err == nil
}

// inside says whether path is folder or lies below it.
func inside(path, folder string) bool {
	if folder == "/" {
		return true
	}
	return path == folder || strings.HasPrefix(path, folder+"/")
}

// parentOf gives the folder that holds the one at path.
func parentOf(path string) string {
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		return path[:i]
	}
	return "/"
}

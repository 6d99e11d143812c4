// Package names has the rules for names in ImageKit's media library: how a local path
// becomes the remote path of its asset, and which remote paths may be one.
//
// ImageKit's documentation says that a library changes most special characters to "_";
// libraries that keep them have been seen. So a remote path has a key: what becomes of
// it where only the documented characters are kept. Two remote paths with one key may be
// the same path, and uploads to both would become versions of one file. iksync reserves
// a key for one local path, whatever the form of the remote path.
package names

import (
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Mode says how names are sent.
type Mode int

const (
	// Safe sends only characters that ImageKit is documented to keep.
	Safe Mode = iota
	// Keep sends names as they are, but for what can't be sent.
	Keep
)

// String names the mode as the configuration does.
func (m Mode) String() string {
	switch m {
	case Safe:
		return "safe"
	case Keep:
		return "keep"
	}
	return "unknown"
}

// MaxDepth is ImageKit's limit of nested folders.
const MaxDepth = 50

// ErrTooDeep says that a path has more folders than ImageKit takes.
var ErrTooDeep = fmt.Errorf("more than %d nested folders, ImageKit's limit", MaxDepth)

// Path maps a local path below a root (bytes, "/" between names) to the path of its
// asset in the library, below folder. It is deterministic. With [Safe]:
//
//   - names are brought to Unicode NFC;
//   - letters, marks and numbers stay, as do "_" and "-", and "." in file names;
//   - every other character, "." in folder names, and every byte that is not UTF-8
//     become "_";
//   - a file name of dots alone becomes as many "_".
//
// With [Keep], names are brought to NFC as well, and these become "_":
//
//   - control characters, U+FFFD, and every byte that is not UTF-8;
//   - the double quote and the backslash: a name with one can't be looked up;
//   - white space at the begin and the end of a name, which a server may cut off;
//   - every dot of a name of dots alone.
//
// Two local paths may map to one remote path, or to two with one key. A path with more
// folders than ImageKit takes is [ErrTooDeep]. Source: the rules for fileName and folder
// of ImageKit's upload API.
func Path(folder, local string, mode Mode) (string, error) {
	if local == "" || local[0] == '/' {
		return "", fmt.Errorf("%q is not a path below a root", local)
	}
	dir, name := path.Split(local)
	if name == "" {
		return "", fmt.Errorf("%q is not the path of a file", local)
	}
	write := writeSafe
	if mode == Keep {
		write = writeKept
	}
	var b strings.Builder
	b.Grow(len(folder) + len(local) + 8)
	depth := 0
	for part := range strings.SplitSeq(folder, "/") {
		if part != "" {
			b.WriteByte('/')
			b.WriteString(part)
			depth++
		}
	}
	for part := range strings.SplitSeq(dir, "/") {
		if part != "" {
			b.WriteByte('/')
			write(&b, part, false)
			depth++
		}
	}
	if depth > MaxDepth {
		return "", ErrTooDeep
	}
	b.WriteByte('/')
	write(&b, name, true)
	return b.String(), nil
}

// Key returns the key of a file's remote path: what becomes of it where only the
// documented characters are kept. Most remote paths are their own key.
func Key(remote string) string {
	dir, name := path.Split(remote)
	return keyOf(remote, dir, name)
}

// FolderKey is [Key] for the path of a folder.
func FolderKey(folder string) string { return keyOf(folder, folder, "") }

func keyOf(whole, dir, name string) string {
	if plain(dir, false, '/') && plain(name, true, '/') && !dots(name) {
		return whole
	}
	var b strings.Builder
	b.Grow(len(whole) + 8)
	for i, part := range strings.Split(dir, "/") {
		if i > 0 {
			b.WriteByte('/')
		}
		writeSafe(&b, part, false)
	}
	writeSafe(&b, name, true)
	return b.String()
}

// File returns a file's name as the library stores it where only the documented
// characters are kept.
func File(name string) string {
	var b strings.Builder
	writeSafe(&b, name, true)
	return b.String()
}

// Folder is [File] for a folder's name.
func Folder(name string) string {
	var b strings.Builder
	writeSafe(&b, name, false)
	return b.String()
}

// writeSafe writes one name in ImageKit's alphabet.
func writeSafe(b *strings.Builder, name string, file bool) {
	if file && dots(name) {
		name = strings.Repeat("_", len(name))
	}
	if plain(name, file, 0) {
		b.WriteString(name)
		return
	}
	// Normalisation would join marks across a replaced character: invalid bytes go first.
	for _, r := range norm.NFC.String(replaceInvalid(name)) {
		if documented(r, file) {
			b.WriteRune(r)
		} else {
			b.WriteByte('_')
		}
	}
}

// writeKept writes one name as it is, but for what can't be sent.
func writeKept(b *strings.Builder, name string, _ bool) {
	if dots(name) {
		name = strings.Repeat("_", len(name))
	}
	if plain(name, true, 0) {
		b.WriteString(name)
		return
	}
	name = norm.NFC.String(replaceInvalid(name))
	inner := strings.TrimFunc(name, unicode.IsSpace)
	begin := strings.Index(name, inner)
	for i, r := range name {
		outside := i < begin || i >= begin+len(inner)
		if outside || r == '"' || r == '\\' || r == utf8.RuneError || unicode.IsControl(r) {
			b.WriteByte('_')
		} else {
			b.WriteRune(r)
		}
	}
}

// dots reports whether a name has dots alone.
func dots(name string) bool { return name != "" && strings.Trim(name, ".") == "" }

// replaceInvalid makes one "_" of every byte that is not part of UTF-8;
// strings.ToValidUTF8 makes one of a run, and so more collisions.
func replaceInvalid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			b.WriteByte('_')
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// plain reports whether a text is in the ASCII part of the alphabet, as most are, but for
// one more character.
func plain(text string, file bool, more byte) bool {
	for i := range len(text) {
		if c := text[i]; c >= utf8.RuneSelf || !documented(rune(c), file) && (more == 0 || c != more) {
			return false
		}
	}
	return true
}

// documented reports whether ImageKit is documented to keep a character.
func documented(r rune, file bool) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-':
		return true
	case r == '.':
		return file
	case r < utf8.RuneSelf:
		return false
	}
	return unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsNumber(r)
}

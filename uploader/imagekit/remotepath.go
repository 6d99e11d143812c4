package imagekit

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/zeebo/xxh3"
	"golang.org/x/text/unicode/norm"
)

// maxFolderDepth is ImageKit's limit of nested folders.
const maxFolderDepth = 50

// ErrTooDeep says that a path has more folders than ImageKit takes.
var ErrTooDeep = fmt.Errorf("more than %d nested folders, ImageKit's limit", maxFolderDepth)

// RemotePath maps a local path below a root (bytes, "/" between names) to the
// path of its asset in the library, below folder. It is pure and
// deterministic, and gives only names that ImageKit is documented to keep:
//
//   - names are brought to Unicode NFC;
//   - letters, marks and numbers stay, as do "_" and "-", and "." in file names;
//   - every other character, "." in folder names, and every byte that is not
//     UTF-8 become "_";
//   - a file name of dots alone becomes as many "_".
//
// Two local paths may map to one remote path: see [Alternate]. A path with more
// folders than ImageKit takes is [ErrTooDeep]. Source: the rules for fileName
// and folder of ImageKit's upload API.
func RemotePath(folder, local string) (string, error) {
	if local == "" || local[0] == '/' {
		return "", fmt.Errorf("%q is not a path below a root", local)
	}
	dir, name := path.Split(local)
	if name == "" {
		return "", fmt.Errorf("%q is not the path of a file", local)
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
			mapName(&b, part, false)
			depth++
		}
	}
	if depth > maxFolderDepth {
		return "", ErrTooDeep
	}
	b.WriteByte('/')
	if strings.Trim(name, ".") == "" {
		name = strings.Repeat("_", len(name))
	}
	mapName(&b, name, true)
	return b.String(), nil
}

// mapName writes one name in ImageKit's alphabet.
func mapName(b *strings.Builder, name string, dots bool) {
	if plain(name, dots) {
		b.WriteString(name)
		return
	}
	// Normalisation would join marks across a replaced character: invalid bytes go first.
	name = norm.NFC.String(replaceInvalid(name))
	for _, r := range name {
		if keep(r, dots) {
			b.WriteRune(r)
		} else {
			b.WriteByte('_')
		}
	}
}

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

// plain reports whether a name is in the ASCII part of the alphabet: most are.
func plain(name string, dots bool) bool {
	for i := range len(name) {
		if c := name[i]; c >= utf8.RuneSelf || !keep(rune(c), dots) {
			return false
		}
	}
	return true
}

func keep(r rune, dots bool) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-':
		return true
	case r == '.':
		return dots
	case r < utf8.RuneSelf:
		return false
	}
	return unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsNumber(r)
}

// Alternate gives the n-th (from 0) other remote path for a local path whose
// own, remote, is another local path's: "-" and eight hexadecimal digits of the
// xxh3 of the local path (and of n, above 0) go before the extension.
func Alternate(remote, local string, n int) string {
	seed := local
	if n > 0 {
		seed += "\x00" + strconv.Itoa(n)
	}
	ext := path.Ext(remote)
	if strings.Contains(ext, "/") || len(ext) == len(path.Base(remote)) {
		ext = ""
	}
	return fmt.Sprintf("%s-%08x%s", strings.TrimSuffix(remote, ext), uint32(xxh3.HashString(seed)), ext)
}

// CleanFolder brings a remote folder to the form "/a/b" ("/" for the top) and
// refuses one that ImageKit would change.
func CleanFolder(folder string) (string, error) {
	var b strings.Builder
	depth := 0
	for part := range strings.SplitSeq(folder, "/") {
		if part == "" {
			continue
		}
		var mapped strings.Builder
		mapName(&mapped, part, false)
		if mapped.String() != part {
			return "", fmt.Errorf("folder %q: ImageKit would store %q as %q: use letters, numbers, \"_\" and \"-\"", folder, part, mapped.String())
		}
		b.WriteByte('/')
		b.WriteString(part)
		depth++
	}
	if depth > maxFolderDepth {
		return "", fmt.Errorf("folder %q: %w", folder, ErrTooDeep)
	}
	if depth == 0 {
		return "/", nil
	}
	return b.String(), nil
}

// CheckName reports why ImageKit would change a file's name.
func CheckName(name string) error {
	if name == "" {
		return errors.New("the name is empty")
	}
	if strings.Trim(name, ".") == "" {
		return fmt.Errorf("%q is not a file's name", name)
	}
	var mapped strings.Builder
	mapName(&mapped, name, true)
	if mapped.String() != name {
		return fmt.Errorf("ImageKit would store %q as %q", name, mapped.String())
	}
	return nil
}

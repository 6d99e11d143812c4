package imagekit

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/zeebo/xxh3"

	"iksync/uploader/imagekit/names"
)

// ErrTooDeep says that a path has more folders than ImageKit takes.
var ErrTooDeep = names.ErrTooDeep

// RemotePath maps a local path below a root to the path of its asset in the library,
// below folder, with names that ImageKit is documented to keep: see [names.Path].
// Two local paths may map to one remote path: see [Alternate].
func RemotePath(folder, local string) (string, error) { return names.Path(folder, local, names.Safe) }

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

// maxAlternates is how many other remote paths are ever tried: see package queue.
const maxAlternates = 16

// IsAlternate reports whether a remote path is one that [Alternate] gives for a local path.
func IsAlternate(remote, wanted, local string) bool {
	for n := range maxAlternates {
		if remote == Alternate(wanted, local, n) {
			return true
		}
	}
	return false
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
		if mapped := names.Folder(part); mapped != part {
			return "", fmt.Errorf("folder %q: ImageKit would store %q as %q: use letters, numbers, \"_\" and \"-\"", folder, part, mapped)
		}
		b.WriteByte('/')
		b.WriteString(part)
		depth++
	}
	if depth > names.MaxDepth {
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
	if mapped := names.File(name); mapped != name {
		return fmt.Errorf("ImageKit would store %q as %q", name, mapped)
	}
	return nil
}

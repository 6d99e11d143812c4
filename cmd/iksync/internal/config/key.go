package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"iksync/uploader/imagekit"
)

// Where the private key is looked for, in this order: the environment, the
// configured file, the systemd credential.
const (
	KeyVariable   = "IMAGEKIT_PRIVATE_KEY"
	KeyCredential = "imagekit_private_key"
)

// maxKeyFile bounds what is read as a key, bytes.
const maxKeyFile = 4096

// Key finds the private key. warning is set when others can read its file.
func Key(file string, getenv func(string) string) (key imagekit.Key, warning string, err error) {
	if v := strings.TrimSpace(getenv(KeyVariable)); v != "" {
		key, err = ParseKey(v, "the environment's "+KeyVariable)
		return key, "", err
	}
	if file == "" {
		if dir := getenv("CREDENTIALS_DIRECTORY"); dir != "" {
			credential := filepath.Join(dir, KeyCredential)
			if _, err := os.Stat(credential); !errors.Is(err, fs.ErrNotExist) {
				key, _, err := readKey(credential)
				return key, "", err
			}
		}
		return imagekit.Key{}, "", fmt.Errorf("there is no private key: set %s in the environment, or name a file with imagekit.private_key_file in the configuration, or give the systemd credential %s (to try iksync without an account use --emulator)", KeyVariable, KeyCredential)
	}
	return readKey(file)
}

func readKey(file string) (key imagekit.Key, warning string, err error) {
	if hideKeys(file) != file {
		return key, "", errors.New("imagekit.private_key_file holds what looks like the private key itself: write the key into a file of its own and name that file")
	}
	secret, warning, err := readSecret(file, "the private key")
	if err != nil {
		return key, warning, err
	}
	key, err = ParseKey(secret, file)
	return key, warning, err
}

// readSecret reads what a file holds, without the white space around it.
func readSecret(file, what string) (secret, warning string, err error) {
	f, err := open(file)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return "", "", fmt.Errorf("read %s: %w (iksync runs as uid %d)", what, err, os.Getuid())
		}
		return "", "", fmt.Errorf("read %s: %w", what, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", "", fmt.Errorf("read %s: %w", what, err)
	}
	if info.Mode().Perm()&0o004 != 0 {
		warning = fmt.Sprintf("everybody on this machine can read %s in %s: chmod 600 it", what, file)
	}
	buf := make([]byte, maxKeyFile+1)
	n, err := readFull(f, buf)
	if err != nil {
		return "", "", fmt.Errorf("read %s: %w", what, err)
	}
	if n > maxKeyFile {
		return "", "", fmt.Errorf("%s is too long to be %s", file, strings.Replace(what, "the ", "a ", 1))
	}
	return strings.TrimSpace(string(buf[:n])), warning, nil
}

// open opens a regular file: opening a FIFO would wait for its writer.
func open(file string) (*os.File, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", file)
	}
	return os.Open(file)
}

// secretForm is the form of ImageKit's private keys: as they are or escaped for a
// URL, or in base64, as a header has them.
var secretForm = regexp.MustCompile(`private_[0-9A-Za-z+/%]{20,}=*|` + encodedStart + `[0-9A-Za-z+/]{20,}=*`)

const (
	secretStart  = "private_"
	encodedStart = "cHJpdmF0ZV"
)

// hideKeys replaces everything in a text that has the form of a private key.
func hideKeys(text string) string {
	if !strings.Contains(text, secretStart) && !strings.Contains(text, encodedStart) {
		return text // nearly always
	}
	return secretForm.ReplaceAllString(text, secretStart+"[redacted]")
}

// shortestPart is how much of a key, bytes, is hidden where the key is in parts. It
// is more than what all keys begin with.
const shortestPart = len(secretStart) + 2

// Hide takes from a text what has the form of a private key. Of the keys that are
// in the sources it also takes the parts: who says what is wrong with a path or a
// URL may have cut it.
func Hide(text string, sources ...string) string {
	text = hideKeys(text)
	for _, source := range sources {
		for _, key := range secretForm.FindAllString(source, -1) {
			text = hideParts(text, key)
		}
	}
	return text
}

func hideParts(text, key string) string {
	var b strings.Builder
	from := 0
	for i := 0; i+shortestPart <= len(text); {
		n := shortestPart
		if !strings.Contains(key, text[i:i+n]) {
			i++
			continue
		}
		for i+n < len(text) && strings.Contains(key, text[i:i+n+1]) {
			n++
		}
		b.WriteString(text[from:i])
		b.WriteString("[redacted]")
		i += n
		from = i
	}
	return b.String() + text[from:]
}

// ParseKey refuses what can't be a key, without showing it. from is where it was found.
func ParseKey(secret, from string) (imagekit.Key, error) {
	if secret == "" {
		return imagekit.Key{}, fmt.Errorf("%s holds no private key: it is empty", from)
	}
	for _, r := range secret {
		if r <= ' ' || r > '~' || r == ':' {
			return imagekit.Key{}, fmt.Errorf("%s holds no private key: there is a character in it that no key has", from)
		}
	}
	return imagekit.NewKey(secret), nil
}

func readFull(f *os.File, buf []byte) (int, error) {
	n, err := io.ReadFull(f, buf)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return n, err
}

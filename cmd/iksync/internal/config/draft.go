package config

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"iksync/uploader"
)

// Draft is a configuration as it is written at first: one root, and what most
// people want to choose. Texts have the form that the configuration has.
type Draft struct {
	Root, Folder string
	KeyFile      string // "" leaves the key to the environment or systemd's credential
	State        string
	Plan         string // "" is pro
	Delete       string // "" is keep
	Page         string // "" is off
}

// Text is the configuration with comments: the choices, and the other keys that are
// worth knowing behind a "#" with their defaults. What YAML has no form for is an error.
func (d *Draft) Text() (string, error) {
	for _, value := range []string{d.Root, d.Folder, d.KeyFile, d.State, d.Page} {
		if !utf8.ValidString(value) {
			return "", fmt.Errorf("%q is not UTF-8, and so can't be written in a configuration", value)
		}
	}
	key := "#private_key_file: /etc/iksync/private_key"
	if d.KeyFile != "" {
		key = "private_key_file: " + scalar(d.KeyFile)
	}
	return strings.NewReplacer(
		"{key}", key, "{state}", scalar(d.State), "{plan}", scalar(cmp.Or(d.Plan, defaultPlan)), "{http}", scalar(cmp.Or(d.Page, "off")),
		"{path}", scalar(d.Root), "{folder}", scalar(d.Folder), "{delete}", scalar(cmp.Or(d.Delete, uploader.Keep.String())),
	).Replace(draft), nil
}

// Config reads the draft as it would be read from path, where it is not yet. A root
// that is not there is no error. What is wrong is an [*Error].
func (d *Draft) Config(path string) (*Config, error) {
	text, err := d.Text()
	if err != nil {
		return nil, &Error{Path: path, err: err}
	}
	cfg, err := parse(path, []byte(text), true)
	if err != nil {
		return nil, &Error{Path: path, err: err, src: text}
	}
	return cfg, nil
}

// plain are texts that need no quotes.
var plain = regexp.MustCompile(`^(/[A-Za-z0-9_./-]*|off|keep|trash|delete|free|lite|pro)$`)

// scalar writes a text so that YAML reads the same.
func scalar(s string) string {
	if plain.MatchString(s) {
		return s
	}
	return strconv.Quote(s) // whose escapes are YAML's, but for what is not UTF-8
}

const draft = `# Configuration of iksync. A key behind a "#" has its default: take the "#" away to
# change it. Every key is shown in config.example.yaml, with iksync's sources, and in
# /usr/share/doc/iksync/examples/config.yaml, of its Debian package. After a change:
# iksync check --config FILE, and systemctl reload iksync where it is a service.

imagekit:
  # A file that holds the private API key and nothing else, readable by iksync alone.
  # The environment's IMAGEKIT_PRIVATE_KEY comes before it. With neither, systemd's
  # credential imagekit_private_key is used. The key itself never belongs in here.
  {key}

# The file that remembers what was uploaded, with every fileId. It belongs on a local
# disk and outside the roots. IKSYNC_STATE comes before it.
state: {state}

limits:
  # Your ImageKit plan: free, lite or pro. Larger files than it takes are listed.
  plan: {plan}

# The web page: off, or an address of this machine such as 127.0.0.1:7711.
http: {http}

# Uploads at once, and what all of them may send: "20MB/s", or by the time of day
# "08:00-18:00 2MB/s; else off".
#workers: 16
#bandwidth: off

# A file is uploaded when nothing has happened to it for so long.
#settle: 2s
# Full scans as a safety net; scans of a root whose changes can't be seen.
#rescan: 1h
#poll: 1m

# The directories to sync. None may lie inside another.
roots:
  - path: {path}
    # The folder of the media library that mirrors path; "/" is its top.
    folder: {folder}

    # Which files are taken, in gitignore patterns: "*.psd" in any folder, "/drafts/"
    # at the top only. With include, nothing else is taken.
    #exclude: []
    #include: []
    # Only these types: image, video, audio. Empty is any.
    #types: []

    # What becomes of the library's copy when the file here is gone: keep, trash (it
    # is moved to trash_folder) or delete (for good), after the grace of delete_after,
    # and never more than max_delete in an hour without "iksync approve".
    delete: {delete}
    #delete_after: 24h
    #max_delete: "100, 10%"
    # Folders that deletes have emptied: keep, or remove (with what somebody else has
    # uploaded there a moment ago).
    #empty_folders: keep
    #trash_folder: /iksync-trash
    # A file whose content is in the library already: upload, copy or skip.
    #duplicates: upload

    # Parameters of every upload, as ImageKit's upload API has them.
    #upload: {tags: []}
`

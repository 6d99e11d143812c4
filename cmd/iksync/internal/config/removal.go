package config

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"iksync/uploader"
	"iksync/uploader/imagekit"
)

const (
	defaultTrash       = "/iksync-trash"
	defaultDeleteAfter = 24 * time.Hour
	defaultMaxDelete   = "100, 10%"
)

func (c *checker) removal(at, folder string, doc *documentRoot) uploader.Removal {
	policies := []uploader.Policy{uploader.Keep, uploader.Trash, uploader.Delete}
	r := uploader.Removal{
		Gone:     choice(c, at+".delete", doc.Delete, policies...),
		Filtered: choice(c, at+".filtered", doc.Filtered, policies...),
		After:    c.duration(at+".delete_after", doc.DeleteAfter, defaultDeleteAfter, 0),

		EmptyFolders: choice(c, at+".empty_folders", doc.EmptyFolders, uploader.KeepEmpty, uploader.RemoveEmpty),
	}
	limit := cmp.Or(doc.MaxDelete, defaultMaxDelete)
	var ok bool
	if r.MaxFiles, r.MaxShare, ok = maxDelete(limit); !ok {
		c.at(at+".max_delete", "%q is not a number of files from 1, a share above 0%% and up to 100%%, or both, such as \"100\", \"10%%\" or \"100, 10%%\"", limit)
	}
	trash, err := imagekit.CleanFolder(cmp.Or(doc.TrashFolder, defaultTrash))
	if err != nil {
		c.at(at+".trash_folder", "%v", err)
		return r
	}
	r.TrashFolder = trash
	where := at + ".trash_folder"
	if doc.TrashFolder == "" {
		// Without a trash nobody needs to hear of a default that would be in the way.
		if r.Gone != uploader.Trash && r.Filtered != uploader.Trash {
			return r
		}
		where = at + ".folder"
	}
	switch {
	case trash == "/":
		c.at(where, "the trash needs a folder of its own: \"/\" holds the whole library")
	case folder != "" && Inside(folder, trash):
		c.at(where, "the trash folder %s is the root's folder %s or lies above it: who empties the trash would delete the root's files", trash, folder)
	}
	return r
}

// maxDelete reads "N", "N%" or "N, M%": files, and a share of the root's files
// (0.10 for 10 %). What is not given is 0.
func maxDelete(s string) (files int64, share float64, ok bool) {
	count, percent, both := strings.Cut(s, ",")
	if !both && strings.HasSuffix(s, "%") {
		count, percent = "", s
	}
	if both || percent == "" {
		n, err := strconv.ParseUint(strings.TrimSpace(count), 10, 63) // which takes no sign
		if err != nil || n == 0 {
			return 0, 0, false
		}
		files = int64(n)
	}
	if both || percent != "" {
		number, isPercent := strings.CutSuffix(strings.TrimSpace(percent), "%")
		f, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		share = f / 100
		// The share is looked at, and not f: the smallest f would become 0, no bound.
		if !isPercent || err != nil || !(share > 0 && share <= 1) { // NaN is neither
			return 0, 0, false
		}
	}
	return files, share, true
}

// choice reads one of the words of known; "" is the first.
func choice[T fmt.Stringer](c *checker, path, value string, known ...T) T {
	words := make([]string, len(known))
	for i, k := range known {
		if words[i] = k.String(); words[i] == value {
			return k
		}
	}
	c.oneOf(path, cmp.Or(value, words[0]), words...)
	return known[0]
}

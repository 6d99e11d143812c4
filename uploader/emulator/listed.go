package emulator

import (
	"strings"
	"time"
)

// searchedField gives the kind of a field of a searchQuery (advanced search of
// the list API).
func searchedField(field string) (kind, bool) {
	switch field {
	case "id", "name", "path", "type", "format", "fileType", "description", "mime", "createdBy":
		return textKind, true
	case "size", "height", "width":
		return numberKind, true
	case "private", "published", "transparency":
		return boolKind, true
	case "createdAt", "updatedAt":
		return timeKind, true
	case "tags", "AITags":
		return tagsKind, true
	}
	return anyKind, strings.HasPrefix(field, "customMetadata.") || strings.HasPrefix(field, "embeddedMetadata.")
}

// lookup gives the values of a candidate's fields. Paths end with a slash, so
// that `path : "/a/"` finds all that is in /a and below it.
func (i listed) lookup(versions bool) lookup {
	if i.folder != nil {
		return i.folderField
	}
	return func(field string) any {
		v := i.version
		switch field {
		case "id":
			return i.asset.FileID
		case "createdBy":
			return uploader
		case "name":
			return i.asset.Name
		case "path":
			return withSlash(i.asset.Folder)
		case "type":
			if versions {
				return "file-version"
			}
			return "file"
		case "format":
			return v.format()
		case "fileType":
			return v.Content.fileType()
		case "mime":
			return v.Content.MIME
		case "description":
			return v.Description
		case "size":
			return float64(v.Content.Size)
		case "height":
			return positive(v.Content.Height)
		case "width":
			return positive(v.Content.Width)
		case "private":
			return v.IsPrivate
		case "published":
			return !v.IsDraft
		case "transparency":
			return v.Content.HasAlpha
		case "createdAt":
			return i.created()
		case "updatedAt":
			return i.updated()
		case "tags":
			return v.allTags()
		case "AITags":
			return v.aiTagNames()
		}
		name, _ := strings.CutPrefix(field, "customMetadata.")
		return plainValue(v.CustomMetadata[name])
	}
}

func (i listed) folderField(field string) any {
	switch field {
	case "id":
		return i.folder.id
	case "createdBy":
		return uploader
	case "name":
		return i.folder.name()
	case "path":
		return withSlash(parentOf(i.folder.path))
	case "type":
		return "folder"
	case "createdAt", "updatedAt":
		return i.folder.created
	}
	return nil
}

func withSlash(folder string) string {
	if folder == "/" {
		return folder
	}
	return folder + "/"
}

// plainValue makes a list of texts of a value of several options.
func plainValue(v any) any {
	list, isList := v.([]any)
	if !isList {
		return v
	}
	texts := make([]string, 0, len(list))
	for _, item := range list {
		if text, isText := item.(string); isText {
			texts = append(texts, text)
		}
	}
	return texts
}

// uploader stands where a search has the email of the user who created a file or
// folder: the emulator's accounts have no users.
const uploader = "uploader@example.com"

// allTags gives the tags that a search for tags finds a version by.
func (v *version) allTags() []string { return append(v.aiTagNames(), v.Tags...) }

func (v *version) aiTagNames() []string {
	names := make([]string, len(v.AITags))
	for i, tag := range v.AITags {
		names[i] = tag.Name
	}
	return names
}

func (i listed) created() time.Time {
	switch {
	case i.folder != nil:
		return i.folder.created
	case i.version != i.asset.current():
		return i.version.Created
	}
	return i.asset.Created
}

func (i listed) updated() time.Time {
	if i.folder != nil {
		return i.folder.created
	}
	return i.version.Updated
}

func (i listed) seq() int64 {
	if i.folder != nil {
		return 0
	}
	return i.entry.seq
}

// content is that of a folder when there is none: all zero.
func (i listed) content() content {
	if i.folder != nil {
		return content{}
	}
	return i.version.Content
}

package emulator

import "strings"

// The refusals of the checks parameter.
const (
	badChecks    = "Your request contains invalid syntax for the checks parameter."
	failedChecks = "Your request failed 'checks' validation."
)

// check runs an upload's checks expression, such as
//
//	"request.folder" : "marketing/" AND "file.size" < "1mb"
//
// over the form's fields ("request.*") and the file ("file.size", "file.mime",
// "mediaMetadata.width", "mediaMetadata.height"). Empty means it holds.
func (s *Server) check(p *params, f *form) string {
	text, has := f.field("checks")
	if !has {
		return ""
	}
	e, err := parseExpression(text)
	if err != nil {
		return badChecks
	}
	holds, err := compile(e, checkedField, s.now())
	if err != nil {
		return badChecks
	}
	c := &f.file.content
	if !holds(func(field string) any {
		switch field {
		case "file.size":
			return float64(c.Size)
		case "file.mime":
			return c.MIME
		case "mediaMetadata.width":
			return positive(c.Width)
		case "mediaMetadata.height":
			return positive(c.Height)
		case "request.tags":
			return p.version.Tags
		case "request.folder":
			// The example has no slash before the folder and one behind it.
			return strings.Trim(p.folder, "/") + "/"
		case "request.fileName":
			return p.name
		}
		return f.fields[strings.TrimPrefix(field, "request.")]
	}) {
		return failedChecks
	}
	return ""
}

func checkedField(field string) (kind, bool) {
	switch field {
	case "file.size", "mediaMetadata.width", "mediaMetadata.height":
		return numberKind, true
	case "file.mime":
		return textKind, true
	case "request.tags":
		return tagsKind, true
	}
	return textKind, strings.HasPrefix(field, "request.")
}

func positive(n int) any {
	if n <= 0 {
		return nil
	}
	return float64(n)
}

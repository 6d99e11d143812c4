package emulator

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// params is what an upload's fields come to (parameters of the upload API).
type params struct {
	name, folder          string
	unique, overwriteFile bool
	version               *version // with all but its identity and content

	hasTags, hasMetadata, hasDescription bool
	keepTags, keepAITags, keepMetadata   bool

	respond    map[string]bool // responseFields
	extensions map[string]string
	pre        string // transformation.pre
	queued     bool   // the file waits for its pre-transformation
	remeasure  bool
}

const (
	badTags        = "Your request contains invalid value for tags parameter. Combined length of all tags should be less than or equal to 500."
	badTagsPercent = "Your request contains invalid value for tags parameter. Tags cannot contain %."
	maxTags        = 500 // characters of all tags together
)

// params validates an upload's fields. The file has been received.
func (s *Server) params(f *form) (*params, *answer) {
	if f.file == nil {
		return nil, pointer(badRequest(missingFile))
	}
	p := &params{version: &version{}}
	sent, has := f.field("fileName")
	if !has {
		return nil, pointer(badRequest("Your request is missing fileName parameter."))
	}
	p.name = s.names.file(sent)
	var err error
	if p.folder, err = s.names.folders(f.fields["folder"]); err != nil {
		return nil, pointer(badRequest(err.Error()))
	}
	f.file.named(p.name)
	p.remeasure = f.file.short
	if f.file.content.Size == 0 && s.behaviour.RejectEmpty {
		return nil, pointer(badRequest(badFile))
	}
	for _, step := range []func(*form) string{p.booleans, p.tags, p.coordinates, p.responseFields, p.transform, p.extend} {
		if message := step(f); message != "" {
			return nil, pointer(badRequest(message))
		}
	}
	if message := s.behaviour.tagsProblem(p.version.Tags); message != "" {
		return nil, pointer(badRequest(message))
	}
	if refused := s.customMetadata(p, f); refused != nil {
		return nil, refused
	}
	if message := s.check(p, f); message != "" {
		return nil, pointer(badRequest(message))
	}
	p.version.Description, p.hasDescription = f.field("description")
	return p, nil
}

func (p *params) booleans(f *form) string {
	var overwriteTags, overwriteAITags, overwriteMetadata, published bool
	for _, b := range []struct {
		name     string
		to       *bool
		fallback bool
	}{
		{"useUniqueFileName", &p.unique, true},
		{"overwriteFile", &p.overwriteFile, true},
		{"overwriteTags", &overwriteTags, true},
		{"overwriteAITags", &overwriteAITags, true},
		{"overwriteCustomMetadata", &overwriteMetadata, true},
		{"isPrivateFile", &p.version.IsPrivate, false},
		{"isPublished", &published, true},
	} {
		switch f.fields[b.name] {
		case "":
			*b.to = b.fallback
		case "true":
			*b.to = true
		case "false":
			*b.to = false
		default:
			return fmt.Sprintf("Your request contains invalid value for %s parameter. It should be true or false.", b.name)
		}
	}
	p.keepTags, p.keepAITags, p.keepMetadata = !overwriteTags, !overwriteAITags, !overwriteMetadata
	p.version.IsDraft = !published
	return ""
}

func (p *params) tags(f *form) string {
	text, has := f.field("tags")
	if !has {
		return ""
	}
	p.hasTags = true
	for tag := range strings.SplitSeq(text, ",") {
		if tag = strings.TrimSpace(tag); tag != "" {
			p.version.Tags = append(p.version.Tags, tag)
		}
	}
	return ""
}

// tagsProblem says what is wrong with tags; empty is nothing.
func (b Behaviour) tagsProblem(tags []string) string {
	length := 0
	if b.TagsCountCommas {
		length = max(0, len(tags)-1)
	}
	for _, tag := range tags {
		length += utf8.RuneCountInString(tag)
		if strings.Contains(tag, "%") {
			return badTagsPercent
		}
	}
	if length > maxTags {
		return badTags
	}
	return ""
}

const badCoordinates = "Your request contains invalid value for customCoordinates parameter. It should be in the format x,y,width,height."

func (p *params) coordinates(f *form) string {
	text, has := f.field("customCoordinates")
	if has && !validCoordinates(text) {
		return badCoordinates
	}
	p.version.CustomCoordinates = text
	return ""
}

func validCoordinates(text string) bool {
	numbers := strings.Split(text, ",")
	for _, n := range numbers {
		if v, err := strconv.ParseFloat(strings.TrimSpace(n), 64); err != nil || v < 0 {
			return false
		}
	}
	return len(numbers) == 4
}

func (p *params) responseFields(f *form) string {
	text, has := f.field("responseFields")
	if !has {
		return ""
	}
	p.respond = make(map[string]bool)
	for name := range strings.SplitSeq(text, ",") {
		switch name = strings.TrimSpace(name); name {
		case "tags", "customCoordinates", "isPrivateFile", "embeddedMetadata", "isPublished",
			"customMetadata", "metadata", "selectedFieldsSchema":
			p.respond[name] = true
		case "":
		default:
			return "Your request contains invalid value for responseFields parameter."
		}
	}
	return ""
}

// inherit takes over from the version below what the overwrite* parameters keep.
// There is none for customCoordinates, which are lost unless sent again, and
// none for the description, which is kept.
func (p *params) inherit(v, from *version) {
	if p.keepTags && !p.hasTags {
		v.Tags = from.Tags
	}
	if p.keepAITags {
		v.AITags = withAITags(from.AITags, v.AITags)
	}
	if p.keepMetadata && !p.hasMetadata {
		v.CustomMetadata = from.CustomMetadata
	}
	if !p.hasDescription {
		v.Description = from.Description
	}
}

package imagekit

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Params are the optional parameters of an upload. The zero value sends none of
// them and leaves ImageKit's defaults (given in brackets).
type Params struct {
	UseUniqueFileName       *bool           // add a random suffix to the name (true)
	Tags                    []string        // no "%" and no ","; 500 characters in all
	IsPrivateFile           *bool           // original only by signed URL (false)
	IsPublished             *bool           // false makes a draft; enterprise plans only (true)
	CustomCoordinates       string          // "x,y,width,height" of the area of interest, in pixels
	ResponseFields          []string        // what the answer holds beyond the standard
	Extensions              json.RawMessage // JSON array
	WebhookURL              string          // is told the final status of pending extensions
	OverwriteFile           *bool           // replace a file of the same name (true)
	OverwriteAITags         *bool           // drop AI tags on overwrite (true)
	OverwriteTags           *bool           // drop tags on overwrite when none are sent (true)
	OverwriteCustomMetadata *bool           // the same for custom metadata (true)
	CustomMetadata          json.RawMessage // JSON object; its fields must exist in the account
	Transformation          json.RawMessage // JSON object with "pre" and "post"
	Checks                  string          // server-side guard, such as `"file.size" < "1mb"`
	Description             string
}

// maxTagCharacters is the sum over all tags that ImageKit accepts.
const maxTagCharacters = 500

// responseFields is what ImageKit accepts as responseFields.
func responseFields() []string {
	return []string{"tags", "customCoordinates", "isPrivateFile", "embeddedMetadata", "isPublished", "customMetadata", "metadata", "selectedFieldsSchema"}
}

// Validate reports every parameter that ImageKit is known to refuse, so that it
// is said once and not for every file.
func (p *Params) Validate() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, &ParamError{Field: field, Problem: fmt.Sprintf(format, args...)})
	}
	total := 0
	for _, tag := range p.Tags {
		total += utf8.RuneCountInString(tag)
		switch {
		case strings.TrimSpace(tag) == "":
			bad("tags", "a tag is empty")
		case strings.ContainsAny(tag, "%,"):
			bad("tags", "tag %q: \"%%\" and \",\" are not allowed in tags", tag)
		}
	}
	if total > maxTagCharacters {
		bad("tags", "all tags together have %d characters; ImageKit takes %d", total, maxTagCharacters)
	}
	if p.CustomCoordinates != "" && !validCoordinates(p.CustomCoordinates) {
		bad("custom_coordinates", "%q is not x,y,width,height in whole pixels", p.CustomCoordinates)
	}
	for _, f := range p.ResponseFields {
		if !slices.Contains(responseFields(), f) {
			bad("response_fields", "%q is unknown; known: %s", f, strings.Join(responseFields(), ", "))
		}
	}
	checkJSON := func(field string, raw json.RawMessage, want byte, kind string) {
		if len(raw) == 0 {
			return
		}
		trimmed := strings.TrimSpace(string(raw))
		if !json.Valid(raw) || trimmed[0] != want {
			bad(field, "is not a JSON %s", kind)
		}
	}
	checkJSON("extensions", p.Extensions, '[', "array")
	checkJSON("custom_metadata", p.CustomMetadata, '{', "object")
	checkJSON("transformation", p.Transformation, '{', "object")
	return errors.Join(errs...)
}

// ParamError is one parameter that ImageKit would refuse.
type ParamError struct {
	Field   string // as the configuration spells it, "custom_coordinates"
	Problem string
}

// Error names the parameter and what is wrong with it.
func (e *ParamError) Error() string { return e.Field + ": " + e.Problem }

func validCoordinates(s string) bool {
	parts := strings.Split(s, ",")
	if len(parts) != 4 {
		return false
	}
	for _, part := range parts {
		if _, err := strconv.ParseUint(strings.TrimSpace(part), 10, 32); err != nil {
			return false
		}
	}
	return true
}

// field is one text field of the multipart body.
type field struct{ name, value string }

// fields returns the parameters as ImageKit wants them on the wire: lists
// joined by commas, booleans as words, structures as JSON text.
func (p *Params) fields() []field {
	var fs []field
	text := func(name, value string) {
		if value != "" {
			fs = append(fs, field{name, value})
		}
	}
	flag := func(name string, value *bool) {
		if value != nil {
			fs = append(fs, field{name, strconv.FormatBool(*value)})
		}
	}
	flag("useUniqueFileName", p.UseUniqueFileName)
	text("tags", strings.Join(p.Tags, ","))
	flag("isPrivateFile", p.IsPrivateFile)
	flag("isPublished", p.IsPublished)
	text("customCoordinates", p.CustomCoordinates)
	text("responseFields", strings.Join(p.ResponseFields, ","))
	text("extensions", string(p.Extensions))
	text("webhookUrl", p.WebhookURL)
	flag("overwriteFile", p.OverwriteFile)
	flag("overwriteAITags", p.OverwriteAITags)
	flag("overwriteTags", p.OverwriteTags)
	flag("overwriteCustomMetadata", p.OverwriteCustomMetadata)
	text("customMetadata", string(p.CustomMetadata))
	text("transformation", string(p.Transformation))
	text("checks", p.Checks)
	text("description", p.Description)
	return fs
}

// Prepares reports whether a transformation is applied before the asset is
// stored, so that its size is not that of what was sent.
func (p *Params) Prepares() bool {
	if len(p.Transformation) == 0 {
		return false
	}
	var t struct {
		Pre json.RawMessage `json:"pre"`
	}
	return json.Unmarshal(p.Transformation, &t) == nil && len(t.Pre) > 0 && string(t.Pre) != "null" && string(t.Pre) != `""`
}

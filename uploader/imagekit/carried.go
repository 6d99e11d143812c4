package imagekit

import (
	"encoding/json"
	"reflect"
	"slices"
)

// Copyable reports whether an asset with these parameters can be had by copying another:
// nothing in them is done by the upload itself.
func (p *Params) Copyable() bool {
	return len(p.Transformation) == 0 && len(p.Extensions) == 0 && p.Checks == "" && p.WebhookURL == ""
}

// CarriedBy reports whether an asset, as ImageKit's answer tells of it, carries what
// these parameters give an upload, and nothing else.
func (p *Params) CarriedBy(answer []byte) bool {
	var a struct {
		Tags              []string       `json:"tags"`
		IsPrivateFile     bool           `json:"isPrivateFile"`
		IsPublished       *bool          `json:"isPublished"`
		CustomCoordinates string         `json:"customCoordinates"`
		CustomMetadata    map[string]any `json:"customMetadata"`
		Description       string         `json:"description"`
	}
	if err := decode(answer, &a); err != nil {
		return false
	}
	var metadata map[string]any
	if len(p.CustomMetadata) > 0 && json.Unmarshal(p.CustomMetadata, &metadata) != nil {
		return false
	}
	sorted := func(tags []string) []string {
		tags = slices.Clone(tags)
		slices.Sort(tags)
		return slices.Compact(tags)
	}
	return slices.Equal(sorted(p.Tags), sorted(a.Tags)) &&
		is(p.IsPrivateFile, false) == a.IsPrivateFile &&
		is(p.IsPublished, true) == is(a.IsPublished, true) &&
		p.CustomCoordinates == a.CustomCoordinates && p.Description == a.Description &&
		(len(metadata) == 0 && len(a.CustomMetadata) == 0 || reflect.DeepEqual(metadata, a.CustomMetadata))
}

// is gives the value of an optional flag.
func is(flag *bool, otherwise bool) bool {
	if flag == nil {
		return otherwise
	}
	return *flag
}

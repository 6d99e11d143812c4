package emulator

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// metadataField is a custom metadata field. A deleted one stays: its name can
// never be used again.
type metadataField struct {
	ID      string      `json:"id"`
	Name    string      `json:"name"`
	Label   string      `json:"label"`
	Schema  fieldSchema `json:"schema"`
	Deleted bool        `json:"deleted,omitempty"`
	Seq     int         `json:"seq,omitempty"` // order of creation
}

// fieldSchema says what values a field takes.
type fieldSchema struct {
	Type            string   `json:"type"`
	SelectOptions   []any    `json:"selectOptions,omitempty"`
	DefaultValue    any      `json:"defaultValue,omitempty"`
	IsValueRequired bool     `json:"isValueRequired,omitempty"`
	MinValue        any      `json:"minValue,omitempty"` // a number, or a date as text
	MaxValue        any      `json:"maxValue,omitempty"`
	MinLength       *float64 `json:"minLength,omitempty"`
	MaxLength       *float64 `json:"maxLength,omitempty"`
}

func (f fieldSchema) valid() bool {
	switch f.Type {
	case "Text", "Textarea", "Number", "Date", "Boolean":
		return true
	case "SingleSelect", "MultiSelect":
		return len(f.SelectOptions) > 0
	}
	return false
}

// problem says what is wrong with a value; empty is nothing.
func (f fieldSchema) problem(value any) string {
	switch f.Type {
	case "Text", "Textarea":
		text, ok := value.(string)
		if !ok {
			return "The value should be a string."
		}
		length := float64(utf8.RuneCountInString(text))
		if f.MinLength != nil && length < *f.MinLength || f.MaxLength != nil && length > *f.MaxLength {
			return "The value's length is out of range."
		}
	case "Number":
		number, ok := value.(float64)
		if !ok {
			return "The value should be a number."
		}
		if low, ok := f.MinValue.(float64); ok && number < low {
			return "The value is below the minimum."
		}
		if high, ok := f.MaxValue.(float64); ok && number > high {
			return "The value is above the maximum."
		}
	case "Date":
		text, ok := value.(string)
		if _, valid := parseDate(text); !ok || !valid {
			return "The value should be a date in ISO 8601 format."
		}
	case "Boolean":
		if _, ok := value.(bool); !ok {
			return "The value should be a boolean."
		}
	case "SingleSelect":
		if !f.option(value) {
			return "The value is not one of selectOptions."
		}
	case "MultiSelect":
		values, ok := value.([]any)
		if !ok || slices.ContainsFunc(values, func(v any) bool { return !f.option(v) }) {
			return "The value should be an array of selectOptions."
		}
	}
	return ""
}

func (f fieldSchema) option(value any) bool {
	switch value.(type) {
	case string, float64, bool:
		return slices.Contains(f.SelectOptions, value)
	}
	return false
}

func parseDate(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

const badMetadata = "Invalid custom metadata."

// customMetadata validates an upload's customMetadata: a JSON object whose
// names are fields that were defined before.
func (s *Server) customMetadata(p *params, f *form) *answer {
	text, has := f.field("customMetadata")
	if !has {
		return nil
	}
	var values map[string]any
	if json.Unmarshal([]byte(text), &values) != nil || values == nil {
		return pointer(badRequest(badMetadata))
	}
	s.mu.RLock()
	problems := s.lib.metadataProblems(values)
	s.mu.RUnlock()
	if len(problems) > 0 {
		return pointer(answer{status: 400, body: refusal{Message: badMetadata, Help: help, Errors: problems}})
	}
	p.hasMetadata = true
	p.version.CustomMetadata = merge(nil, values)
	return nil
}

// metadataProblems says what is wrong with values, by field. A null takes a
// value away and needs no check.
func (l *library) metadataProblems(values map[string]any) map[string]string {
	problems := make(map[string]string)
	for name, value := range values {
		f, found := l.field(name)
		if !found {
			problems[name] = fmt.Sprintf("No custom metadata field with the name %s exists.", name)
		} else if value != nil {
			if text := f.Schema.problem(value); text != "" {
				problems[name] = text
			}
		}
	}
	return problems
}

// field finds a field that is not deleted by its name.
func (l *library) field(name string) (metadataField, bool) {
	for _, f := range l.fields {
		if f.Name == name && !f.Deleted {
			return f, true
		}
	}
	return metadataField{}, false
}

// sortedFields gives all fields in order of creation.
func (l *library) sortedFields() []metadataField {
	all := make([]metadataField, 0, len(l.fields))
	for _, f := range l.fields {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b metadataField) int {
		if a.Seq != b.Seq {
			return a.Seq - b.Seq
		}
		return strings.Compare(a.ID, b.ID)
	})
	return all
}

// merge gives old with values put over it; a null takes its name away.
func merge(old, values map[string]any) map[string]any {
	merged := make(map[string]any, len(old)+len(values))
	for name, value := range old {
		merged[name] = value
	}
	for name, value := range values {
		if value == nil {
			delete(merged, name)
		} else {
			merged[name] = value
		}
	}
	return merged
}

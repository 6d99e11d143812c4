package imagekit_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"iksync/uploader/emulator"
	"iksync/uploader/imagekit"
)

// problems are the fields that Validate finds fault with, in order.
func problems(t *testing.T, p imagekit.Params) []string {
	t.Helper()
	err := p.Validate()
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("got %T", err)
	}
	var fields []string
	for _, err := range joined.Unwrap() {
		var problem *imagekit.ParamError
		if !errors.As(err, &problem) || problem.Problem == "" || !strings.HasPrefix(err.Error(), problem.Field+": ") {
			t.Errorf("got %#v", err)
			continue
		}
		fields = append(fields, problem.Field)
	}
	return fields
}

func TestWhatImageKitWouldRefuseIsFoundBeforehand(t *testing.T) {
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	for name, test := range map[string]struct {
		params imagekit.Params
		want   []string
	}{
		"nothing set is good":                   {imagekit.Params{}, nil},
		"everything set is good":                {allParams(), nil},
		"500 characters of tags are good":       {imagekit.Params{Tags: []string{strings.Repeat("é", 250), strings.Repeat("x", 250)}}, nil},
		"501 characters of tags are not":        {imagekit.Params{Tags: []string{strings.Repeat("é", 250), strings.Repeat("x", 251)}}, []string{"tags"}},
		"a tag with % is not":                   {imagekit.Params{Tags: []string{"100%"}}, []string{"tags"}},
		"a tag with a comma would be two":       {imagekit.Params{Tags: []string{"a,b"}}, []string{"tags"}},
		"empty tags are not":                    {imagekit.Params{Tags: []string{"", " "}}, []string{"tags", "tags"}},
		"three coordinates are not":             {imagekit.Params{CustomCoordinates: "1,2,3"}, []string{"custom_coordinates"}},
		"negative coordinates are not":          {imagekit.Params{CustomCoordinates: "-1,2,3,4"}, []string{"custom_coordinates"}},
		"coordinates that are words are not":    {imagekit.Params{CustomCoordinates: "a,b,c,d"}, []string{"custom_coordinates"}},
		"an unknown response field is not":      {imagekit.Params{ResponseFields: []string{"tags", "size"}}, []string{"response_fields"}},
		"extensions that are an object are not": {imagekit.Params{Extensions: raw(`{}`)}, []string{"extensions"}},
		"metadata that is a list is not":        {imagekit.Params{CustomMetadata: raw(`[]`)}, []string{"custom_metadata"}},
		"JSON of white space is not":            {imagekit.Params{CustomMetadata: raw("  "), Extensions: raw("\n"), Transformation: raw("\t")}, []string{"extensions", "custom_metadata", "transformation"}},
		"half of a JSON text is not":            {imagekit.Params{Transformation: raw(`{"pre":`)}, []string{"transformation"}},
		"white space around JSON is good":       {imagekit.Params{CustomMetadata: raw(" \n{} ")}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, problems(t, test.params)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTheEmulatorRefusesWhatValidateDoes(t *testing.T) {
	_, c, _ := newEmulator(t, emulator.Behaviour{})
	for name, p := range map[string]imagekit.Params{
		"tags that are too long":       {Tags: []string{strings.Repeat("é", 250), strings.Repeat("x", 251)}},
		"a tag with %":                 {Tags: []string{"100%"}},
		"three coordinates":            {CustomCoordinates: "1,2,3"},
		"an unknown response field":    {ResponseFields: []string{"size"}},
		"metadata that is a list":      {CustomMetadata: json.RawMessage(`[]`)},
		"half of a JSON text":          {Transformation: json.RawMessage(`{"pre":`)},
		"extensions that are no array": {Extensions: json.RawMessage(`{}`)},
	} {
		if p.Validate() == nil {
			t.Errorf("Validate takes %s", name)
		}
		u := bytesUpload("/a.txt", "x")
		u.Params = p
		if _, err := c.Upload(t.Context(), u); err == nil || apiError(t, err).Class != imagekit.File {
			t.Errorf("the emulator takes %s: %v", name, err)
		}
	}
}

func TestOnlyAPreTransformationChangesWhatIsStored(t *testing.T) {
	for text, want := range map[string]bool{
		"":                             false,
		`{"post":[{"type":"abs"}]}`:    false,
		`{"pre":"w-300"}`:              true,
		`{"pre":"w-300","post":[]}`:    true,
		`not JSON`:                     false,
		`{"PRE":"w-300"}`:              true, // as Go reads JSON; ImageKit may not
		`{"post":[{"pre":"w-300"}]}  `: false,
	} {
		p := imagekit.Params{Transformation: json.RawMessage(text)}
		if got := p.Prepares(); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
}

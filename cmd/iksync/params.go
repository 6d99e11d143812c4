package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/pflag"

	"iksync/cmd/iksync/internal/config"
	"iksync/uploader/imagekit"
)

// paramFlags are ImageKit's upload parameters as flags. One that is not given
// keeps iksync's default.
type paramFlags struct {
	flags *pflag.FlagSet

	unique, private, published                                       bool
	overwriteFile, overwriteAITags, overwriteTags, overwriteMetadata bool
	tags, responseFields                                             []string
	coordinates, webhook, checks, description                        string
	extensions, metadata, transformation                             string
}

func addParamFlags(fs *pflag.FlagSet) *paramFlags {
	f := &paramFlags{flags: fs}
	fs.StringSliceVar(&f.tags, "tags", nil, "tags, separated by commas (500 characters in all, no %)")
	fs.BoolVar(&f.private, "private", false, "the original is served by signed URL alone")
	fs.BoolVar(&f.published, "published", true, "=false makes a draft (enterprise plans)")
	fs.StringVar(&f.coordinates, "custom-coordinates", "", "area of interest: `x,y,width,height` in pixels")
	fs.StringSliceVar(&f.responseFields, "response-fields", nil, "more `fields` in the answer: tags, customCoordinates, isPrivateFile, embeddedMetadata, isPublished, customMetadata, metadata, selectedFieldsSchema")
	fs.StringVar(&f.extensions, "extensions", "", "extensions to run: `JSON` array")
	fs.StringVar(&f.webhook, "webhook-url", "", "`URL` that is told the final status of extensions")
	fs.BoolVar(&f.overwriteFile, "overwrite-file", true, "=false refuses a name that is taken")
	fs.BoolVar(&f.overwriteTags, "overwrite-tags", false, "drop a replaced file's tags when none are given")
	fs.BoolVar(&f.overwriteAITags, "overwrite-ai-tags", false, "drop a replaced file's AI tags")
	fs.BoolVar(&f.overwriteMetadata, "overwrite-custom-metadata", false, "drop a replaced file's custom metadata when none is given")
	fs.StringVar(&f.metadata, "custom-metadata", "", "custom metadata: `JSON` object; its fields must exist")
	fs.StringVar(&f.transformation, "transformation", "", "pre and post transformation: `JSON` object")
	fs.StringVar(&f.checks, "checks", "", "server-side guard, such as '\"file.size\" < \"1mb\"'")
	fs.StringVar(&f.description, "description", "", "description of the file")
	return f
}

// params returns iksync's defaults with what was given.
func (f *paramFlags) params() imagekit.Params {
	p := config.Defaults()
	for name, b := range map[string]struct {
		dst **bool
		src *bool
	}{
		"unique-name": {&p.UseUniqueFileName, &f.unique}, "private": {&p.IsPrivateFile, &f.private}, "published": {&p.IsPublished, &f.published},
		"overwrite-file": {&p.OverwriteFile, &f.overwriteFile}, "overwrite-tags": {&p.OverwriteTags, &f.overwriteTags},
		"overwrite-ai-tags": {&p.OverwriteAITags, &f.overwriteAITags}, "overwrite-custom-metadata": {&p.OverwriteCustomMetadata, &f.overwriteMetadata},
	} {
		if f.flags.Changed(name) {
			*b.dst = b.src
		}
	}
	p.Tags, p.ResponseFields = f.tags, f.responseFields
	p.CustomCoordinates, p.WebhookURL, p.Checks, p.Description = f.coordinates, f.webhook, f.checks, f.description
	p.Extensions, p.CustomMetadata, p.Transformation = raw(f.extensions), raw(f.metadata), raw(f.transformation)
	return p
}

func addWorkersFlag(fs *pflag.FlagSet, workers *int) {
	fs.IntVar(workers, "workers", 0, fmt.Sprintf("uploads at once (default: the configuration's, else %d)", config.DefaultWorkers))
}

func addLogLevelFlag(fs *pflag.FlagSet, level *string) {
	fs.StringVar(level, "log-level", "", "debug, info, warn or error (default: the configuration's, else info)")
}

func raw(s string) json.RawMessage {
	if s == "" {
		return nil
	}
	return json.RawMessage(s)
}

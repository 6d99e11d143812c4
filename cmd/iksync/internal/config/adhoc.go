package config

import (
	"cmp"
	"errors"
	"strings"

	"iksync/uploader/imagekit"
)

// AdHoc is one root that is described on the command line instead of in a file.
// Texts have the form that the configuration has; "" is its default.
type AdHoc struct {
	Path, Folder             string
	Include, Exclude, Types  []string
	NoJunk                   bool
	MinSize, MaxSize, MinAge string
	Symlinks, Plan           string
	LogLevel, LogFormat      string
	Workers                  int
	Params                   imagekit.Params
	UploadURL, APIURL        string
}

// Config checks the root and makes a configuration of it. What is wrong is an [*Error].
func (a *AdHoc) Config() (*Config, error) {
	junk := !a.NoJunk
	var doc document
	doc.ImageKit.UploadURL, doc.ImageKit.APIURL = a.UploadURL, a.APIURL
	doc.Log.Level, doc.Log.Format = a.LogLevel, a.LogFormat
	doc.Limits.Plan = a.Plan
	if a.Workers != 0 {
		doc.Workers = &a.Workers
	}
	doc.Roots = []documentRoot{{
		Path: a.Path, Folder: a.Folder, Include: a.Include, Exclude: a.Exclude, Junk: &junk, Types: a.Types,
		MinSize: a.MinSize, MaxSize: a.MaxSize, MinAge: a.MinAge, Symlinks: a.Symlinks,
	}}
	c := &checker{}
	cfg := c.check(&doc)
	if err := a.Params.Validate(); err != nil {
		c.errs = append(c.errs, err)
	}
	if len(c.errs) > 0 {
		return nil, &Error{err: errors.Join(c.errs...)}
	}
	cfg.Roots[0].base = a.Params
	return cfg, nil
}

// Override lets flags win over the configuration; 0 and "" leave it as it is.
// What is wrong is an [*Error].
func (c *Config) Override(workers int, logLevel string) error {
	c.Workers = cmp.Or(workers, c.Workers)
	c.LogLevel = cmp.Or(logLevel, c.LogLevel)
	check := &checker{}
	check.overridable(c)
	if len(check.errs) > 0 {
		return &Error{err: errors.Join(check.errs...)}
	}
	return nil
}

// flagOf names what says on the command line, or in the environment, what a key
// says in a file: "--min-age: ". It is "" where the problem names it.
func flagOf(yamlPath string) string {
	key, _, _ := strings.Cut(yamlPath[strings.LastIndexByte(yamlPath, '.')+1:], "[")
	switch key {
	case "roots", "path", "folder":
		return ""
	case "upload_url", "api_url":
		return "IKSYNC_" + strings.ToUpper(key) + ": "
	case "level":
		key = "log-level"
	}
	return "--" + strings.ReplaceAll(key, "_", "-") + ": "
}

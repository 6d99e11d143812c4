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
	Workers                  *int // nil is the default
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
	doc.Workers = a.Workers
	doc.Roots = []documentRoot{{
		Path: a.Path, Folder: a.Folder, Include: a.Include, Exclude: a.Exclude, Junk: &junk, Types: a.Types,
		MinSize: a.MinSize, MaxSize: a.MaxSize, MinAge: a.MinAge, Symlinks: a.Symlinks,
	}}
	c := &checker{}
	cfg := c.check(&doc)
	if err := a.Params.Validate(); err != nil {
		c.errs = append(c.errs, &FlagError{err})
	}
	if len(c.errs) > 0 {
		return nil, &Error{err: errors.Join(c.errs...)}
	}
	cfg.Roots[0].base = a.Params
	cfg.AdHoc = true
	return cfg, nil
}

// FlagError is a flag whose value can't be taken. An [*Error] holds one for each.
type FlagError struct{ err error }

// Error names the flag and says what is wrong with its value.
func (e *FlagError) Error() string { return e.err.Error() }

// Unwrap returns the problem.
func (e *FlagError) Unwrap() error { return e.err }

// Override lets flags win over the configuration; nil and "" leave it as it is.
// What is wrong is an [*Error].
func (c *Config) Override(workers *int, logLevel string) error {
	if workers != nil {
		c.Workers = *workers
	}
	c.LogLevel = cmp.Or(logLevel, c.LogLevel)
	check := &checker{}
	check.overridable(c)
	if len(check.errs) > 0 {
		return &Error{err: errors.Join(check.errs...)}
	}
	return nil
}

// unfiled is a problem with what a key says, where there is no file that says it: a flag
// does, an argument or the environment.
func unfiled(yamlPath, problem string) error {
	key, _, _ := strings.Cut(yamlPath[strings.LastIndexByte(yamlPath, '.')+1:], "[")
	switch key {
	case "roots", "path": // the argument, which the problem names
		return errors.New(problem)
	case "upload_url", "api_url":
		return errors.New("IKSYNC_" + strings.ToUpper(key) + ": " + problem)
	case "folder":
		key = "to"
	case "level":
		key = "log-level"
	}
	return &FlagError{errors.New("--" + strings.ReplaceAll(key, "_", "-") + ": " + problem)}
}

package config

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"iksync/uploader/imagekit"
	"iksync/watcher"
	"iksync/watcher/filter"
)

// Error is a configuration that can't be used. Its text holds every problem
// that was found, each with the position and the line itself where it has one.
type Error struct {
	Path string
	err  error
}

// Error gives all problems.
func (e *Error) Error() string { return e.err.Error() }

// Unwrap returns the problems.
func (e *Error) Unwrap() error { return e.err }

// DefaultWorkers is how many files are uploaded at once unless configured.
const DefaultWorkers = 16

// maxWorkers bounds the workers: each has a connection and a buffer.
const maxWorkers = 256

// Load reads and checks the configuration at path. What is wrong is an [*Error].
func Load(path string) (*Config, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, &Error{Path: path, err: fmt.Errorf("read the configuration: %w", err)}
	}
	cfg, err := parse(path, src)
	if err != nil {
		return nil, &Error{Path: path, err: err}
	}
	return cfg, nil
}

func parse(path string, src []byte) (*Config, error) {
	var doc document
	file, err := parser.ParseBytes(src, 0)
	if err == nil && !blank(file) {
		err = yaml.NewDecoder(bytes.NewReader(src), yaml.Strict()).Decode(&doc)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %s", path, strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	c := &checker{path: path, src: src, file: file}
	cfg := c.check(&doc)
	if len(c.errs) > 0 {
		return nil, errors.Join(c.errs...)
	}
	return cfg, nil
}

// blank reports whether there is nothing but comments: all defaults then, and
// the missing roots are said by the check.
func blank(file *ast.File) bool {
	for _, d := range file.Docs {
		if d.Body != nil && d.Body.Type() != ast.NullType && d.Body.Type() != ast.CommentGroupType {
			return false
		}
	}
	return true
}

// checker collects what is wrong, each with its position.
type checker struct {
	path string
	src  []byte
	file *ast.File
	errs []error
}

// at notes a problem at a YAML path such as "$.roots[0].path". A path that is
// not in the file (a missing key) is said without a position.
func (c *checker) at(yamlPath, format string, args ...any) {
	problem := fmt.Sprintf(format, args...)
	if c.file == nil {
		c.errs = append(c.errs, errors.New(problem))
		return
	}
	p, err := yaml.PathString(yamlPath)
	if err == nil {
		if node, err := p.FilterFile(c.file); err == nil && node != nil {
			position := node.GetToken().Position
			excerpt, err := p.AnnotateSource(c.src, false)
			if err == nil {
				c.errs = append(c.errs, fmt.Errorf("%s: [%d:%d] %s: %s\n%s", c.path, position.Line, position.Column,
					strings.TrimPrefix(yamlPath, "$."), problem, strings.TrimRight(string(excerpt), "\n")))
				return
			}
		}
	}
	c.errs = append(c.errs, fmt.Errorf("%s: %s: %s", c.path, strings.TrimPrefix(yamlPath, "$."), problem))
}

func (c *checker) check(doc *document) *Config {
	cfg := &Config{
		UploadURL: cmp.Or(doc.ImageKit.UploadURL, imagekit.DefaultUploadURL),
		APIURL:    cmp.Or(doc.ImageKit.APIURL, imagekit.DefaultAPIURL),
		KeyFile:   doc.ImageKit.PrivateKeyFile,
		State:     doc.State,
		Workers:   DefaultWorkers,
		LogLevel:  cmp.Or(doc.Log.Level, "info"),
		LogFormat: cmp.Or(doc.Log.Format, "auto"),
	}
	if err := imagekit.CheckURL(cfg.UploadURL); err != nil {
		c.at("$.imagekit.upload_url", "%v", err)
	}
	if err := imagekit.CheckURL(cfg.APIURL); err != nil {
		c.at("$.imagekit.api_url", "%v", err)
	}
	if doc.Workers != nil {
		cfg.Workers = *doc.Workers
		if cfg.Workers < 1 || cfg.Workers > maxWorkers {
			c.at("$.workers", "%d is not between 1 and %d", cfg.Workers, maxWorkers)
		}
	}
	c.oneOf("$.log.level", cfg.LogLevel, "debug", "info", "warn", "error")
	c.oneOf("$.log.format", cfg.LogFormat, "auto", "console", "json")
	c.limits(doc, cfg)
	if len(doc.Roots) == 0 {
		c.at("$.roots", "there is no root: name at least one directory with its path and folder")
	}
	for i := range doc.Roots {
		cfg.Roots = append(cfg.Roots, c.root(fmt.Sprintf("$.roots[%d]", i), &doc.Roots[i]))
	}
	c.overlaps(cfg)
	return cfg
}

func (c *checker) oneOf(path, value string, known ...string) {
	if !slices.Contains(known, value) {
		c.at(path, "%q is unknown; known: %s", value, strings.Join(known, ", "))
	}
}

func (c *checker) limits(doc *document, cfg *Config) {
	plan := cmp.Or(doc.Limits.Plan, "pro")
	limits, ok := PlanLimits(plan)
	if !ok {
		c.at("$.limits.plan", "%q is unknown; known: free, lite, pro (for an enterprise plan set image, video and other)", plan)
	}
	for name, l := range map[string]struct {
		value string
		dst   *int64
	}{
		"image": {doc.Limits.Image, &limits.Image}, "video": {doc.Limits.Video, &limits.Video}, "other": {doc.Limits.Other, &limits.Other},
	} {
		if l.value != "" {
			*l.dst = c.size("$.limits."+name, l.value)
		}
	}
	cfg.Limits = limits
}

func (c *checker) size(path, value string) int64 {
	if value == "" {
		return 0
	}
	n, err := humanize.ParseBytes(value)
	if err != nil || n > 1<<62 {
		c.at(path, "%q is not a size such as 10MB, 512KiB or 2GB", value)
		return 0
	}
	return int64(n)
}

func (c *checker) root(at string, doc *documentRoot) Root {
	var r Root
	if doc.Path == "" {
		c.at(at, "the root has no path")
	} else if path, err := RootPath(doc.Path); err != nil {
		c.at(at+".path", "%v", err)
	} else {
		r.Path = path
	}
	if doc.Folder == "" {
		c.at(at, "the root has no folder: name the remote folder that mirrors it, or \"/\"")
	} else if folder, err := imagekit.CleanFolder(doc.Folder); err != nil {
		c.at(at+".folder", "%v", err)
	} else {
		r.Folder = folder
	}
	o := filter.Options{
		Junk: doc.Junk == nil || *doc.Junk, Exclude: doc.Exclude, Include: doc.Include, Types: doc.Types,
		MinSize: c.size(at+".min_size", doc.MinSize), MaxSize: c.size(at+".max_size", doc.MaxSize),
	}
	if doc.MinAge != "" {
		age, err := duration(doc.MinAge)
		if err != nil || age < 0 {
			c.at(at+".min_age", "%q is not a duration such as 30s, 10m, 12h or 7d", doc.MinAge)
		}
		o.MinAge = age
	}
	set, err := filter.New(o)
	var bad *filter.PatternError
	if errors.As(err, &bad) {
		c.at(fmt.Sprintf("%s.%s[%d]", at, bad.List, bad.Index), "%v", bad)
	} else if err != nil {
		c.at(at, "%v", err)
	}
	r.Filter = set
	switch doc.Symlinks {
	case "", "skip":
	case "follow-inside":
		r.Symlinks = watcher.FollowInside
	default:
		c.at(at+".symlinks", "%q is unknown; known: skip, follow-inside", doc.Symlinks)
	}
	r.base = Defaults()
	r.upload = doc.Upload
	c.upload(at+".upload", &doc.Upload)
	for i := range doc.Rules {
		where := fmt.Sprintf("%s.rules[%d]", at, i)
		pattern, err := filter.Compile(doc.Rules[i].Match)
		if err != nil {
			c.at(where+".match", "%v", err)
			continue
		}
		c.upload(where+".upload", &doc.Rules[i].Upload)
		r.rules = append(r.rules, rule{pattern: pattern, upload: doc.Rules[i].Upload})
	}
	return r
}

func (c *checker) upload(at string, u *Upload) {
	for name, v := range map[string]any{"custom_metadata": u.CustomMetadata, "extensions": u.Extensions, "transformation": u.Transformation} {
		if _, err := json.Marshal(v); err != nil {
			c.at(at+"."+name, "has no JSON form: %v", err)
		}
	}
	var p imagekit.Params
	u.overlay(&p)
	var list interface{ Unwrap() []error }
	err := p.Validate()
	if !errors.As(err, &list) {
		return
	}
	for _, e := range list.Unwrap() {
		var bad *imagekit.ParamError
		if errors.As(e, &bad) {
			c.at(at+"."+bad.Field, "%s", bad.Problem)
		}
	}
}

// overlaps refuses roots of which one holds the other: each file has one remote path.
func (c *checker) overlaps(cfg *Config) {
	for i := range cfg.Roots {
		for j := range cfg.Roots {
			a, b := cfg.Roots[i].Path, cfg.Roots[j].Path
			if a == "" || b == "" || i == j || (a == b && i < j) {
				continue
			}
			if Inside(a, b) {
				c.at(fmt.Sprintf("$.roots[%d].path", i), "it overlaps with roots[%d] (%s): a file would belong to both", j, b)
			}
		}
	}
}

// Inside reports whether path is dir or below it. Both are absolute and clean.
func Inside(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// RootPath returns the absolute path of a directory to sync with its symlinks
// resolved, or why it can't be one.
func RootPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	resolved, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return "", fmt.Errorf("the directory can't be reached: %w", err)
	}
	d, err := os.Open(resolved)
	if err != nil {
		return "", fmt.Errorf("the directory can't be read: %w", err)
	}
	defer d.Close()
	info, err := d.Stat()
	if err != nil {
		return "", fmt.Errorf("the directory can't be read: %w", err)
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%s is not a directory", resolved)
	}
	return resolved, nil
}

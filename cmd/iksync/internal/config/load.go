package config

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"iksync/uploader"
	"iksync/uploader/imagekit"
	"iksync/uploader/imagekit/names"
	"iksync/watcher"
	"iksync/watcher/filter"
)

// Error is a configuration that can't be used. Its text holds every problem
// that was found, each with the position and the line itself where it has one.
type Error struct {
	Path string
	err  error
	src  string // the file
}

// Error gives all problems. The lines that it shows may hold a private key that
// somebody wrote where it does not belong.
func (e *Error) Error() string { return Hide(e.err.Error(), e.src) }

// Unwrap returns the problems.
func (e *Error) Unwrap() error { return e.err }

// DefaultWorkers is how many files are uploaded at once unless configured.
const DefaultWorkers = 16

// maxWorkers bounds the workers: each has a connection and a buffer.
const maxWorkers = 256

const (
	defaultPlan   = "pro"
	defaultReads  = 20 // per second
	defaultWrites = 5
	// maxRate bounds the calls per second: more is a slip and no limit.
	maxRate = 1000
)

// Load reads and checks the configuration at path. What is wrong is an [*Error].
func Load(path string) (*Config, error) { return read(path, false) }

// LoadForDaemon is Load for a program that waits for roots that are not there:
// a missing one is a warning.
func LoadForDaemon(path string) (*Config, error) { return read(path, true) }

func read(path string, waits bool) (*Config, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, &Error{Path: path, err: fmt.Errorf("read the configuration: %w", err)}
	}
	cfg, err := parse(path, src, waits)
	if err != nil {
		return nil, &Error{Path: path, err: err, src: string(src)}
	}
	return cfg, nil
}

func parse(path string, src []byte, waits bool) (cfg *Config, err error) {
	// goccy/go-yaml panics on some input that is no good, such as a tag on the wrong kind of value.
	defer func() {
		if p := recover(); p != nil {
			cfg, err = nil, fmt.Errorf("%s: it can't be read as YAML: %v", path, p)
		}
	}()
	src = bytes.TrimPrefix(src, []byte("\ufeff")) // Windows' editors write one
	if line, column, ok := notUTF8(src); ok {
		return nil, fmt.Errorf("%s: [%d:%d] it is not UTF-8 text from here on", path, line, column)
	}
	var doc document
	file, err := parser.ParseBytes(src, 0)
	if err == nil && !blank(file) {
		// The parser has refused keys that are written twice; the decoder would also
		// refuse one that overrides a merged one.
		err = yaml.NewDecoder(bytes.NewReader(src), yaml.DisallowUnknownField(), yaml.AllowDuplicateMapKey()).Decode(&doc)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %s", path, inWords(strings.TrimSpace(yaml.FormatError(err, false, true))))
	}
	if extra := secondDocument(file); extra != nil {
		at := extra.Body.GetToken().Position
		return nil, fmt.Errorf("%s: [%d:%d] a second document begins before this line: a configuration is one", path, at.Line, at.Column)
	}
	c := &checker{path: path, src: src, file: file, waits: waits}
	cfg = c.check(&doc)
	if len(c.errs) > 0 {
		return nil, errors.Join(c.errs...)
	}
	return cfg, nil
}

// notUTF8 finds the first byte that is not UTF-8. Names of other bytes would
// otherwise be read as other names.
func notUTF8(src []byte) (line, column int, found bool) {
	if utf8.Valid(src) {
		return 0, 0, false
	}
	line, column = 1, 1
	for len(src) > 0 {
		r, n := utf8.DecodeRune(src)
		if r == utf8.RuneError && n == 1 {
			break
		}
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
		src = src[n:]
	}
	return line, column, true
}

// blank reports whether there is nothing but comments: all defaults then, and
// the missing roots are said by the check.
func blank(file *ast.File) bool { return !slices.ContainsFunc(file.Docs, holdsSomething) }

func holdsSomething(d *ast.DocumentNode) bool {
	return d.Body != nil && d.Body.Type() != ast.NullType && d.Body.Type() != ast.CommentGroupType
}

// secondDocument returns what stands behind the first document, which alone is
// read; nil when there is nothing.
func secondDocument(file *ast.File) *ast.DocumentNode {
	first := slices.IndexFunc(file.Docs, holdsSomething)
	if first < 0 {
		return nil
	}
	for _, d := range file.Docs[first+1:] {
		if holdsSomething(d) {
			return d
		}
	}
	return nil
}

// inWords says a wrong type without the names of Go's.
func inWords(problem string) string {
	first, rest, _ := strings.Cut(problem, "\n")
	m := wrongType.FindStringSubmatch(first)
	if m == nil {
		return problem
	}
	wanted := map[string]string{"bool": "true or false", "int": "a whole number", "float64": "a number", "string": "text"}[m[2]]
	if wanted == "" {
		return problem
	}
	given := m[1]
	switch {
	case strings.HasPrefix(given, "map["):
		given = "mapping"
	case strings.HasPrefix(given, "[]"):
		given = "sequence"
	}
	return strings.Replace(first, m[0], given+" was used where "+wanted+" is expected", 1) + "\n" + rest
}

var wrongType = regexp.MustCompile(`cannot unmarshal (.+) into Go .* of type \*?(\w+)$`)

// checker collects what is wrong, each with its position.
type checker struct {
	waits bool // a missing root is no error
	path  string
	src   []byte
	file  *ast.File
	errs  []error
}

// at notes a problem at a YAML path such as "$.roots[0].path". A path that is
// not in the file (a missing key) is said without a position.
func (c *checker) at(yamlPath, format string, args ...any) {
	problem := fmt.Sprintf(format, args...)
	if c.file == nil {
		c.errs = append(c.errs, unfiled(yamlPath, problem))
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

		ReadsPerSecond:  c.rate("$.imagekit.reads_per_second", doc.ImageKit.ReadsPerSecond, defaultReads),
		WritesPerSecond: c.rate("$.imagekit.writes_per_second", doc.ImageKit.WritesPerSecond, defaultWrites),
	}
	if err := imagekit.CheckURL(cfg.UploadURL); err != nil {
		c.at("$.imagekit.upload_url", "%v", err)
	}
	if err := imagekit.CheckURL(cfg.APIURL); err != nil {
		c.at("$.imagekit.api_url", "%v", err)
	}
	if doc.Workers != nil {
		cfg.Workers = *doc.Workers
	}
	cfg.MaxWatches = doc.MaxWatches
	if cfg.MaxWatches < 0 {
		c.at("$.max_watches", "%d is less than 0", cfg.MaxWatches)
	}
	for _, t := range []struct {
		key, value string
		dst        *time.Duration
		def, least time.Duration
	}{
		{"settle", doc.Settle, &cfg.Settle, 2 * time.Second, 10 * time.Millisecond},
		{"rescan", doc.Rescan, &cfg.Rescan, time.Hour, time.Second},
		{"poll", doc.Poll, &cfg.Poll, time.Minute, time.Second},
		{"stall", doc.Stall, &cfg.Stall, time.Minute, time.Second},
		{"shutdown_grace", doc.ShutdownGrace, &cfg.ShutdownGrace, 30 * time.Second, 0},
		{"probe", doc.Probe, &cfg.Probe, 3 * time.Minute, 100 * time.Millisecond},
	} {
		*t.dst = c.duration("$."+t.key, t.value, t.def, t.least)
	}
	if doc.Rehash != "off" {
		cfg.Rehash = c.duration("$.rehash", doc.Rehash, 0, leastRehash)
	}
	cfg.Page, cfg.Heartbeat, cfg.Hooks = c.page(doc), c.heartbeat(doc), c.hooks(doc)
	cfg.Bandwidth = c.bandwidth("$.bandwidth", doc.Bandwidth)
	c.overridable(cfg)
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

// leastRehash is the shortest period in which all files are read again.
const leastRehash = time.Hour

// overridable checks what flags may say in a configuration's place.
func (c *checker) overridable(cfg *Config) {
	if cfg.Workers < 1 || cfg.Workers > maxWorkers {
		c.at("$.workers", "%d is not between 1 and %d", cfg.Workers, maxWorkers)
	}
	c.oneOf("$.log.level", cfg.LogLevel, "debug", "info", "warn", "error")
}

func (c *checker) oneOf(path, value string, known ...string) {
	if !slices.Contains(known, value) {
		c.at(path, "%q is unknown; known: %s", value, strings.Join(known, ", "))
	}
}

func (c *checker) limits(doc *document, cfg *Config) {
	plan := cmp.Or(doc.Limits.Plan, defaultPlan)
	limits, ok := PlanLimits(plan)
	if !ok {
		c.at("$.limits.plan", "%q is unknown; known: free, lite, pro (for an enterprise plan set image, video and other)", plan)
	}
	for _, l := range []struct {
		name, value string
		dst         *int64
	}{
		{"image", doc.Limits.Image, &limits.Image}, {"video", doc.Limits.Video, &limits.Video}, {"other", doc.Limits.Other, &limits.Other},
	} {
		if l.value != "" {
			*l.dst = c.size("$.limits."+l.name, l.value)
		}
	}
	cfg.Limits = limits
}

func (c *checker) rate(path string, value *float64, def float64) float64 {
	if value == nil {
		return def
	}
	if !(*value > 0 && *value <= maxRate) { // NaN is neither
		c.at(path, "%v is not above 0 and at most %d", *value, maxRate)
	}
	return *value
}

func (c *checker) duration(path, value string, def, least time.Duration) time.Duration {
	if value == "" {
		return def
	}
	d, err := duration(value)
	switch {
	case err != nil:
		c.at(path, "%q is not a duration such as 500ms, 30s, 10m, 12h or 7d", value)
	case d < least:
		c.at(path, "%s is less than %s", value, least)
	}
	return d
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
	r := Root{written: *doc}
	if doc.Path == "" {
		c.at(at, "the root has no path")
	} else if path, err := RootPath(doc.Path); err == nil {
		r.Path = path
	} else if r.Path, err = filepath.Abs(doc.Path); err != nil || !c.waits {
		_, err = RootPath(doc.Path)
		c.at(at+".path", "%v", err)
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
	r.Removal = c.removal(at, r.Folder, doc)
	r.Duplicates = choice(c, at+".duplicates", doc.Duplicates, uploader.UploadDuplicates, uploader.CopyDuplicates, uploader.SkipDuplicates)
	r.Names = choice(c, at+".names", doc.Names, names.Safe, names.Keep)
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
	for _, s := range []struct {
		name  string
		value any
	}{{"custom_metadata", u.CustomMetadata}, {"extensions", u.Extensions}, {"transformation", u.Transformation}} {
		if _, err := json.Marshal(s.value); err != nil {
			c.at(at+"."+s.name, "has no JSON form: %v", err)
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
	info, err := os.Stat(resolved) // before it is opened: opening a FIFO would wait
	if err != nil {
		return "", fmt.Errorf("the directory can't be read: %w", err)
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%s is not a directory", resolved)
	}
	d, err := os.Open(resolved)
	if err != nil {
		return "", fmt.Errorf("the directory can't be read: %w", err)
	}
	return resolved, d.Close()
}

package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"iksync/uploader"
	"iksync/uploader/imagekit"
	"iksync/uploader/imagekit/names"
	"iksync/watcher"
	"iksync/watcher/filter"
)

// Config is a checked configuration.
type Config struct {
	UploadURL string
	APIURL    string
	KeyFile   string // "" when none is named
	State     string // "" when none is named
	Workers   int
	LogLevel  string
	LogFormat string // "auto", "console" or "json"
	Limits    watcher.Limits

	// Management API calls per second, as the account's limits allow; uploads have none.
	ReadsPerSecond  float64
	WritesPerSecond float64 // moves, renames, deletes

	Settle        time.Duration // quiet time of a file before it is queued
	Rescan        time.Duration // between full scans
	Poll          time.Duration // between scans where events can't be had
	MaxWatches    int           // directories watched per root; 0 is what the system allows
	Stall         time.Duration // an upload that moves no byte for so long is cut
	ShutdownGrace time.Duration // for uploads in flight
	Rehash        time.Duration // within which every file is read again; 0 is never
	Probe         time.Duration // between tries while the account or the key is refused

	Bandwidth uploader.Rates // of all uploads together

	Page      Page
	Heartbeat Heartbeat
	Hooks     []Hook

	Roots []Root
	// OtherRoots are configured, and a command was not asked to use them.
	OtherRoots []Root
	// AdHoc tells that the one root was described on the command line: others may be in use
	// that are not named here.
	AdHoc bool
	// Warnings are what is doubtful and not wrong.
	Warnings []string
}

// Root is one configured root.
type Root struct {
	Path       string // absolute, symlinks resolved
	Folder     string // "/photos"
	Filter     *filter.Set
	Symlinks   watcher.Symlinks
	Removal    uploader.Removal
	Duplicates uploader.Duplicates
	Names      names.Mode
	base       imagekit.Params
	upload     Upload
	rules      []rule
	written    documentRoot // what the configuration says of it
}

// Params returns the upload parameters for a path below the root: those of the
// root over iksync's defaults, overlaid by each rule that matches, later ones
// winning.
func (r *Root) Params(path string) imagekit.Params {
	p := r.base
	r.upload.overlay(&p)
	for i := range r.rules {
		if r.rules[i].pattern.Match(path) {
			r.rules[i].upload.overlay(&p)
		}
	}
	return p
}

type rule struct {
	pattern *filter.Pattern
	upload  Upload
}

// Defaults are the parameters that iksync sends unless told otherwise. A unique
// name would make a second asset of every repeated upload; the overwrite flags
// keep what people edit in the dashboard (ImageKit's own defaults drop it).
func Defaults() imagekit.Params {
	no := false
	return imagekit.Params{UseUniqueFileName: &no, OverwriteTags: &no, OverwriteAITags: &no, OverwriteCustomMetadata: &no}
}

// Upload are upload parameters as they are configured. What is not given keeps
// the value that it would have without.
type Upload struct {
	Tags                    []string       `yaml:"tags"`
	Private                 *bool          `yaml:"private"`
	Published               *bool          `yaml:"published"`
	CustomCoordinates       *string        `yaml:"custom_coordinates"`
	ResponseFields          []string       `yaml:"response_fields"`
	CustomMetadata          map[string]any `yaml:"custom_metadata"`
	Extensions              []any          `yaml:"extensions"`
	WebhookURL              *string        `yaml:"webhook_url"`
	Checks                  *string        `yaml:"checks"`
	Transformation          map[string]any `yaml:"transformation"`
	Description             *string        `yaml:"description"`
	OverwriteFile           *bool          `yaml:"overwrite_file"`
	OverwriteTags           *bool          `yaml:"overwrite_tags"`
	OverwriteAITags         *bool          `yaml:"overwrite_ai_tags"`
	OverwriteCustomMetadata *bool          `yaml:"overwrite_custom_metadata"`
}

func (u *Upload) overlay(p *imagekit.Params) {
	set(&p.IsPrivateFile, u.Private)
	set(&p.IsPublished, u.Published)
	set(&p.OverwriteFile, u.OverwriteFile)
	set(&p.OverwriteTags, u.OverwriteTags)
	set(&p.OverwriteAITags, u.OverwriteAITags)
	set(&p.OverwriteCustomMetadata, u.OverwriteCustomMetadata)
	for dst, src := range map[*string]*string{
		&p.CustomCoordinates: u.CustomCoordinates, &p.WebhookURL: u.WebhookURL, &p.Checks: u.Checks, &p.Description: u.Description,
	} {
		if src != nil {
			*dst = *src
		}
	}
	if u.Tags != nil {
		p.Tags = u.Tags
	}
	if u.ResponseFields != nil {
		p.ResponseFields = u.ResponseFields
	}
	if u.CustomMetadata != nil {
		p.CustomMetadata = text(u.CustomMetadata)
	}
	if u.Extensions != nil {
		p.Extensions = text(u.Extensions)
	}
	if u.Transformation != nil {
		p.Transformation = text(u.Transformation)
	}
}

func set(dst **bool, src *bool) {
	if src != nil {
		*dst = src
	}
}

// text gives the JSON of what was read from YAML; check has seen that it has one.
func text(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return b
}

// PlanLimits are the largest files that an ImageKit plan takes. ImageKit does
// not say whether its MB are 10^6 or 2^20 bytes: these are the larger, so that
// nothing is skipped that might be taken. Source: ImageKit's upload API, file
// size limits (2026).
func PlanLimits(plan string) (watcher.Limits, bool) {
	const mb = 1 << 20
	switch plan {
	case "free":
		return watcher.Limits{Image: 25 * mb, Video: 100 * mb, Other: 25 * mb}, true
	case "lite":
		return watcher.Limits{Image: 40 * mb, Video: 300 * mb, Other: 40 * mb}, true
	case "pro":
		return watcher.Limits{Image: 50 * mb, Video: 2048 * mb, Other: 50 * mb}, true
	}
	return watcher.Limits{}, false
}

// document is the configuration as it is written.
type document struct {
	ImageKit struct {
		PrivateKeyFile  string   `yaml:"private_key_file"`
		UploadURL       string   `yaml:"upload_url"`
		APIURL          string   `yaml:"api_url"`
		ReadsPerSecond  *float64 `yaml:"reads_per_second"`
		WritesPerSecond *float64 `yaml:"writes_per_second"`
	} `yaml:"imagekit"`
	State          string         `yaml:"state"`
	Workers        *int           `yaml:"workers"`
	Settle         string         `yaml:"settle"`
	Rescan         string         `yaml:"rescan"`
	Poll           string         `yaml:"poll"`
	MaxWatches     int            `yaml:"max_watches"`
	Stall          string         `yaml:"stall"`
	ShutdownGrace  string         `yaml:"shutdown_grace"`
	Rehash         string         `yaml:"rehash"`
	Probe          string         `yaml:"probe"`
	Bandwidth      string         `yaml:"bandwidth"`
	HTTP           string         `yaml:"http"`
	HTTPTokenFile  string         `yaml:"http_token_file"`
	HeartbeatURL   string         `yaml:"heartbeat_url"`
	HeartbeatEvery string         `yaml:"heartbeat_every"`
	OnEvent        []documentHook `yaml:"on_event"`
	Log            struct {
		Level  string `yaml:"level"`
		Format string `yaml:"format"`
	} `yaml:"log"`
	Limits struct {
		Plan  string `yaml:"plan"`
		Image string `yaml:"image"`
		Video string `yaml:"video"`
		Other string `yaml:"other"`
	} `yaml:"limits"`
	Roots []documentRoot `yaml:"roots"`
}

type documentRoot struct {
	Path         string         `yaml:"path"`
	Folder       string         `yaml:"folder"`
	Include      []string       `yaml:"include"`
	Exclude      []string       `yaml:"exclude"`
	Junk         *bool          `yaml:"junk"`
	Types        []string       `yaml:"types"`
	MinSize      string         `yaml:"min_size"`
	MaxSize      string         `yaml:"max_size"`
	MinAge       string         `yaml:"min_age"`
	Symlinks     string         `yaml:"symlinks"`
	Delete       string         `yaml:"delete"`
	Filtered     string         `yaml:"filtered"`
	DeleteAfter  string         `yaml:"delete_after"`
	MaxDelete    string         `yaml:"max_delete"`
	EmptyFolders string         `yaml:"empty_folders"`
	TrashFolder  string         `yaml:"trash_folder"`
	Duplicates   string         `yaml:"duplicates"`
	Names        string         `yaml:"names"`
	Upload       Upload         `yaml:"upload"`
	Rules        []documentRule `yaml:"rules"`
}

type documentRule struct {
	Match  string `yaml:"match"`
	Upload Upload `yaml:"upload"`
}

// Diff lists what other has differently, in the words of the configuration.
func (c *Config) Diff(other *Config) []string {
	var changes []string
	note := func(key string, before, after any) {
		if before != after {
			changes = append(changes, fmt.Sprintf("%s: %v -> %v", key, before, after))
		}
	}
	note("imagekit.upload_url", c.UploadURL, other.UploadURL)
	note("imagekit.api_url", c.APIURL, other.APIURL)
	note("imagekit.private_key_file", c.KeyFile, other.KeyFile)
	note("imagekit.reads_per_second", c.ReadsPerSecond, other.ReadsPerSecond)
	note("imagekit.writes_per_second", c.WritesPerSecond, other.WritesPerSecond)
	note("workers", c.Workers, other.Workers)
	note("log.level", c.LogLevel, other.LogLevel)
	note("log.format", c.LogFormat, other.LogFormat)
	note("limits", c.Limits, other.Limits)
	note("settle", c.Settle, other.Settle)
	note("rescan", c.Rescan, other.Rescan)
	note("poll", c.Poll, other.Poll)
	note("max_watches", c.MaxWatches, other.MaxWatches)
	note("stall", c.Stall, other.Stall)
	note("shutdown_grace", c.ShutdownGrace, other.ShutdownGrace)
	note("rehash", c.Rehash, other.Rehash)
	note("probe", c.Probe, other.Probe)
	note("http", c.Page, other.Page)
	if c.Heartbeat != other.Heartbeat { // its URL is not to be shown
		changes = append(changes, "heartbeat_url or heartbeat_every")
	}
	if !reflect.DeepEqual(c.Hooks, other.Hooks) {
		changes = append(changes, "on_event")
	}
	if !reflect.DeepEqual(c.Bandwidth, other.Bandwidth) {
		changes = append(changes, "bandwidth")
	}
	before := make(map[string]*Root)
	for i := range c.Roots {
		before[c.Roots[i].Path] = &c.Roots[i]
	}
	for i := range other.Roots {
		r := &other.Roots[i]
		old := before[r.Path]
		delete(before, r.Path)
		switch {
		case old == nil:
			changes = append(changes, "root added: "+r.Path)
		default:
			if keys, changed := old.diff(r); changed {
				changes = append(changes, "root changed: "+r.Path+keys)
			}
		}
	}
	for _, path := range slices.Sorted(maps.Keys(before)) {
		changes = append(changes, "root removed: "+path)
	}
	return changes
}

// diff reports whether other is to be synced differently, and lists the keys that are written
// differently.
func (r *Root) diff(other *Root) (keys string, changed bool) {
	before, after := *r, *other
	before.written, after.written = documentRoot{}, documentRoot{} // what is written differently may mean the same
	if reflect.DeepEqual(&before, &after) {
		return "", false
	}
	var differ []string
	was, is := reflect.ValueOf(r.written), reflect.ValueOf(other.written)
	for i := range was.NumField() {
		if !reflect.DeepEqual(was.Field(i).Interface(), is.Field(i).Interface()) {
			differ = append(differ, was.Type().Field(i).Tag.Get("yaml"))
		}
	}
	if len(differ) == 0 {
		return "", true
	}
	return " (" + strings.Join(differ, ", ") + ")", true
}

// duration is time.ParseDuration that also takes days.
func duration(s string) (time.Duration, error) {
	if n := len(s); n > 1 && s[n-1] == 'd' {
		h, err := time.ParseDuration(s[:n-1] + "h")
		return 24 * h, err
	}
	return time.ParseDuration(s)
}

// RemotePath maps a local path below the root to where its asset goes, as long as nothing
// else is there and the library keeps names as they are configured.
func (r *Root) RemotePath(local string) (string, error) { return names.Path(r.Folder, local, r.Names) }

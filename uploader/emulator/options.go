package emulator

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Options configure a Server. The zero value is a server that keeps contents
// in memory, accepts any private key and behaves as ImageKit documents.
type Options struct {
	// Dir holds the assets and their journal and is created when missing.
	// Empty keeps everything in memory.
	Dir string

	// Discard counts and hashes contents without keeping them, for benchmarks.
	// Dir is then ignored, and Open and the asset URLs have nothing to give.
	Discard bool

	// Endpoint is the prefix of asset URLs, such as
	// "http://127.0.0.1:8790/demo"; its path is where assets are served. Empty
	// derives "http://<Host>/demo" from each request.
	Endpoint string

	// PrivateKey, when set, is the only key accepted; any other is answered
	// with 403. Empty accepts every key that is not empty.
	PrivateKey string

	// Behaviour decides what ImageKit's documentation leaves open.
	Behaviour Behaviour

	// Now is the clock of dates, throttles and lags. Nil is time.Now.
	Now func() time.Time

	// Download fetches the sources of uploads by URL. Nil is a transport of
	// the server's own, with the proxies of the environment. It can reach
	// whatever the server's machine can.
	Download http.RoundTripper
}

// Behaviour switches what only a live ImageKit account could tell. The zero
// value is what evidence from the service suggests, else what ImageKit's
// documentation says.
type Behaviour struct {
	// NewFileIDOnOverwrite gives a file a new fileId with each new version.
	// Otherwise the fileId stays and only versionInfo.id changes.
	NewFileIDOnOverwrite bool

	// NewFileIDOnMove gives a file a new fileId when it is moved or renamed.
	NewFileIDOnMove bool

	// StrictNames maps every character of names to "_" but letters, marks,
	// numbers, ".", "_" and "-", as the documentation says. Otherwise names keep
	// all but "/" and control characters, as a recorded run against the service
	// suggests.
	StrictNames bool

	// IgnorePre stores a file with transformation.pre as it was sent. Otherwise
	// the stored content and its size differ from those of the upload.
	IgnorePre bool

	// TagsCountCommas counts the commas between tags as part of the 500
	// characters that all tags of a file can have together.
	TagsCountCommas bool

	// RejectEmpty answers an upload of zero bytes with 400. Otherwise it is
	// stored like any other.
	RejectEmpty bool

	// UpdateThrottle, when above zero, allows that many new versions of one
	// file in each UpdateWindow (zero: one minute), then answers 400.
	UpdateThrottle int
	UpdateWindow   time.Duration

	// VersionLimit is how many versions a file can have; zero is 100.
	VersionLimit int

	// VersionLimitDrops drops the oldest version of a full file instead of
	// refusing the upload with 400.
	VersionLimitDrops bool

	// SkipIdenticalVersion answers an overwrite by the same content with 200
	// and makes no version of it.
	SkipIdenticalVersion bool

	// EarlyReject answers oversized uploads before their body has been read,
	// and closes the connection. Otherwise the body is read to its end first.
	EarlyReject bool

	// RateLimitHeadersAlways sends X-RateLimit-* with every answer of the
	// management API instead of with 429 only.
	RateLimitHeadersAlways bool

	// MaxImageSize limits images, audio and raw files, MaxVideoSize videos, in
	// bytes. Zero is unlimited.
	MaxImageSize int64
	MaxVideoSize int64

	// ListingLag is how long a new file or folder stays out of listings; zero is
	// DefaultListingLag, and NoLag is none.
	ListingLag time.Duration

	// MissingDestination answers 404 to a move or copy into a folder that is not
	// there. Otherwise the folder is made.
	MissingDestination bool

	// JobDuration is how long a bulk job is Pending, and its folders locked.
	// Its effect is there at once.
	JobDuration time.Duration

	// FolderLimit is how many nested files, folders and versions a folder may
	// hold to be deleted, moved or copied; zero is 100,000.
	FolderLimit int

	// PurgeLimit is how many purges are accepted in all; zero is 1,000. Above
	// it a rename with purgeCache answers 207 PURGE_FAILED.
	PurgeLimit int
}

// DefaultListingLag is in the range that users of ImageKit report for a new
// folder: 1 to 4 seconds.
const DefaultListingLag = 2 * time.Second

// NoLag as Behaviour.ListingLag shows new files and folders in listings at once.
const NoLag time.Duration = -1

// defaultMount is the path of assets when Options.Endpoint does not say.
const defaultMount = "/demo"

// mount gives the path below which assets are served, without a slash at its
// end.
func (o Options) mount() (string, error) {
	if o.Endpoint == "" {
		return defaultMount, nil
	}
	u, err := url.Parse(o.Endpoint)
	if err != nil {
		return "", fmt.Errorf("emulator: endpoint: %w", err)
	}
	path := strings.TrimRight(u.Path, "/")
	switch {
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return "", fmt.Errorf("emulator: endpoint %q: want a URL such as http://127.0.0.1:8790/demo", o.Endpoint)
	case path == "":
		return "", fmt.Errorf("emulator: endpoint %q: want a path after the host, such as /demo", o.Endpoint)
	}
	for _, taken := range []string{"/v1", "/v2", "/api", "/_emulator", "/healthz"} {
		if path == taken || strings.HasPrefix(path, taken+"/") {
			return "", fmt.Errorf("emulator: endpoint %q: the path %s is the API's", o.Endpoint, taken)
		}
	}
	if strings.ContainsAny(path, "{} ") {
		return "", errors.New("emulator: endpoint: want a path without spaces and braces")
	}
	return path, nil
}

// withDefaults fills in what the zero value of a limit stands for.
func (b Behaviour) withDefaults() Behaviour {
	b.VersionLimit = orDefault(b.VersionLimit, 100)
	b.FolderLimit = orDefault(b.FolderLimit, 100_000)
	b.PurgeLimit = orDefault(b.PurgeLimit, 1000)
	b.UpdateWindow = orDefault(b.UpdateWindow, time.Minute)
	switch {
	case b.ListingLag == 0:
		b.ListingLag = DefaultListingLag
	case b.ListingLag < 0:
		b.ListingLag = 0
	}
	return b
}

func orDefault[T int | time.Duration](v, fallback T) T {
	if v <= 0 {
		return fallback
	}
	return v
}

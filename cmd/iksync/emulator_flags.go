package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"iksync/uploader/emulator"
)

// emulatorHelp documents the plan of faults. Its example is one that --faults takes.
const emulatorHelp = `emulator serves ImageKit's upload and management APIs over a directory, the
stored files at their URLs, and a gallery page. It accepts any private key. It is
for trials and tests: transformations are not computed.

Without flags it behaves as the service is believed to: new files are missing from
listings for 2 s, names keep their characters, and transformation.pre changes the
stored size. The flags switch what only a live account could tell.

A plan of faults (--faults) is a JSON object:

  {
    "seed": 1,
    "rules": [
      {"endpoint": "upload", "skip": 2, "count": 3, "action": "status", "status": 429,
       "headers": {"X-RateLimit-Reset": "250"}},
      {"endpoint": "upload", "path": "/holiday/", "probability": 0.1, "action": "lose"},
      {"endpoint": "list", "latency": "1.5s"}
    ]
  }

The rules are tried in order. Each rule that fits a request adds its latency; the
first one with an action decides the answer. All keys but action's own are optional:

  endpoint     upload, uploadV2, list, details, update, delete, batchDelete, move,
               rename, copy, createFolder, deleteFolder, moveFolder, copyFolder,
               renameFolder, job, versions, metadata, purge, file (the asset URLs)
               and others: GET /_emulator/stats counts requests by endpoint.
               Default: every endpoint but file
  path         part of the file's folder and name, or of the request
  skip, count  the first requests that pass, and how many then meet the fault
  probability  share of the requests that meet it, repeatable by seed
  latency      wait before the request, such as "150ms"
  action       done = the request takes effect, and its answer is damaged
    status     answer with status, and with message, help, reason, headers;
               "html": true sends a page instead of JSON
    html       a page with status 200
    redirect   to url, with status 307 or another
    cut        close the connection after bytes of the request's body
    lose       done; close the connection without an answer
    truncated  done; half of the JSON
    trailing   done; text after the JSON
    length     done; a Content-Length above what is sent
    wrongPath  done; another name, filePath and url
    wrongSize  done; another size
    endless    done; JSON of bytes bytes
    slow       done; pieces of bytes bytes, one every "every"

POST /_emulator/faults with Content-Type application/json replaces the plan of a
running emulator.`

// behaviourFlags defines a flag for each switch of b. The flags change b as they are read.
func behaviourFlags(fs *pflag.FlagSet, b *emulator.Behaviour) {
	fs.Var(&namesFlag{&b.StrictNames}, "names", "`rule` of names: lax keeps characters, strict maps all but letters, numbers, . _ - to _ (lax|strict)")
	fs.Var(&lagFlag{&b.ListingLag}, "listing-lag", "`time` until listings show a new file or folder; 0 is none")
	fs.BoolVar(&b.IgnorePre, "ignore-pre", false, "store files with transformation.pre as they were sent")
	fs.BoolVar(&b.TagsCountCommas, "tags-count-commas", false, "count commas within the 500 characters of tags")
	fs.BoolVar(&b.NewFileIDOnOverwrite, "new-file-id-on-overwrite", false, "give a file a new fileId with each version")
	fs.BoolVar(&b.NewFileIDOnMove, "new-file-id-on-move", false, "give a moved or renamed file a new fileId")
	fs.BoolVar(&b.RejectEmpty, "reject-empty", false, "refuse files of zero bytes")
	fs.BoolVar(&b.SkipIdenticalVersion, "skip-identical-version", false, "make no new version of the same content")
	fs.BoolVar(&b.EarlyReject, "early-reject", false, "refuse files above a size limit before their end is read")
	fs.BoolVar(&b.RateLimitHeadersAlways, "rate-limit-headers-always", false, "send X-RateLimit headers with every answer")
	fs.IntVar(&b.VersionLimit, "version-limit", 100, "`number` of versions that a file can have")
	fs.BoolVar(&b.VersionLimitDrops, "version-limit-drops", false, "drop the oldest version of a full file instead of refusing the upload")
	fs.IntVar(&b.UpdateThrottle, "update-throttle", 0, "`number` of new versions of one file in each --update-window; 0 is no limit")
	fs.DurationVar(&b.UpdateWindow, "update-window", time.Minute, "`time` that --update-throttle is about")
	fs.Int64Var(&b.MaxImageSize, "max-image-size", 0, "largest image, audio or raw file in `bytes`; 0 is no limit")
	fs.Int64Var(&b.MaxVideoSize, "max-video-size", 0, "largest video in `bytes`; 0 is no limit")
	fs.BoolVar(&b.MissingDestination, "missing-destination", false, "answer 404 to a move or copy into a folder that is missing, instead of creating it")
	fs.DurationVar(&b.JobDuration, "job-duration", 0, "`time` that a folder job is pending")
	fs.IntVar(&b.FolderLimit, "folder-limit", 100_000, "`number` of files, folders and versions in a folder that can be moved, copied or deleted")
	fs.IntVar(&b.PurgeLimit, "purge-limit", 1000, "`number` of purges that are accepted")
}

// badBehaviour says which switch of b has a value that makes no sense; nil is none.
func badBehaviour(b emulator.Behaviour) error {
	for name, low := range map[string]bool{
		"version-limit": b.VersionLimit < 1, "folder-limit": b.FolderLimit < 1, "purge-limit": b.PurgeLimit < 1,
		"update-throttle": b.UpdateThrottle < 0, "update-window": b.UpdateWindow <= 0, "job-duration": b.JobDuration < 0,
		"max-image-size": b.MaxImageSize < 0, "max-video-size": b.MaxVideoSize < 0,
	} {
		if low {
			return usage("--%s: the value is too low", name)
		}
	}
	return nil
}

// namesFlag is the flag --names, whose words stand for Behaviour.StrictNames.
type namesFlag struct{ strict *bool }

func (f *namesFlag) Set(text string) error {
	switch strings.ToLower(text) {
	case "lax":
		*f.strict = false
	case "strict":
		*f.strict = true
	default:
		return fmt.Errorf("want lax or strict, not %q", text)
	}
	return nil
}

func (f *namesFlag) String() string {
	if f.strict != nil && *f.strict {
		return "strict"
	}
	return "lax"
}

func (f *namesFlag) Type() string { return "rule" }

// lagFlag is the flag --listing-lag, whose zero is none, while that of
// Behaviour.ListingLag is the default.
type lagFlag struct{ lag *time.Duration }

func (f *lagFlag) Set(text string) error {
	lag, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return err
	case lag < 0:
		return fmt.Errorf("want a time of zero or more, not %s", text)
	case lag == 0:
		lag = emulator.NoLag
	}
	*f.lag = lag
	return nil
}

func (f *lagFlag) String() string {
	switch {
	case f.lag == nil || *f.lag == 0:
		return emulator.DefaultListingLag.String()
	case *f.lag < 0:
		return "0s"
	}
	return f.lag.String()
}

func (f *lagFlag) Type() string { return "time" }

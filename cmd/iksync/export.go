package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"iksync/cmd/iksync/internal/config"
	"iksync/state"
)

type exportFlags struct {
	format     string
	configFile string
	stateFile  string
	root       string
	emulated   bool
}

func (a *app) exportCommand() *cobra.Command {
	var f exportFlags
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print the record of every uploaded file as CSV or JSON lines",
		Long: `export prints what is recorded of every uploaded file, by root and path. It only
reads, also while another iksync is at work.

A path that is not UTF-8 is given as its bytes in CSV; in JSON lines as
local_path_base64 beside a readable form. Times are RFC 3339 in UTC; hash is
xxh3-128. JSON lines hold ImageKit's whole answer as response. gone says why a file is
not at its place any more; proven is false where the asset may have another content
(iksync verify --hash compares it). Files that were not sent because another has their
content (duplicates: skip) come last, with that one's fileId.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.export(cmd.Context(), f) },
	}
	cmd.Flags().StringVar(&f.format, "format", "csv", "csv or jsonl")
	cmd.Flags().StringVar(&f.configFile, "config", "", "configuration `file` that names the state file")
	cmd.Flags().StringVar(&f.stateFile, "state", "", "state `file` (default: the configuration's, else $XDG_STATE_HOME/iksync/iksync.db)")
	cmd.Flags().StringVar(&f.root, "root", "", "only this root: its `path` or folder")
	cmd.Flags().BoolVar(&f.emulated, "emulator", false, "the records of trials with the embedded emulator")
	return cmd
}

func (a *app) export(ctx context.Context, f exportFlags) (err error) {
	if f.format != "csv" && f.format != "jsonl" {
		return usage("unknown format %q: csv or jsonl", f.format)
	}
	path, err := a.exportState(f)
	if err != nil {
		return err
	}
	db, err := readState(ctx, path)
	if err != nil {
		return err
	}
	defer db.Close()
	roots, err := db.Roots(ctx)
	if err != nil {
		return exit(exitFailed, err)
	}
	byID := make(map[int64]state.Root)
	var only int64
	for _, r := range roots {
		byID[r.ID] = r
		if f.root != "" && (r.Path == f.root || r.Folder == f.root) {
			only = r.ID
		}
	}
	if f.root != "" && only == 0 {
		return usage("there is no root %s in %s", f.root, db.Path())
	}
	out := bufio.NewWriterSize(a.out, 64<<10)
	write, finish := csvWriter(out)
	if f.format == "jsonl" {
		write, finish = jsonWriter(out)
	}
	for _, records := range []iter.Seq2[*state.File, error]{db.Files(ctx, only, f.format == "jsonl"), db.Aliases(ctx, only)} {
		for file, err := range records {
			if err == nil {
				err = write(byID[file.RootID], file)
			}
			if err != nil {
				return exit(exitFailed, err)
			}
		}
	}
	if err := finish(); err != nil {
		return exit(exitFailed, fmt.Errorf("write the export: %w", err))
	}
	return nil
}

func (a *app) exportState(f exportFlags) (string, error) {
	if f.emulated && f.stateFile == "" {
		dir, err := a.emulatorDir("")
		return emulatorState(dir), err
	}
	configured := ""
	if f.configFile != "" {
		cfg, err := config.Load(f.configFile)
		if err != nil {
			return "", exit(exitConfig, err)
		}
		configured = cfg.State
	}
	return a.statePath(f.stateFile, configured)
}

func csvWriter(out *bufio.Writer) (func(state.Root, *state.File) error, func() error) {
	w := csv.NewWriter(out)
	header := []string{"root", "local_path", "remote_path", "file_id", "version_id", "name", "url", "thumbnail_url", "size", "hash",
		"width", "height", "file_type", "modified_at", "uploaded_at", "checked_at", "gone", "proven"}
	begun := false
	begin := func() error {
		if begun {
			return nil
		}
		begun = true
		return w.Write(header)
	}
	write := func(r state.Root, f *state.File) error {
		if err := begin(); err != nil {
			return err
		}
		return w.Write([]string{r.Path, f.Path, f.RemotePath, f.FileID, f.VersionID, f.Name, f.URL, f.ThumbnailURL,
			strconv.FormatInt(f.Stat.Size, 10), hashWord(f.Hash), number(f.Width), number(f.Height), f.FileType,
			modified(f), timestamp(f.UploadedAt), timestamp(f.CheckedAt), goneWord(f), strconv.FormatBool(f.Proven())})
	}
	return write, func() error {
		if err := begin(); err != nil {
			return err
		}
		w.Flush()
		return cmp.Or(w.Error(), out.Flush())
	}
}

// hashWord is a hash as it is printed; "" for one that is not known.
func hashWord(h state.Hash) string {
	if h.IsZero() {
		return ""
	}
	return hex.EncodeToString(h[:])
}

// goneWord is why a file is not at its place; "" when it is.
func goneWord(f *state.File) string {
	if f.Absent == state.Present {
		return ""
	}
	return f.Absent.String()
}

func number(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// modified is when the recorded content was modified; "" when its time says nothing, since
// the library may have another content by now.
func modified(f *state.File) string {
	if f.Stat.MtimeNs == state.NoTime {
		return ""
	}
	return timestamp(f.Stat.Mtime())
}

func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// exported is a record as a JSON line.
type exported struct {
	Root            string          `json:"root"`
	LocalPath       string          `json:"local_path"`
	LocalPathBase64 string          `json:"local_path_base64,omitempty"`
	RemotePath      string          `json:"remote_path"`
	FileID          string          `json:"file_id"`
	VersionID       string          `json:"version_id"`
	Name            string          `json:"name"`
	URL             string          `json:"url"`
	ThumbnailURL    string          `json:"thumbnail_url,omitempty"`
	Size            int64           `json:"size"`
	Hash            string          `json:"hash,omitempty"`
	Width           int64           `json:"width,omitempty"`
	Height          int64           `json:"height,omitempty"`
	FileType        string          `json:"file_type"`
	ModifiedAt      string          `json:"modified_at,omitempty"`
	UploadedAt      string          `json:"uploaded_at"`
	CheckedAt       string          `json:"checked_at"`
	Gone            string          `json:"gone,omitempty"`
	Proven          bool            `json:"proven"` // the asset is known to have the file's content
	Response        json.RawMessage `json:"response"`
}

func jsonWriter(out *bufio.Writer) (func(state.Root, *state.File) error, func() error) {
	enc := json.NewEncoder(io.Writer(out))
	enc.SetEscapeHTML(false)
	write := func(r state.Root, f *state.File) error {
		return enc.Encode(exportedOf(r, f))
	}
	return write, out.Flush
}

// exportedOf is a record, read with its response, as a JSON line.
func exportedOf(r state.Root, f *state.File) exported {
	e := exported{
		Root: r.Path, LocalPath: f.Path, RemotePath: f.RemotePath, FileID: f.FileID, VersionID: f.VersionID, Name: f.Name,
		URL: f.URL, ThumbnailURL: f.ThumbnailURL, Size: f.Stat.Size, Hash: hashWord(f.Hash), Width: f.Width, Height: f.Height,
		FileType: f.FileType, ModifiedAt: modified(f), UploadedAt: timestamp(f.UploadedAt), CheckedAt: timestamp(f.CheckedAt),
		Gone:     goneWord(f),
		Proven:   f.Proven(),
		Response: f.Response,
	}
	if !utf8.ValidString(f.Path) {
		e.LocalPathBase64 = base64.StdEncoding.EncodeToString([]byte(f.Path))
	}
	if len(e.Response) == 0 {
		e.Response = json.RawMessage("null")
	}
	return e
}

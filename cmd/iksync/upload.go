package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"iksync/cmd/iksync/internal/config"
	"iksync/uploader/imagekit"
)

type uploadFlags struct {
	configFile string
	to         string
	name       string
	params     *paramFlags
}

func (a *app) uploadCommand() *cobra.Command {
	var f uploadFlags
	cmd := &cobra.Command{
		Use:   "upload FILE|URL|DATA-URI|-...",
		Short: "Upload single files or URLs and print ImageKit's answers",
		Long: `upload sends each argument to ImageKit once and prints the answer as one line of
JSON. It keeps no record and does not try again. An argument is a file, a URL that
ImageKit downloads from, a data URI, or "-" for what comes in on standard input
(which needs --name).

As everywhere in iksync, a name is taken as it is unless --unique-name is given, and
what was edited in the dashboard stays when a file is replaced.`,
		Example: `  iksync upload cover.jpg --to /covers --tags summer,sale
  iksync upload https://www.example.com/rest-of-the-image-path.jpg --name cover.jpg`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.upload(cmd.Context(), args, f) },
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVar(&f.configFile, "config", "", "configuration `file` that names the key and the endpoint")
	cmd.Flags().StringVar(&f.to, "to", "/", "remote `folder`")
	cmd.Flags().StringVar(&f.name, "name", "", "name in the library (default: that of the file or URL)")
	f.params = addParamFlags(cmd.Flags())
	cmd.Flags().BoolVar(&f.params.unique, "unique-name", false, "let ImageKit add a random suffix to the name")
	return cmd
}

func (a *app) upload(ctx context.Context, args []string, f uploadFlags) error {
	if len(args) == 0 {
		return usage("name a file or URL to upload")
	}
	if f.name != "" && len(args) > 1 {
		return usage("--name goes with one file; %d were given", len(args))
	}
	for _, arg := range args {
		if what := nameless(arg); what != "" && f.name == "" {
			return usage("%s needs a name: give --name", what)
		}
	}
	folder, err := imagekit.CleanFolder(f.to)
	if err != nil {
		return usage("--to: %v", err)
	}
	params := f.params.params()
	if err := params.Validate(); err != nil {
		return usage("%v", err)
	}
	client, err := a.client(f.configFile)
	if err != nil {
		return err
	}
	defer client.Close()
	failed := false
	for _, arg := range args {
		err := a.uploadOne(ctx, client, arg, &imagekit.Upload{FileName: f.name, Folder: folder, Params: params})
		var api *imagekit.Error
		switch {
		case err == nil:
		case errors.As(err, &api) && (api.Class == imagekit.Credentials):
			return exit(exitKey, fmt.Errorf("ImageKit refuses the private key: %w", err))
		case ctx.Err() != nil:
			return exit(exitInterrupted, nil)
		default:
			failed = true
			fmt.Fprintf(a.err, "iksync: %s: %v\n", shorten(display(arg)), err)
		}
	}
	if failed {
		return exit(exitFailed, nil)
	}
	return nil
}

// nameless says what a source is that has no name of its own; "" for one that has.
func nameless(arg string) string {
	scheme, _, _ := strings.Cut(arg, ":")
	switch {
	case arg == "-":
		return "standard input"
	case strings.EqualFold(scheme, "data"):
		return "a data URI"
	}
	return ""
}

// shorten cuts a text that may be a whole picture as a data URI.
func shorten(s string) string {
	const most = 500
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// client makes a client from the configuration, if any, and the environment.
func (a *app) client(configFile string) (*imagekit.Client, error) {
	cfg := &config.Config{}
	if configFile != "" {
		var err error
		if cfg, err = config.Load(configFile); err != nil {
			return nil, exit(exitConfig, err)
		}
	}
	a.fromSurroundings(cfg, configFile)
	return a.clientOf(cfg)
}

func (a *app) uploadOne(ctx context.Context, client *imagekit.Client, arg string, u *imagekit.Upload) error {
	scheme, _, _ := strings.Cut(arg, ":")
	switch strings.ToLower(scheme) {
	case "http", "https":
		u.Source = imagekit.FromText(arg)
		bare, _, _ := strings.Cut(arg, "?")
		u.FileName = cmp.Or(u.FileName, path.Base(bare))
	case "data":
		u.Source = imagekit.FromText(arg)
	default:
		file, err := a.source(arg, u)
		if err != nil {
			return err
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return errors.New("not a regular file")
		}
		u.Source = imagekit.FromReader(file, info.Size())
	}
	asset, err := client.Upload(ctx, u)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.out, "%s\n", compact(asset.Raw))
	return err
}

// source opens a file, or what standard input gives, whose size must be known
// before it is sent.
func (a *app) source(arg string, u *imagekit.Upload) (*os.File, error) {
	if arg != "-" {
		u.FileName = cmp.Or(u.FileName, filepath.Base(arg))
		info, err := os.Stat(arg) // before it is opened: opening a FIFO would wait
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() {
			return nil, errors.New("not a regular file")
		}
		return os.Open(arg)
	}
	file, err := os.CreateTemp("", "iksync-upload-")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Remove(file.Name()), spool(file, a.in)); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

func spool(file *os.File, in io.Reader) error {
	if _, err := io.Copy(file, in); err != nil {
		return fmt.Errorf("read standard input: %w", err)
	}
	_, err := file.Seek(0, io.SeekStart)
	return err
}

// compact brings an answer to one line.
func compact(raw []byte) []byte {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return raw
	}
	return b.Bytes()
}

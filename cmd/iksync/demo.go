package main

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/spf13/cobra"

	"iksync/cmd/iksync/internal/config"
)

// demoPage is where the page of a demo is, if nothing else is there.
const demoPage = "127.0.0.1:7711"

func (a *app) demoCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "demo DIR",
		Short: "Try the daemon on a directory, without an account",
		Long: `demo runs the daemon on a directory (which is only read) and the embedded emulator in place
of ImageKit, with a state file of its own, until Ctrl-C. Change, add, rename and remove files in
DIR and see what happens: in the gallery, on the page, and with iksync status. It goes on where
iksync backfill DIR --emulator has ended.`,
		Args: oneArgument("the directory to try it on"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.demo(cmd.Context(), args[0], dir) },
	}
	cmd.Flags().StringVar(&dir, "emulator-dir", "", "where the emulator keeps its files (default $XDG_STATE_HOME/iksync/emulator)")
	return cmd
}

func (a *app) demo(ctx context.Context, root, flag string) (err error) {
	dir, err := a.emulatorDir(flag)
	if err != nil {
		return err
	}
	adHoc := config.AdHoc{Path: root, Folder: "/", Params: config.Defaults()}
	cfg, err := adHoc.Config()
	if err != nil {
		return exit(exitConfig, err)
	}
	if err := outsideRoots("the emulator's directory", dir, cfg.Roots); err != nil {
		return err
	}
	e, err := startEmbedded(dir)
	if err != nil {
		return exit(exitConfig, err)
	}
	defer func() { err = errors.Join(err, e.close()) }()
	getenv := a.getenv
	a.getenv = func(name string) string {
		switch name {
		case "IMAGEKIT_PRIVATE_KEY":
			return "emulator"
		case "IKSYNC_UPLOAD_URL", "IKSYNC_API_URL", "IKSYNC_STATE": // the real ones
			return ""
		}
		return getenv(name)
	}
	d := newDaemon(a)
	d.stateFile = emulatorState(dir)
	website, err := config.PageAt(demoPage)
	if err != nil {
		return err
	}
	if l, err := net.Listen(website.Network, website.Addr); err != nil {
		website.Addr = "127.0.0.1:0" // the usual one is taken
	} else if err := l.Close(); err != nil {
		return err
	}
	d.site.linking = func(link string) {
		fmt.Fprintf(a.out, "page     %s\ngallery  %s\nstatus   iksync status --state %s\nCtrl-C ends it.\n", link, e.pageURL(), d.stateFile)
	}
	d.configured = func() (*config.Config, error) {
		cfg, err := adHoc.Config()
		if err != nil {
			return nil, err
		}
		cfg.Page = website
		cfg.UploadURL, cfg.APIURL = e.uploadURL(), e.apiURL()
		return cfg, nil
	}
	return d.run(ctx)
}

package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is the release that this source is or becomes.
const version = "0.1.0"

// commit is the commit that was built, where the linker is told (-X main.commit=, as
// systemd/package does); else Go's build information may know it.
var commit string

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArguments,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(a.out, "iksync %s%s %s %s/%s\n", version, revision(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

// revision tells the commit when the build knows it.
func revision() string {
	if commit != "" {
		return " (" + commit + ")"
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	built, dirty := "", ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			built = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				dirty = " modified"
			}
		}
	}
	if len(built) < 12 {
		return ""
	}
	return " (" + built[:12] + dirty + ")"
}

package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"iksync/cmd/iksync/internal/config"
	"iksync/watcher"
)

// What init says of the service is what the units in systemd/ do.
func TestAServiceHasTheFilesOfItsUnit(t *testing.T) {
	for file, want := range map[string]service{
		"/etc/iksync/config.yaml":      {"iksync", "/etc/iksync/private_key", "/var/lib/iksync/iksync.db"},
		"/etc/iksync/../iksync/a.yaml": {"iksync@a", "/etc/iksync/a.private_key", "/var/lib/iksync-a/iksync.db"},
		"/etc/iksync/config.yml":       {},
		"/etc/iksync/sub/config.yaml":  {},
		"/srv/config.yaml":             {},
	} {
		if got := serviceOf(file); got != want {
			t.Errorf("%s: %+v, not %+v", file, got, want)
		}
	}
	for file, want := range map[string]string{
		"/etc/iksync/a.yaml": "/etc/iksync/a.private_key", "/srv/config.yaml": "/srv/private_key", "/srv/studio.yaml": "/srv/studio.private_key", "/srv/iksync": "/srv/iksync.private_key",
	} {
		if got := ownKeyFile(file); got != want {
			t.Errorf("the key of %s is kept in %s, not %s", file, got, want)
		}
	}
}

// The texts that the program refers to are where the package puts them.
func TestThePackageHasTheTextsThatAreReferredTo(t *testing.T) {
	script, err := os.ReadFile("../../systemd/package")
	if err != nil {
		t.Fatal(err)
	}
	draft := config.Draft{Root: "/srv/photos", Folder: "/photos", State: "/srv/iksync.db"}
	text, err := draft.Text()
	if err != nil {
		t.Fatal(err)
	}
	const doc = "/usr/share/doc/iksync"
	for file, said := range map[string]string{"/service.md": serviceText, "/examples/config.yaml": text} {
		if !strings.Contains(said, doc+file) || !strings.Contains(string(script), "doc=$root"+doc+"\n") || !strings.Contains(string(script), `>"$doc`+file+`"`) {
			t.Errorf("%s is not said, or not packed", doc+file)
		}
	}
}

func TestTheNextCommandsFitTheConfiguration(t *testing.T) {
	none := func(string) string { return "" }
	for name, test := range map[string]struct {
		s      setup
		want   []string
		unlike string
	}{
		"a service without its key": {
			setup{app: &app{getenv: none}, file: "/etc/iksync/nobody.yaml"},
			[]string{"(umask 077; cat > /etc/iksync/nobody.private_key)", "systemctl enable --now iksync@nobody\n", "/usr/share/doc/iksync/service.md"}, "run --config",
		},
		"a service whose key was kept": {
			setup{app: &app{getenv: none}, file: "/etc/iksync/config.yaml", keep: "/etc/iksync/private_key"},
			[]string{"/etc/iksync/private_key (the private key", "systemctl enable --now iksync\n"}, "cat >",
		},
		"no key": {
			setup{app: &app{getenv: none}, file: "/srv/my config.yaml"},
			[]string{"export IMAGEKIT_PRIVATE_KEY=", "iksync run --config '/srv/my config.yaml'\n"}, "systemctl",
		},
		"a key file": {
			setup{app: &app{getenv: none}, file: "/srv/c.yaml", draft: config.Draft{KeyFile: "/srv/key"}},
			[]string{"iksync plan --config /srv/c.yaml\n", "iksync backfill --config /srv/c.yaml\n"}, "export",
		},
	} {
		var b strings.Builder
		test.s.next(&b)
		for _, want := range test.want {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: %q is missing in\n%s", name, want, b.String())
			}
		}
		if strings.Contains(b.String(), test.unlike) {
			t.Errorf("%s: it says %q in\n%s", name, test.unlike, b.String())
		}
	}
}

func TestMoreDirectoriesThanMayBeWatchedAreAWarningWithItsCure(t *testing.T) {
	for name, test := range map[string]struct {
		all     watcher.Survey
		verdict verdict
		want    string
	}{
		"fewer":                         {watcher.Survey{Dirs: 10, Whole: true}, fine, "10 directories; this user may watch 100"},
		"just as many":                  {watcher.Survey{Dirs: 100, Whole: true}, fine, "100 directories; this user may watch 100"},
		"more":                          {watcher.Survey{Dirs: 101, Whole: true}, warning, "101 directories, of which this user may watch 100; the others are scanned every 1m0s"},
		"fewer, and time was too short": {watcher.Survey{Dirs: 10}, fine, "at least 10 directories (counted for 3s); this user may watch 100"},
	} {
		e := &examination{}
		e.watches(test.all, 100, time.Minute)
		f := e.findings[0]
		if f.Verdict != test.verdict || f.Says != test.want || (f.Do != "") != (f.Verdict == warning) || e.code() != 0 {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestWhatIsWrongHereDecidesTheExitCode(t *testing.T) {
	for name, test := range map[string]struct {
		codes []int
		want  int
	}{
		"nothing":                      {[]int{0, 0}, 0},
		"the key":                      {[]int{0, exitFailed, exitKey, 0}, exitKey},
		"the key, then something else": {[]int{exitKey, exitFailed}, exitKey},
		"a path and the key":           {[]int{exitConfig, exitKey, 0}, exitConfig},
		"the key and a path":           {[]int{exitKey, exitConfig}, exitConfig},
		"anything else":                {[]int{0, exitFailed}, exitFailed},
	} {
		e := &examination{}
		for _, code := range test.codes {
			e.findings = append(e.findings, finding{code: code})
		}
		if got := e.code(); got != test.want {
			t.Errorf("%s: %d, not %d", name, got, test.want)
		}
	}
}

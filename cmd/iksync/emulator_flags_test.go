package main

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"iksync/uploader/emulator"
)

// Every switch has a flag that sets it, and the flags' defaults are the emulator's own.
func TestEverySwitchOfTheEmulatorIsAFlag(t *testing.T) {
	var b emulator.Behaviour
	fs := pflag.NewFlagSet("emulator", pflag.ContinueOnError)
	behaviourFlags(fs, &b)
	values := map[string]string{
		"bool": "true", "number": "7", "bytes": "7", "time": "7s", "rule": "strict",
	}
	set := func(name string) {
		f := fs.Lookup(name)
		kind, _ := pflag.UnquoteUsage(f)
		if f.Value.Type() == "bool" {
			kind = "bool"
		}
		if err := fs.Set(name, values[kind]); err != nil {
			t.Errorf("--%s: %v", name, err)
		}
	}
	fs.VisitAll(func(f *pflag.Flag) { set(f.Name) })
	v := reflect.ValueOf(b)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("no flag sets %s", v.Type().Field(i).Name)
		}
		switch got := v.Field(i).Interface().(type) {
		case time.Duration:
			if got != 7*time.Second {
				t.Errorf("%s is %v", v.Type().Field(i).Name, got)
			}
		case int:
			if got != 7 {
				t.Errorf("%s is %v", v.Type().Field(i).Name, got)
			}
		}
	}
	n := 0
	fs.VisitAll(func(*pflag.Flag) { n++ })
	if n != v.NumField() {
		t.Errorf("%d flags for %d switches", n, v.NumField())
	}
}

func TestTheListingLagOfTheEmulatorCanBeNone(t *testing.T) {
	for text, want := range map[string]time.Duration{"0": emulator.NoLag, "0s": emulator.NoLag, "1.5s": 1500 * time.Millisecond} {
		var b emulator.Behaviour
		if err := (&lagFlag{&b.ListingLag}).Set(text); err != nil || b.ListingLag != want {
			t.Errorf("%s: %v, %v", text, b.ListingLag, err)
		}
	}
	for _, text := range []string{"-1s", "soon", ""} {
		if err := (&lagFlag{new(time.Duration)}).Set(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// The example of the help is a plan, and the help has every action.
func TestTheHelpOfTheEmulatorDocumentsFaults(t *testing.T) {
	start := strings.Index(emulatorHelp, "  {\n")
	end := strings.Index(emulatorHelp, "\n  }\n")
	if start < 0 || end < start {
		t.Fatal("the help has no example")
	}
	plan, err := emulator.ReadFaults(strings.NewReader(emulatorHelp[start : end+4]))
	if err != nil || len(plan.Rules) < 2 {
		t.Errorf("%+v, %v", plan, err)
	}
	for _, action := range []emulator.Action{
		emulator.ActionStatus, emulator.ActionCut, emulator.ActionLose, emulator.ActionHTML, emulator.ActionTruncated,
		emulator.ActionTrailing, emulator.ActionLength, emulator.ActionWrongPath, emulator.ActionWrongSize,
		emulator.ActionEndless, emulator.ActionSlow, emulator.ActionRedirect,
	} {
		if !strings.Contains(emulatorHelp, "\n    "+string(action)+" ") {
			t.Errorf("the help lacks the action %s", action)
		}
	}
	keys := reflect.TypeFor[emulator.Fault]()
	for i := range keys.NumField() {
		name, _, _ := strings.Cut(keys.Field(i).Tag.Get("json"), ",")
		if !strings.Contains(emulatorHelp, name) {
			t.Errorf("the help lacks the key %s", name)
		}
	}
}

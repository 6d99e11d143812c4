//go:build unix

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"iksync/uploader/emulator"
)

// damaged is a rig whose state file can be damaged.
type damaged struct{ *runRig }

// newDamaged makes a library that holds what the root does, and its state file.
func newDamaged(t *testing.T) damaged {
	t.Helper()
	d := damaged{newRunRig(t, emulator.Options{Behaviour: emulator.Behaviour{ListingLag: emulator.NoLag}})}
	for i := range 150 {
		d.write(fmt.Sprintf("%d/%03d.jpg", i%7, i))
	}
	return d
}

// damage writes over the middle of the state file.
func (d damaged) damage() {
	d.Helper()
	f, err := os.OpenFile(d.state, os.O_RDWR, 0)
	d.must(err)
	info, err := f.Stat()
	d.must(err)
	_, err = f.WriteAt(bytes.Repeat([]byte("damaged "), 4<<10), info.Size()/2/4096*4096)
	d.must(err)
	d.must(f.Close())
}

// kept is what is in the state file's directory, but for the lock, the socket and
// what SQLite shares between processes, which hold nothing.
func (d damaged) kept() map[string]string {
	d.Helper()
	all := make(map[string]string)
	entries, err := os.ReadDir(filepath.Dir(d.state))
	d.must(err)
	for _, e := range entries {
		if !e.Type().IsRegular() || strings.HasSuffix(e.Name(), ".lock") || strings.HasSuffix(e.Name(), "-shm") {
			continue
		}
		content, err := os.ReadFile(filepath.Join(filepath.Dir(d.state), e.Name()))
		d.must(err)
		if len(content) > 0 || !strings.HasSuffix(e.Name(), "-wal") {
			all[e.Name()] = string(content)
		}
	}
	return all
}

// leaves wants what do does to change nothing in the state file's directory.
func (d damaged) leaves(what string, do func()) {
	d.Helper()
	before := d.kept()
	do()
	after := d.kept()
	for name, content := range before {
		if after[name] != content {
			d.Errorf("%s: %s was changed", what, name)
		}
	}
	if len(after) != len(before) {
		d.Errorf("%s: there are %d files, before there were %d", what, len(after), len(before))
	}
}

// says runs a command, wants its exit code and the texts, and returns all it says.
func (d damaged) says(code int, args string, texts ...string) string {
	d.Helper()
	cmd := d.command("iksync", strings.Fields(args))
	cmd.Args = append(cmd.Args, "--config", d.config)
	if strings.HasPrefix(args, "export") {
		cmd.Args = cmd.Args[:len(cmd.Args)-2]
	}
	return d.run(cmd, code, texts...)
}

func (d damaged) run(cmd *exec.Cmd, code int, texts ...string) string {
	d.Helper()
	out, _ := cmd.CombinedOutput() // its exit code is looked at
	if got := cmd.ProcessState.ExitCode(); got != code {
		d.Errorf("%q: the exit code is %d, not %d:\n%s", cmd.Args[1:], got, code, out)
	}
	for _, text := range texts {
		if !strings.Contains(string(out), text) {
			d.Errorf("%q does not say %q:\n%s", cmd.Args[1:], text, out)
		}
	}
	return string(out)
}

// refused wants every command to say that the state file is damaged, and to leave it.
func (d damaged) refused() {
	d.Helper()
	for _, command := range []string{"backfill", "run", "adopt", "verify", "verify --repair", "plan", "export", "export --format jsonl"} {
		d.leaves(command, func() { d.says(exitConfig, command, d.state+" is damaged", "iksync adopt --rebuild") })
	}
}

// rebuilt makes the state file anew and wants the damaged one to be beside it.
func (d damaged) rebuilt(files int) {
	d.Helper()
	before := d.kept()
	said := d.says(0, "adopt --rebuild --verify-bytes", fmt.Sprintf("Adopted: %d files", files))
	found := regexp.MustCompile(`the damaged state file is (\S+) now`).FindStringSubmatch(said)
	if found == nil || filepath.Dir(found[1]) != filepath.Dir(d.state) {
		d.Fatalf("it does not say where the damaged file is:\n%s", said)
	}
	after := d.kept()
	for name, content := range before {
		if after[strings.Replace(name, filepath.Base(d.state), filepath.Base(found[1]), 1)] != content {
			d.Errorf("%s is not beside it as it was", name)
		}
	}
	if len(after) != len(before)+1 {
		d.Errorf("there are %d files, before there were %d", len(after), len(before))
	}
	d.nothingIsLeft()
	d.exportIsLibrary()
}

func TestADamagedStateFileIsLeftAsItIsAndMadeAnew(t *testing.T) {
	t.Parallel()
	d := newDamaged(t)
	d.says(0, "backfill")
	d.damage()
	d.refused()
	d.rebuilt(150)
}

// After a kill a part of the state is in the write-ahead log.
func TestADamagedStateFileOfAKilledDaemonIsLeftAsItIsAndMadeAnew(t *testing.T) {
	t.Parallel()
	d := newDamaged(t)
	daemon := d.start()
	d.inStep()
	d.killed = true
	daemon.kill()
	d.says(0, "export") // as it is after the kill it can be read
	d.says(0, "backfill")
	daemon = d.start()
	d.write("more.jpg")
	d.gets("more.jpg")
	d.inStep()
	daemon.kill()
	if d.kept()[filepath.Base(d.state)+"-wal"] == "" {
		t.Fatal("there is no write-ahead log")
	}
	d.damage()
	d.refused()
	d.rebuilt(151)
}

func TestASoundStateFileIsNotMadeAnew(t *testing.T) {
	t.Parallel()
	d := newDamaged(t)
	d.says(0, "backfill")
	before := d.says(0, "export")
	d.leaves("a look", func() { d.says(0, "export") })
	said := d.says(0, "adopt --rebuild", "state file "+d.state+" is sound", "Adopted: 0 files", "known")
	if n := len(d.kept()); n != 1 {
		t.Errorf("there are %d files beside each other:\n%s", n, said)
	}
	if after := d.says(0, "export"); after != before {
		t.Errorf("the records were\n%s\nand are\n%s", before, after)
	}
	d.nothingIsLeft()
}

func TestWhatIsNoStateFileIsNotMadeOne(t *testing.T) {
	t.Parallel()
	picture, err := os.ReadFile("testdata/photos/2026/dunes/dunes 02.jpg")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"a picture":                   picture,
		"SQLite's header alone":       append([]byte("SQLite format 3\x00"), picture...),
		"another text of a few bytes": []byte("notes"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDamaged(t)
			d.must(writeFile(d.state, string(content)))
			for _, command := range []string{"adopt --rebuild", "adopt", "backfill", "run"} {
				d.leaves(command, func() { d.says(exitConfig, command, d.state, "not an iksync state file or is damaged") })
			}
			if n := d.library.server.Stats().Requests["upload"]; n != 0 {
				t.Errorf("%d uploads", n)
			}
		})
	}
}

// What a power cut or a full disk leaves of a file is no new one: all would be sent again.
func TestAnEmptyStateFileIsDamagedAndMadeAnew(t *testing.T) {
	t.Parallel()
	d := newDamaged(t)
	d.says(0, "backfill")
	d.must(os.Truncate(d.state, 0))
	d.refused()
	d.says(exitConfig, "check", d.state+" is damaged", "iksync adopt --rebuild")
	d.rebuilt(150)
}

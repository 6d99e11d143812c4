package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"iksync/uploader/emulator"
)

// console is a terminal with somebody at it, and iksync in it.
type console struct {
	*testing.T
	ours, theirs *os.File // the two ends of it
	cmd          *exec.Cmd
	ended        chan struct{}

	mu    sync.Mutex
	shown string
	read  int // of it, by the one who answers
}

// atConsole starts a command at a terminal.
func atConsole(t *testing.T, cmd *exec.Cmd) *console {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("there are no terminals here: ", err)
	}
	t.Cleanup(func() { ours.Close() })
	number, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := &console{T: t, ours: ours, theirs: theirs, cmd: cmd, ended: make(chan struct{})}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.ended)
		buf := make([]byte, 4096)
		for {
			n, err := ours.Read(buf)
			c.mu.Lock()
			c.shown += string(buf[:n])
			c.mu.Unlock()
			if err != nil {
				return // EIO when nobody has it open any more
			}
		}
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return c
}

// answers waits for a question, and types the answer.
func (c *console) answers(question, answer string) {
	c.Helper()
	waitFor(c.T, "the question "+question, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		i := strings.Index(c.shown[c.read:], question)
		if i < 0 || !strings.HasSuffix(c.shown, ": ") {
			return false
		}
		c.read = len(c.shown)
		return true
	})
	if _, err := c.ours.WriteString(answer); err != nil {
		c.Fatal(err)
	}
}

// ends waits for the end, wants its exit code, and returns all that was shown.
func (c *console) ends(code int) string {
	c.Helper()
	_ = c.cmd.Wait() // its state is looked at
	mode, err := unix.IoctlGetTermios(int(c.theirs.Fd()), unix.TCGETS)
	if err != nil {
		c.Fatal(err)
	}
	if mode.Lflag&unix.ECHO == 0 {
		c.Error("the terminal is left so that it does not show what is typed")
	}
	if err := c.theirs.Close(); err != nil {
		c.Fatal(err)
	}
	<-c.ended
	if got := c.cmd.ProcessState.ExitCode(); got != code {
		c.Errorf("the exit code is %d, not %d:\n%s", got, code, c.shown)
	}
	return c.shown
}

func TestAKeyThatIsTypedIsKeptForOneAloneAndNotShown(t *testing.T) {
	t.Parallel()
	r := newRedactionRig(t, emulator.Options{PrivateKey: recognisable})
	made := filepath.Join(r.theirs, "made")
	config, key := filepath.Join(made, "studio.yaml"), filepath.Join(made, "studio.private_key")
	c := atConsole(t, r.command("iksync", []string{"init"}, append(r.env, "IMAGEKIT_PRIVATE_KEY=")...))
	c.answers("Configuration to write", config+"\n")
	c.answers("Directory to sync", r.tree()+"\n")
	c.answers("Folder of the media library", "\n")
	c.answers("Private key", "type\n")
	c.answers("it is not shown", recognisable+" "+recognisable+"\n")
	c.answers("That is no private key", recognisable+"\n")
	c.answers("File to keep it in", "\n")
	c.answers("State file", "\n")
	c.answers("plan", "\n")
	c.answers("gone", "\n")
	c.answers("web page", "\n")
	shown := c.ends(0)
	r.wantNoLeak("the terminal", shown)
	if !strings.Contains(shown, "ImageKit takes it (the one that was typed)") || !strings.Contains(shown, "Written: "+config) || strings.Contains(shown, "export IMAGEKIT") {
		t.Errorf("it says\n%s", shown)
	}
	for path, mode := range map[string]os.FileMode{config: 0o644, key: 0o600} {
		info, err := os.Stat(path)
		r.must(err)
		if info.Mode() != mode {
			t.Errorf("%s has the mode %v, not %v", path, info.Mode(), mode)
		}
	}
	text, err := os.ReadFile(config)
	r.must(err)
	r.wantNoLeak("the configuration", string(text))
	text, err = os.ReadFile(key)
	r.must(err)
	if string(text) != recognisable+"\n" {
		t.Error("the key file holds something else")
	}
	for _, args := range [][]string{{"check", "--config", config}, {"check", "--config", config, "--json"}, {"backfill", "--config", config, "--no-progress"}} {
		r.said(0, args, "IMAGEKIT_PRIVATE_KEY=")
	}
	r.said(exitConfig, []string{"init", "--config", config, "--root", r.tree(), "--to", "/photos"})
}

func TestCtrlCWhileTheKeyIsAskedForLeavesNothing(t *testing.T) {
	t.Parallel()
	r := newRedactionRig(t, emulator.Options{PrivateKey: recognisable})
	config := filepath.Join(r.theirs, "made", "config.yaml")
	c := atConsole(t, r.command("iksync", []string{"init", "--config", config, "--root", r.tree()}, append(r.env, "IMAGEKIT_PRIVATE_KEY=")...))
	c.answers("Folder of the media library", "\n")
	c.answers("Private key", "type\n")
	c.answers("it is not shown", recognisable[:20]+"\x03")
	if shown := c.ends(exitInterrupted); !strings.Contains(shown, "nothing was written") || leak(shown) != "" {
		t.Errorf("it says\n%s", shown)
	}
	if _, err := os.Lstat(filepath.Dir(config)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was made: %v", err)
	}
	r.said(0, []string{"backfill", "--config", r.config, "--no-progress"}) // there is something to look for the key in
}

//go:build unix

package main

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"iksync/cmd/iksync/internal/control"
	"iksync/uploader/emulator"
)

// browser is a page in Chromium.
type browser struct {
	*testing.T
	ctx   context.Context
	shots string // the directory of screenshots
}

// newBrowser starts Chromium: that of IKSYNC_CHROMIUM, else one that is on the path.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	path := os.Getenv("IKSYNC_CHROMIUM")
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path == "" {
			path, _ = exec.LookPath(name) // "" when it is not there
		}
	}
	if path == "" {
		t.Skip("no Chromium: install it, or name it with IKSYNC_CHROMIUM")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true), chromedp.WindowSize(1200, 900))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	var heard sync.WaitGroup
	t.Cleanup(heard.Wait)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	ctx, stop := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(stop)
	ctx, end := chromedp.NewContext(ctx)
	t.Cleanup(end)
	b := &browser{T: t, ctx: ctx, shots: t.ArtifactDir()}
	b.do()
	exceptions, logged := chromedp.Events(ctx, runtime.ExceptionThrown), chromedp.Events(ctx, runtime.ConsoleAPICalled)
	heard.Go(func() {
		for e, err := range exceptions {
			if err != nil {
				return // the browser has ended
			}
			t.Errorf("the page's script failed: %s", (&chromedp.ExceptionError{ExceptionDetails: e.ExceptionDetails}).Error())
		}
	})
	heard.Go(func() {
		for e, err := range logged {
			if err != nil {
				return
			}
			if e.Type == runtime.ConsoleAPICalledTypeError {
				t.Errorf("the page logged an error: %v", e.Args)
			}
		}
	})
	return b
}

func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.Fatal(err)
	}
}

// eval is the value of an expression in the page.
func eval[T any](b *browser, expression string) T {
	b.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.Fatal(err)
	}
	return v
}

// shows waits until the text of what a selector finds holds a text.
func (b *browser) shows(selector, text string) {
	b.Helper()
	waitFor(b.T, fmt.Sprintf("%s shows %q", selector, text), func() bool {
		return eval[bool](b, fmt.Sprintf(`[...document.querySelectorAll(%q)].some((e) => e.checkVisibility() && e.textContent.includes(%q))`, selector, text))
	})
}

// hides waits until nothing that a selector finds can be seen with that text in it.
func (b *browser) hides(selector, text string) {
	b.Helper()
	waitFor(b.T, fmt.Sprintf("%s hides %q", selector, text), func() bool {
		return eval[bool](b, fmt.Sprintf(`![...document.querySelectorAll(%q)].some((e) => e.checkVisibility() && e.textContent.includes(%q))`, selector, text))
	})
}

// click clicks what a screen reader calls by that name.
func (b *browser) click(name string) {
	b.Helper()
	selector := fmt.Sprintf(`//button[@aria-label=%q or (not(@aria-label) and normalize-space()=%[1]q)]`, name)
	b.do(chromedp.Click(chromedp.Search(selector), chromedp.NodeVisible, chromedp.NodeEnabled))
}

// shot keeps a picture of the page.
func (b *browser) shot(name string) {
	b.Helper()
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.shots, name+".png"), png, 0o644); err != nil {
		b.Fatal(err)
	}
}

// drawn waits until all thumbnails that can be seen are drawn.
func (b *browser) drawn() {
	b.Helper()
	waitFor(b.T, "thumbnails are drawn", func() bool {
		return eval[bool](b, `(() => {
			const seen = [...document.querySelectorAll("#recent img")].filter((i) => i.checkVisibility());
			for (const i of seen) i.loading = "eager";
			return seen.length > 3 && seen.every((i) => i.naturalWidth > 0);
		})()`)
	})
}

// accessible runs axe over the page as it is.
func (b *browser) accessible(what string) {
	b.Helper()
	axe, err := os.ReadFile(filepath.Join("testdata", "axe", "axe.min.js"))
	if err != nil {
		b.Fatal(err)
	}
	b.do(chromedp.Evaluate[chromedp.Void](string(axe)))
	found := eval[string](b, `axe.run().then((r) => JSON.stringify(r.violations.map((v) => ({id: v.id, help: v.help, nodes: v.nodes.map((n) => n.html + " " + n.failureSummary)}))))`)
	if found != "[]" {
		b.Errorf("%s: axe finds %s", what, found)
	}
}

// scheme lets the page be light or dark.
func (b *browser) scheme(name string) {
	b.Helper()
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
	}); err != nil {
		b.Fatal(err)
	}
}

// pageRig is a daemon with a page, and a directory of so many files and some pictures.
func pageRig(t *testing.T, files int) *runRig {
	t.Helper()
	r := newRunRig(t, emulator.Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	r.must(err)
	r.must(l.Close())
	r.set("http", l.Addr().String()) // the same after a restart
	for i := range files {
		r.write(fmt.Sprintf("2026/alps/IMG_%05d.jpg", i))
	}
	for i := range 60 {
		r.write(fmt.Sprintf("2026/broken/IMG_%02d.jpg", i))
	}
	return r
}

// pictures adds real ones.
func (r *runRig) pictures() {
	r.Helper()
	r.must(filepath.WalkDir("testdata/photos", func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err == nil {
			err = writeFile(filepath.Join(r.tree(), "new", strings.TrimPrefix(path, "testdata/photos/")), string(content))
		}
		return err
	}))
}

// Everything that the page offers, clicked in a browser beside a daemon with 10,000 files
// that is uploading.
func TestThePageInABrowser(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	r := pageRig(t, 10_000)
	broken := emulator.Fault{Endpoint: "upload", Path: "broken", Action: emulator.ActionStatus, Status: 400, Message: "Invalid file."}
	slow := emulator.Fault{Endpoint: "upload", Latency: emulator.Duration(20 * time.Millisecond)} // so that much is to go while it is looked at
	r.library.server.SetFaults(emulator.Faults{Rules: []emulator.Fault{broken, slow}})
	d := r.start()
	waitFor(t, "some are uploaded", func() bool { return r.status().Uploads.Uploaded > 100 })
	var link string
	waitFor(t, "the page is served", func() bool {
		var err error
		link, err = control.NewClient(r.state).Page(t.Context())
		return err == nil
	})
	if told := strings.TrimSpace(r.iksync("page")); told != link {
		t.Errorf("iksync page prints %s, the link is %s", told, link)
	}
	b.do(chromedp.Navigate(link))
	b.shows("#state", "Syncing")
	b.shows("#figures", "To go")
	b.shows("#transfers", ".jpg")
	if got := eval[string](b, "location.href"); strings.Contains(got, "token") {
		t.Errorf("the token stays in the address: %s", got)
	}
	b.shot("syncing")

	b.click("Pause all roots")
	b.shows("#state", "Paused")
	if s := r.status(); s.State != control.Paused {
		t.Errorf("the page says paused, the daemon %s", s.State)
	}
	b.shows("#no-transfers", "Nothing is being sent")
	b.click("Resume all roots")
	b.shows("#state", "Syncing")
	r.library.server.SetFaults(emulator.Faults{Rules: []emulator.Fault{broken}})

	b.shows("#classes", "file (60)")
	b.shows("#failing", "Invalid file.")
	b.shows("#failing", "request id")
	b.click("Next")
	b.shows("#page", "Page 2")
	b.shows("#failing", "2026/broken/IMG_19.jpg")
	b.hides("#failing", "2026/broken/IMG_09.jpg")
	b.click("Previous")
	b.shows("#failing", "2026/broken/IMG_00.jpg")
	broken.Path = "broken/IMG_0"
	r.library.server.SetFaults(emulator.Faults{Rules: []emulator.Fault{broken}})
	b.click("Ignore 2026/broken/IMG_01.jpg")
	b.hides("#failing", "2026/broken/IMG_01.jpg")
	if told := r.iksync("why", "--config", r.config, filepath.Join(r.tree(), "2026/broken/IMG_01.jpg")); !strings.Contains(told, "left out") {
		t.Errorf("what was ignored on the page is told to be\n%s", told)
	}
	b.click("Retry 2026/broken/IMG_10.jpg")
	r.gets("2026/broken/IMG_10.jpg")
	b.hides("#failing", "2026/broken/IMG_10.jpg")
	b.click("file (58)")
	b.click("Retry all “file”")
	b.shows("#classes", "file (9)")

	waitFor(t, "all are uploaded", func() bool { return r.library.server.Stats().Assets == 10_050 })
	b.do(chromedp.SendKeys(chromedp.ID("query"), "IMG_00042\r"))
	b.shows("#found", "2026/alps/IMG_00042.jpg")
	b.accessible("a search")
	b.click("2026/alps/IMG_00042.jpg")
	b.shows("#found", r.assets()["/photos/2026/alps/IMG_00042.jpg"].FileID)
	b.shows("#found", "nothing: it is in step")
	b.accessible("a history")
	b.shot("history")
	b.click("Close")

	r.pictures()
	b.shows("#recent", ".png")
	b.drawn()
	b.shows("#state", "files")
	b.accessible("light")
	b.shot("light")
	b.scheme("dark")
	b.accessible("dark")
	b.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile, chromedp.EmulateScale(2)))
	b.accessible("a phone")
	if wide := eval[bool](b, "document.documentElement.scrollWidth > 390"); wide {
		t.Error("the page is wider than a phone")
	}
	b.shot("phone-dark")
	b.do(chromedp.ResetViewport())
	b.scheme("light")

	killed := time.Now()
	d.kill()
	b.shows("#lost", "No connection to iksync since")
	t.Logf("the page said after %v that the daemon is gone", time.Since(killed).Round(10*time.Millisecond))
	b.accessible("without a daemon")
	b.shot("lost")
	d = r.start()
	b.hides("#lost", "")
	b.shows("#state", "files that fail")
	b.click("Rescan all roots")
	b.shows("#said", "looked through")
	d.stop()
}

// What the page offers is listed for the keyboard, and each can be reached and used by it.
func TestThePageByKeyboard(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	r := pageRig(t, 10)
	d := r.start()
	r.gets("2026/alps/IMG_00001.jpg")
	b.do(chromedp.Navigate(strings.TrimSpace(r.iksync("page"))))
	b.shows("#state", "in step")
	var reached []string
	for range 12 {
		b.do(chromedp.KeyEvent("\t"))
		reached = append(reached, eval[string](b, `(document.activeElement.getAttribute("aria-label") ?? document.activeElement.textContent) || document.activeElement.id`))
		if strings.HasPrefix(reached[len(reached)-1], "Pause all") {
			b.do(chromedp.KeyEvent("\r"))
			break
		}
	}
	if len(reached) == 0 || reached[0] != "Skip to the content" {
		t.Errorf("reached by the keyboard are %q", reached)
	}
	b.shows("#state", "Paused")
	d.stop()
}

// Without the token one can look and not act; what a page of another site does is refused.
func TestThePageWithoutItsToken(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	r := pageRig(t, 10)
	d := r.start()
	r.gets("2026/alps/IMG_00001.jpg")
	link, _, _ := strings.Cut(strings.TrimSpace(r.iksync("page")), "#")
	b.do(chromedp.Navigate(link))
	b.shows("#state", "in step")
	b.shows("#locked", "iksync page")
	if n := eval[int](b, `document.querySelectorAll("button[data-acts]:not(:disabled)").length`); n > 0 {
		t.Errorf("%d buttons can be used", n)
	}
	if n := eval[int](b, `document.querySelectorAll("#recent img").length`); n > 0 {
		t.Errorf("%d pictures are shown", n)
	}
	b.accessible("locked")
	d.stop()
}

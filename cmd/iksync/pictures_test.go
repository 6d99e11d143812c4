//go:build unix

package main

import (
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"iksync/cmd/iksync/internal/control"
	"iksync/uploader/emulator"
)

// TestPictureOfTheTerminal draws what iksync status shows, of a daemon at work, for the
// README: IKSYNC_PICTURES=$PWD/cmd/iksync/testdata/pictures go test -run TestPicture ./cmd/iksync
func TestPictureOfTheTerminal(t *testing.T) {
	dir := os.Getenv("IKSYNC_PICTURES")
	if dir == "" {
		t.Skip("no IKSYNC_PICTURES")
	}
	r := newRunRig(t, emulator.Options{})
	r.set("workers", "4")
	r.set("limits", "{plan: free}")
	r.addRoot("videos", "")
	for i := range 2500 {
		r.write(fmt.Sprintf("2026/alps/IMG_%04d.jpg", i), strings.Repeat("picture", 3000+i))
	}
	r.write("2026/empty.jpg", "")
	r.write("2026/broken.jpg")
	r.library.server.SetFaults(emulator.Faults{Rules: []emulator.Fault{
		{Endpoint: "upload", Path: "broken.jpg", Action: emulator.ActionStatus, Status: 400, Message: "Invalid file."},
		{Endpoint: "upload", Latency: emulator.Duration(100 * time.Millisecond)},
	}})
	d := r.start()
	waitFor(t, "some are uploaded", func() bool { s := r.status(); return s.Uploads.Uploaded > 200 && len(s.Roots[0].Failing) > 0 })
	r.iksync("pause", "--until", "8h", "/videos")
	out := r.iksync("status")
	d.stop()
	out = strings.ReplaceAll(out, filepath.Join(filepath.Dir(r.tree()), "state"), "/var/lib/iksync")
	out = strings.ReplaceAll(out, filepath.Dir(r.tree()), "/srv")
	out = regexp.MustCompile(`process \d+`).ReplaceAllString(out, "process 1144")
	r.must(os.WriteFile(filepath.Join(dir, "status.svg"), []byte(terminal("iksync status --config /etc/iksync/config.yaml", out)), 0o644))
}

// TestPictureOfThePage takes the page's pictures for the README, as TestPictureOfTheTerminal
// does: of a daemon that sends some large files by a slow line.
func TestPictureOfThePage(t *testing.T) {
	dir := os.Getenv("IKSYNC_PICTURES")
	if dir == "" {
		t.Skip("no IKSYNC_PICTURES")
	}
	b := newBrowser(t)
	r := newRunRig(t, emulator.Options{})
	r.set("http", "127.0.0.1:0")
	r.set("workers", "4")
	r.set("rescan", "1h")
	r.set("bandwidth", "300kB/s")
	videos := r.addRoot("videos", "")
	for i := range 3 {
		r.write(fmt.Sprintf("2026/scans/page %d.tif", i+1), strings.Repeat("damaged", 1000+i))
	}
	r.write("2026/new.jpg", "") // as if it were still to be written
	r.library.server.SetFaults(emulator.Faults{Rules: []emulator.Fault{{Endpoint: "upload", Path: "scans", Action: emulator.ActionStatus, Status: 400, Message: "The TIFF header is damaged."}}})
	d := r.start()
	waitFor(t, "the scans fail", func() bool { return r.status().State == control.Failing })
	b.do(chromedp.Navigate(strings.TrimSpace(r.iksync("page"))))
	for i := range 9 {
		r.must(writeFile(fmt.Sprintf("%s/2026/ski/GX01%04d.mp4", videos, 40+i), strings.Repeat("moving picture ", (11+i*5)<<16)))
	}
	for i, speed := range []string{"400kB/s", "700kB/s", "1500kB/s", "1100kB/s", "1900kB/s", "1400kB/s", "900kB/s", "1600kB/s", "1200kB/s"} {
		r.set("bandwidth", speed)
		r.reload(d)
		if i == 6 {
			r.pictures()
		}
		next := time.Now().Add(7 * time.Second)
		waitFor(t, "more throughput is known", func() bool { return time.Now().After(next) })
	}
	b.do(chromedp.EmulateViewport(1200, 1180))
	b.shows("#recent", "dunes")
	b.drawn()
	d.signal(syscall.SIGSTOP) // so that it stays as it is for all of the pictures
	eval[bool](b, fmt.Sprintf(`(() => {
		const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
		while (texts.nextNode()) {
			const t = texts.currentNode;
			for (const [from, to] of [[%q, "/var/lib/iksync"], [%q, "/srv"]]) if (t.data.includes(from)) t.data = t.data.replaceAll(from, to);
		}
		return true;
	})()`, filepath.Dir(r.state), r.base))
	for _, scheme := range []string{"light", "dark"} {
		b.scheme(scheme)
		b.picture(filepath.Join(dir, "page-"+scheme+".png"))
	}
	b.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile))
	b.picture(filepath.Join(dir, "page-phone.png"))
	d.signal(syscall.SIGCONT)
	d.kill()
}

// picture writes what can be seen of the page.
func (b *browser) picture(file string) {
	b.Helper()
	shot, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(file, shot, 0o644)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// terminal draws a command and its output.
func terminal(command, output string) string {
	const width, line, left, top = 9.0, 21, 20, 52
	lines := append([]string{"$ " + command}, strings.Split(strings.TrimRight(output, "\n"), "\n")...)
	longest := 0
	for _, l := range lines {
		longest = max(longest, len(l))
	}
	w, h := int(float64(longest)*width)+2*left, len(lines)*line+top+10
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img" aria-label="%s in a terminal">`+"\n", w, h, command)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" rx="8" fill="#1b1f24"/>`+"\n", w, h)
	for i, colour := range []string{"#ff5f57", "#febc2e", "#28c840"} {
		fmt.Fprintf(&b, `<circle cx="%d" cy="20" r="6" fill="%s"/>`+"\n", left+i*20, colour)
	}
	fmt.Fprintln(&b, `<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,monospace" font-size="15" fill="#d8dee4" xml:space="preserve">`)
	for i, l := range lines {
		var text strings.Builder
		_ = xml.EscapeText(&text, []byte(l)) // a builder takes everything
		fmt.Fprintf(&b, `<text x="%d" y="%d" textLength="%d">%s</text>`+"\n", left, top+i*line, int(float64(len(l))*width), text.String())
	}
	fmt.Fprintln(&b, "</g>\n</svg>")
	return b.String()
}

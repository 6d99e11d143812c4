package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"iksync/cmd/iksync/internal/config"
	"iksync/cmd/iksync/internal/control"
	"iksync/cmd/iksync/internal/page"
)

// website is the page of a daemon: served where the configuration says, or still to be.
type website struct {
	d       *daemon
	wanted  config.Page
	server  *page.Server // nil when it is not served
	link    string       // with the token
	told    string       // why it is not served, as it was logged last
	linking func(link string)
}

// follow serves the page as another configuration says. What can't be had is tried
// again by retry; the page is never a reason not to sync.
func (s *website) follow(p config.Page) error {
	if s.server != nil && p == s.wanted {
		return nil
	}
	err := s.close()
	s.wanted, s.told = p, ""
	s.retry()
	return err
}

// retry serves the page if it should be served and is not.
func (s *website) retry() {
	if s.server != nil || s.wanted.Network == "" {
		return
	}
	err := s.listen()
	if err == nil {
		s.told = ""
		return
	}
	if s.told != err.Error() {
		s.told = err.Error()
		s.d.log.Error("the page is not served; it is tried again", zap.Error(err))
	}
}

func (s *website) listen() error {
	token, warning, err := s.wanted.Token(s.d.db.Path() + ".token")
	if err != nil {
		return err
	}
	if warning != "" {
		s.d.log.Warn(warning)
	}
	o, q := s.d.operator, s.d.q
	server, err := page.Listen(page.Options{
		Network: s.wanted.Network, Addr: s.wanted.Addr, Token: token, Closed: s.wanted.TokenFile != "",
		Actions: o.actions(), Points: o.throughput, Failures: q.FailingPage, Search: q.Search, Display: display, Picture: o.picture, Others: s.d.handlers(),
	})
	if err != nil {
		return err
	}
	s.server, s.link = server, linkTo(server.URL())+"#token="+token
	s.d.log.Info("the page is served", zap.String("at", server.URL()))
	if s.linking != nil {
		s.linking(s.link)
	}
	o.setLink(s.link)
	return nil
}

func (s *website) close() error {
	if s.server == nil {
		return nil
	}
	err := s.server.Close()
	s.server = nil
	s.d.operator.setLink("")
	return err
}

// linkTo is what a browser opens; where the page is at every address of this machine,
// that is its name.
func linkTo(url string) string {
	ap, err := netip.ParseAddrPort(netAddr(url))
	if err != nil || !ap.Addr().IsUnspecified() {
		return url
	}
	name, err := os.Hostname()
	if err != nil {
		return url
	}
	return "http://" + net.JoinHostPort(name, fmt.Sprint(ap.Port())) + "/"
}

func netAddr(url string) string {
	const before, after = len("http://"), len("/")
	if len(url) < before+after {
		return url
	}
	return url[before : len(url)-after]
}

// throughput is that of the last hour, the oldest first.
func (o *operator) throughput() []control.Point {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.points)
}

func (o *operator) setLink(link string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.link = link
}

// errNoPage says that the page is not served.
var errNoPage = errors.New("no page is served: write http: 127.0.0.1:7711 into its configuration and reload it (iksync run logs why when it can't)")

// pageLink is the link that opens the page with its token.
func (o *operator) pageLink(context.Context) (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.link == "" {
		return "", errNoPage
	}
	return o.link, nil
}

// picture opens the file of a recent upload that is not private.
func (o *operator) picture(fileID string) (*os.File, string, error) {
	g := o.current()
	if g == nil {
		return nil, "", errStarting
	}
	for _, u := range o.recent() {
		root := g.root(u.RootID)
		if u.FileID != fileID || root == nil || root.private(u.Path) {
			continue
		}
		file, err := root.dir.OpenFile(u.Path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO may have taken its place
		if err != nil {
			return nil, "", err
		}
		if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
			return nil, "", errors.Join(cmp.Or(err, error(fs.ErrInvalid)), file.Close())
		}
		return file, u.Path, nil
	}
	return nil, "", fs.ErrNotExist
}

// private reports whether a file is sent as one that ImageKit does not show everybody.
func (r *openRoot) private(path string) bool {
	p := r.config.Params(path).IsPrivateFile
	return p != nil && *p
}

func (a *app) pageCommand() *cobra.Command {
	r := &request{app: a}
	cmd := &cobra.Command{
		Use:   "page",
		Short: "Print the link that opens the daemon's web page",
		Long: `page prints the link to the daemon's web page, with the token that lets one act there and
see pictures: open it once, the browser keeps the token. Keep it to yourself.

The page is served where the configuration says (http: 127.0.0.1:7711). From another
machine, an SSH tunnel reaches it: ssh -L 7711:127.0.0.1:7711 HOST.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return r.page(cmd.Context()) },
	}
	r.flags(cmd)
	return cmd
}

func (r *request) page(ctx context.Context) error {
	path, err := r.path()
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return exit(exitConfig, fmt.Errorf("there is no state file: %w", err))
	}
	link, err := control.NewClient(path).Page(ctx)
	if err != nil {
		return unanswered(path, err)
	}
	if r.json {
		return json.NewEncoder(r.out).Encode(map[string]string{"link": link})
	}
	fmt.Fprintln(r.out, link)
	return nil
}

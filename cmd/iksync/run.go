package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"iksync/cmd/iksync/internal/config"
	"iksync/cmd/iksync/internal/control"
	"iksync/queue"
	"iksync/state"
	"iksync/uploader"
	"iksync/uploader/imagekit"
)

const (
	// superviseEvery is how often the daemon looks at itself.
	superviseEvery = 5 * time.Second
	// statusEvery is how often the service manager is told how it stands.
	statusEvery = 15 * time.Second
	// writeTimeout bounds a look whether the state file takes writes.
	writeTimeout = 20 * time.Second
)

// daemon is one `iksync run`.
type daemon struct {
	*app
	configFile string
	configured func() (*config.Config, error) // in place of the file; nil reads that
	stateFile  string
	workers    *int   // in place of the configuration's; nil leaves that
	logLevel   string // the same; "" leaves it
	level      zap.AtomicLevel
	log        *zap.Logger
	db         *state.DB
	q          *queue.Queue
	locks      map[string]*os.File // of the roots, by path
	notify     *notifier
	bandwidth  *uploader.Bandwidth
	operator   *operator
	site       *website
	telling    *telling
	meter      *imagekit.Meter
	took       *uploader.Durations
	outbox     *uploader.Outbox // nil until there is a hook
	newRoot    bool             // roots that are not recorded at the first start are new
	usedMu     sync.Mutex
	used       map[int64]int // generations by the root that they have
	full       bool          // the state file can't be written, and that was told
	cut        chan struct{} // closed when uploads in flight are to be broken off
	cutOnce    sync.Once
}

func newDaemon(a *app) *daemon {
	return &daemon{app: a, locks: make(map[string]*os.File), used: make(map[int64]int), bandwidth: uploader.NewBandwidth(uploader.Rates{}), cut: make(chan struct{}), site: &website{}, telling: &telling{}, meter: &imagekit.Meter{}, took: &uploader.Durations{}}
}

func (a *app) runCommand() *cobra.Command {
	d := newDaemon(a)
	var workers int
	cmd := &cobra.Command{
		Use:   "run --config FILE",
		Short: "Keep the library in step until told to stop",
		Long: `run watches the roots and uploads what is new or changed as soon as it has been
quiet for a while, scans them from time to time as a safety net, and goes on until
SIGTERM or SIGINT: uploads in flight may then finish within shutdown_grace; a second
signal breaks them off. SIGHUP reads the configuration again; one that is wrong is
refused, and the old one stays.

It reports to systemd (Type=notify) and feeds its watchdog while it makes progress.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if d.configFile == "" {
				return usage("name the configuration with --config")
			}
			if cmd.Flags().Changed("workers") {
				d.workers = &workers
			}
			return d.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&d.configFile, "config", "", "configuration `file` (YAML)")
	cmd.Flags().StringVar(&d.stateFile, "state", "", "state `file` (default: the configuration's, else $XDG_STATE_HOME/iksync/iksync.db)")
	addNewRootFlag(cmd.Flags(), &d.newRoot)
	addWorkersFlag(cmd.Flags(), &workers)
	addLogLevelFlag(cmd.Flags(), &d.logLevel)
	return cmd
}

func (d *daemon) run(ctx context.Context) (err error) {
	cfg, err := d.load()
	if err != nil {
		return err
	}
	if d.level, err = zap.ParseAtomicLevel(cfg.LogLevel); err != nil {
		return exit(exitConfig, err)
	}
	d.log = newLog(d.err, d.level, cfg.LogFormat, d.terminal, d.getenv("JOURNAL_STREAM") != "")
	d.notify = newNotifier(d.getenv, d.log)
	defer func() {
		for _, lock := range d.locks {
			err = errors.Join(err, lock.Close())
		}
	}()
	hup := make(chan os.Signal, 1) // from here on it does not end the process
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	if err := d.open(ctx, cfg); errors.Is(err, context.Canceled) {
		return nil // told to stop meanwhile
	} else if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.db.Close()) }()
	d.operator = newOperator(d)
	sampling, endSampling := context.WithCancel(context.Background())
	var sampled sync.WaitGroup
	sampled.Go(func() { d.operator.sample(sampling) })
	defer sampled.Wait()
	defer endSampling()
	server, err := control.Listen(d.db.Path(), d.operator.actions(), d.handlers())
	if err != nil {
		d.log.Warn("commands can't talk to this daemon", zap.Error(err))
	} else {
		defer func() { err = errors.Join(err, server.Close()) }()
	}
	d.site.d, d.telling.d = d, d
	defer d.telling.close()
	defer func() { err = errors.Join(err, d.site.close()) }()
	d.onSecondSignal(d.breakOff)
	return d.follow(ctx, cfg, hup)
}

// open opens the state file, which may take long when it is brought up to date.
func (d *daemon) open(ctx context.Context, cfg *config.Config) error {
	path, err := d.statePath(d.stateFile, cfg.State)
	if err != nil {
		return err
	}
	if err := outsideRoots("the state file", path, cfg.Roots); err != nil {
		return err
	}
	if cfg.Page.Network == "unix" {
		if err := outsideRoots("the socket of the page", cfg.Page.Addr, cfg.Roots); err != nil {
			return err
		}
	}
	stop := d.notify.starting()
	defer stop()
	if d.db, err = openState(ctx, path); err != nil {
		return err
	}
	d.q = newQueue(d.db)
	if n, err := d.q.Recover(ctx); err != nil {
		return errors.Join(err, d.db.Close())
	} else if n > 0 {
		d.log.Info("uploads that were in flight when iksync ended are tried again", zap.Int64("jobs", n))
	}
	return nil
}

func (d *daemon) load() (*config.Config, error) {
	if d.configured != nil {
		return d.configured()
	}
	cfg, err := config.LoadForDaemon(d.configFile)
	if err != nil {
		return nil, exit(exitConfig, err)
	}
	d.fromSurroundings(cfg, d.configFile)
	if err := cfg.Override(d.workers, d.logLevel); err != nil {
		return nil, misconfigured(err)
	}
	return cfg, nil
}

// breakOff breaks uploads in flight off, those of every generation.
func (d *daemon) breakOff() { d.cutOnce.Do(func() { close(d.cut) }) }

// follow runs generations of the parts, one for each configuration that comes
// with hup, until it is told to stop.
func (d *daemon) follow(ctx context.Context, cfg *config.Config, hup <-chan os.Signal) error {
	var old sync.WaitGroup // generations that let their last uploads finish
	defer old.Wait()
	g, err := d.start(cfg)
	if err != nil {
		return err
	}
	d.operator.follow(g)
	d.db.WaitWhenFull(true) // not before: a start that fails is told and tried again
	d.tryAgain(g, nil)
	if err := d.site.follow(cfg.Page); err != nil {
		return err
	}
	d.telling.follow(g.hooks, cfg.Heartbeat)
	d.notify.ready()
	supervise := time.NewTicker(superviseEvery)
	defer supervise.Stop()
	next := func(why string, with *config.Config) error {
		if trouble := d.db.Trouble(); trouble != nil {
			return fmt.Errorf("the state file can't be written at present: %w", trouble) // nothing would be supervised until it can
		}
		defer context.AfterFunc(ctx, func() { d.db.WaitWhenFull(false) })()
		fresh, err := d.start(with)
		if err != nil {
			return err
		}
		d.log.Info("begins anew", zap.String("why", why))
		before := g
		before.cancel()
		old.Go(func() { <-before.done })
		g = fresh
		d.operator.follow(g)
		d.telling.follow(g.hooks, with.Heartbeat)
		d.tryAgain(g, before)
		return nil
	}
	for {
		select {
		case <-ctx.Done():
			return d.stop(g, &old)
		case <-g.done:
			d.breakOff()
			return d.ended(g)
		case <-hup:
			d.reload(g, next)
		case <-supervise.C:
			d.site.retry()
			if why := cmp.Or(g.stale(d.getenv), d.decided(ctx, g)); why != "" {
				err := next(why, g.cfg)
				if err == nil {
					continue // the new ones have shown no sign of life yet
				}
				d.log.Error("the parts could not begin anew; the old ones go on", zap.Error(err))
			}
			d.supervise(ctx, g)
		}
	}
}

// stop lets uploads in flight, also those of old generations, finish within the
// grace, then breaks them off.
func (d *daemon) stop(g *generation, old *sync.WaitGroup) error {
	d.log.Info("stopping: uploads in flight may finish; a second signal breaks them off",
		zap.Int64("in_flight", g.pool.Stats().InFlight), zap.Duration("within", g.cfg.ShutdownGrace))
	d.notify.stopping(g.cfg.ShutdownGrace)
	d.db.WaitWhenFull(false) // what can't be written then is asked of the library at the next start
	g.cancel()
	grace := time.AfterFunc(g.cfg.ShutdownGrace, d.breakOff)
	defer grace.Stop()
	<-g.done
	old.Wait()
	if g.err != nil {
		return d.ended(g)
	}
	d.log.Info("stopped")
	return nil
}

// ended turns the end of a generation that nobody asked for into an exit code.
func (d *daemon) ended(g *generation) error {
	if keyRefused(g.err) {
		return exit(exitKey, fmt.Errorf("ImageKit refuses the private key, so nothing more was sent: %w", g.err))
	}
	return exit(exitFailed, g.err)
}

// reload reads the configuration again and begins anew with it.
func (d *daemon) reload(g *generation, next func(string, *config.Config) error) {
	d.notify.reloading()
	defer d.notify.ready()
	cfg, err := d.load()
	if err == nil {
		err = d.sameState(cfg)
	}
	if err != nil {
		d.log.Error("the new configuration is refused; the old one stays", zap.Error(err))
		return
	}
	before := g.cfg
	if err := next("the configuration was read again", cfg); err != nil {
		d.log.Error("the new configuration is refused; the old one stays", zap.Error(err))
		return
	}
	if err := d.site.follow(cfg.Page); err != nil {
		d.log.Error("end the page at its old address", zap.Error(err))
	}
	if level, err := zap.ParseAtomicLevel(cfg.LogLevel); err == nil {
		d.level.SetLevel(level.Level())
	}
	d.log.Info("the configuration was read again", zap.Strings("changes", before.Diff(cfg)))
}

// sameState refuses another state file, which only a restart can change.
func (d *daemon) sameState(cfg *config.Config) error {
	path, err := d.statePath(d.stateFile, cfg.State)
	if err != nil {
		return err
	}
	here, err := os.Stat(d.db.Path())
	if err != nil {
		return err
	}
	there, err := os.Stat(path)
	if err != nil || !os.SameFile(here, there) {
		return fmt.Errorf("the state file can't be changed to %s while iksync runs: restart it", path)
	}
	return nil
}

// supervise feeds the watchdog while every part makes progress, and tells how
// it stands.
func (d *daemon) supervise(ctx context.Context, g *generation) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if trouble := d.db.Trouble(); trouble != nil {
		if !d.full {
			d.log.Error("the state file can't be written: uploads wait, what is done already is kept in memory, and all goes on by itself", zap.Error(trouble))
		}
		d.full = true
		d.notify.alive()
		d.notify.status("the state file can't be written, uploads wait: " + trouble.Error())
		return
	}
	if d.full {
		d.full = false
		d.log.Info("the state file can be written again")
	}
	if why := d.stuck(ctx, g); why != "" {
		d.log.Error("no progress: the watchdog is not fed", zap.String("part", why))
		return
	}
	d.notify.alive()
	if !d.notify.wantsStatus() {
		return
	}
	status, err := d.operator.status(ctx)
	if err != nil {
		d.log.Warn("the queue can't be read", zap.Error(err))
		return
	}
	d.notify.status(oneLine(status))
}

// maxSilence is after how long without a sign of life a part is stuck.
const maxSilence = 90 * time.Second

func (d *daemon) stuck(ctx context.Context, g *generation) string {
	if time.Since(g.pool.Alive()) > maxSilence {
		return "uploader"
	}
	for _, w := range g.watchers {
		if time.Since(w.Stats().Alive) > maxSilence {
			return "watcher"
		}
	}
	wrote := make(chan error, 1)
	d.db.WriteLater(state.Relaxed, func(*state.Tx) error { return nil }, func(err error) { wrote <- err })
	select {
	case <-wrote:
		return ""
	case <-ctx.Done():
		return "state file"
	}
}

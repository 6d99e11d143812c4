package main

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"
)

// notifier tells the service manager how the daemon stands; without one it does
// nothing.
type notifier struct {
	log        *zap.Logger
	wanted     bool
	watchdog   bool
	lastStatus time.Time
}

func newNotifier(getenv func(string) string, log *zap.Logger) *notifier {
	usec, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64)
	return &notifier{log: log, wanted: getenv("NOTIFY_SOCKET") != "", watchdog: err == nil && usec > 0}
}

func (n *notifier) send(state string) {
	if !n.wanted {
		return
	}
	if _, err := systemd.SdNotify(false, state); err != nil {
		n.log.Warn("the service manager can't be told", zap.String("state", state), zap.Error(err))
	}
}

// startTick is how often a start that takes long asks for more time.
const startTick = 10 * time.Second

// starting asks for more time until the returned function is called.
func (n *notifier) starting() func() {
	n.send("STATUS=opening the state file")
	stop := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		ticker := time.NewTicker(startTick)
		defer ticker.Stop()
		for {
			n.send("EXTEND_TIMEOUT_USEC=" + microseconds(3*startTick))
			select {
			case <-stop:
				return
			case <-ticker.C:
			}
		}
	})
	return func() { close(stop); ended.Wait() }
}

func (n *notifier) ready() { n.send(systemd.SdNotifyReady) }

func (n *notifier) reloading() {
	// systemd 253 and newer want the time with Type=notify-reload; older ones ignore it.
	n.send(systemd.SdNotifyReloading + "\n" + systemd.SdNotifyMonotonicUsec())
}

func (n *notifier) stopping(grace time.Duration) {
	n.send(systemd.SdNotifyStopping + "\nSTATUS=stopping: uploads in flight may finish\nEXTEND_TIMEOUT_USEC=" + microseconds(grace+startTick))
}

// alive feeds the watchdog.
func (n *notifier) alive() {
	if n.watchdog {
		n.send(systemd.SdNotifyWatchdog)
	}
}

func (n *notifier) wantsStatus() bool {
	return n.wanted && time.Since(n.lastStatus) >= statusEvery
}

func (n *notifier) status(line string) {
	n.lastStatus = time.Now()
	n.send("STATUS=" + line)
}

func microseconds(d time.Duration) string { return fmt.Sprint(d.Microseconds()) }

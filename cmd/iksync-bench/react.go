package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"iksync/uploader/emulator"
)

// A new file is made every probeEvery, whether the one before has arrived or not.
const probeEvery = 50 * time.Millisecond

func reactRow(samples int, sizes ...int) row {
	return row{
		name: "react", goal: "p50 < 5 ms, p99 < 50 ms", takes: "2 min, 500 MB",
		text: fmt.Sprintf("close of a new file to its request, beyond the settle time, %s and %s directories watched (with a backlog: see first)", count(sizes[0]), count(sizes[1])),
		prepare: func(ctx context.Context, b *bench, dir string) (func(context.Context) ([]result, error), error) {
			var trees []*tree
			for i, dirs := range sizes {
				t := photos(filepath.Join(dir, fmt.Sprint(i), "tree"), dirs, 1)
				for n := range dirs {
					if err := errors.Join(ctx.Err(), os.MkdirAll(t.path(t.dir(n)), 0o755)); err != nil {
						return nil, err
					}
				}
				trees = append(trees, t)
			}
			return func(ctx context.Context) (results []result, err error) {
				for _, t := range trees {
					r, err := b.react(ctx, t, samples)
					if err != nil {
						return nil, err
					}
					results = append(results, r)
				}
				return results, nil
			}, nil
		},
	}
}

// react starts a daemon on the directories of a tree and measures its reaction.
func (b *bench) react(ctx context.Context, t *tree, samples int) (result, error) {
	s, err := startServer(emulator.Options{}, 0)
	if err != nil {
		return result{}, err
	}
	defer s.close()
	work, err := os.MkdirTemp(b.dir, "react-")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(work)
	d, err := b.daemon(ctx, work, t.at, s)
	if err != nil {
		return result{}, err
	}
	defer d.stop()
	if _, err := d.await(ctx, d.scanned); err != nil {
		return result{}, err
	}
	if err := d.watched(); err != nil {
		return result{}, err
	}
	p := &probes{s: s, dir: func(i int) string { return t.path(t.dir(i * 37 % t.files)) }, every: probeEvery, most: samples}
	defer p.remove()
	if err := p.run(ctx, nil); err != nil {
		return result{}, d.trouble(err)
	}
	spent, err := d.stop()
	if err != nil {
		return result{}, err
	}
	r := result{name: count(t.files) + " directories"}
	p.figures(&r, "")
	r.add("peak-B", float64(spent.rss))
	return r, s.close()
}

// probes are new files whose requests are waited for.
type probes struct {
	s     *server
	dir   func(i int) string // where the i-th is made
	every time.Duration      // between two
	most  int                // 0 is no bound

	made   []string
	closed map[string]time.Time // of those that have not arrived
	beyond []time.Duration
}

// run makes probes until there are enough of them, or until is closed; and waits for
// the last.
func (p *probes) run(ctx context.Context, until <-chan struct{}) error {
	p.closed = make(map[string]time.Time)
	p.s.awaits.Store(true)
	defer p.s.awaits.Store(false)
	ticker := time.NewTicker(p.every)
	defer ticker.Stop()
	over := false
	for {
		over = over || p.most > 0 && len(p.made) >= p.most
		if over && len(p.closed) == 0 {
			return nil
		}
		select {
		case a := <-p.s.arrived:
			if closed, ok := p.closed[a.name]; ok { // else it is sent a second time
				p.beyond = append(p.beyond, a.at.Sub(closed)-settle)
				delete(p.closed, a.name)
			}
		case <-ticker.C:
			if !over {
				if err := p.make(); err != nil {
					return err
				}
			}
		case <-until:
			over, until = true, nil
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Minute): // without any of them, once no more are made
			return fmt.Errorf("%d of %d new files were not uploaded within ten minutes", len(p.closed), len(p.made))
		}
	}
}

func (p *probes) make() error {
	name := fmt.Sprintf("awaited-%d.jpg", time.Now().UnixNano())
	at := filepath.Join(p.dir(len(p.made)), name)
	if err := os.WriteFile(at, []byte(name), 0o644); err != nil {
		return err
	}
	p.made, p.closed[name] = append(p.made, at), time.Now()
	return nil
}

// figures adds what came of it.
func (p *probes) figures(r *result, prefix string) {
	slices.Sort(p.beyond)
	n := len(p.beyond)
	if n == 0 {
		return
	}
	r.add(prefix+"p50-ns", float64(p.beyond[n/2]))
	r.add(prefix+"p99-ns", float64(p.beyond[n*99/100]))
	r.add(prefix+"most-ns", float64(p.beyond[n-1]))
}

func (p *probes) remove() {
	for _, at := range p.made {
		_ = os.Remove(at)
	}
}

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// result is what one thing came to in one run.
type result struct {
	name    string // such as "floor" or "iksync"
	against string // the result that its ratios are to; "" has none
	figures []figure
	note    string // to be said beside it
}

// figure is one measure. Its unit says how it is shown and is what benchstat goes
// by: "ns/op" is the time on the clock, what ends in "ns" a time, what ends in "B"
// bytes.
type figure struct {
	unit  string
	value float64
}

func (r *result) add(unit string, value float64) { r.figures = append(r.figures, figure{unit, value}) }

// ratios are the units whose ratios are shown.
var ratios = []string{"ns/op", "cpu-ns", "jobs/s"}

func (r *result) value(unit string) (float64, bool) {
	for _, f := range r.figures {
		if f.unit == unit {
			return f.value, true
		}
	}
	return 0, false
}

// report shows results to people, and writes them for benchstat.
type report struct {
	out  io.Writer
	file *os.File // nil without -o
	text *bufio.Writer
}

func newReport(out io.Writer, file string) (*report, error) {
	r := &report{out: out}
	if file == "" {
		return r, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	r.file, r.text = f, bufio.NewWriter(f)
	fmt.Fprintf(r.text, "goos: %s\ngoarch: %s\npkg: iksync/cmd/iksync-bench\n", runtime.GOOS, runtime.GOARCH)
	for _, unit := range []string{"files/s", "jobs/s", "uploads/s", "records-made/s"} {
		fmt.Fprintf(r.text, "Unit %s better=higher\n", unit)
	}
	return r, nil
}

func (r *report) close() error {
	if r.file == nil {
		return nil
	}
	if err := r.text.Flush(); err != nil {
		return err
	}
	return r.file.Close()
}

func (r *report) begin(w *row) {
	fmt.Fprintf(r.out, "%s: %s\n  goal: %s\n", w.name, w.text, w.goal)
}

// end tells the medians of a row's runs.
func (r *report) end(w *row, runs [][]result, made, took time.Duration) error {
	medians := make([]result, len(runs[0]))
	for i := range medians {
		medians[i] = median(runs, i)
	}
	for i := range medians {
		fmt.Fprintln(r.out, "  "+show(&medians[i], medians))
	}
	fmt.Fprintf(r.out, "  (medians of %d; %s to make the corpus, %s in all)\n\n", len(runs), made.Round(time.Second/10), took.Round(time.Second/10))
	if r.file == nil {
		return nil
	}
	for _, run := range runs {
		for _, res := range run {
			fmt.Fprintf(r.text, "Benchmark%s%s/%s 1", strings.ToUpper(w.name[:1]), w.name[1:], strings.ReplaceAll(res.name, " ", "_"))
			for _, f := range res.figures {
				fmt.Fprintf(r.text, " %s %s", strconv.FormatFloat(f.value, 'f', -1, 64), f.unit)
			}
			fmt.Fprintln(r.text)
		}
	}
	return r.text.Flush() // what was measured so far is kept if the next row fails
}

// median takes of the i-th result each figure's own median.
func median(runs [][]result, i int) result {
	m := runs[0][i]
	m.figures = slices.Clone(m.figures)
	for k := range m.figures {
		values := make([]float64, 0, len(runs))
		for _, run := range runs {
			if v, ok := run[i].value(m.figures[k].unit); ok {
				values = append(values, v)
			}
		}
		slices.Sort(values)
		m.figures[k].value = values[len(values)/2]
	}
	return m
}

// show is a result as a line.
func show(r *result, all []result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-26s", r.name)
	for _, f := range r.figures {
		b.WriteString("  " + f.String())
		base := slices.IndexFunc(all, func(o result) bool { return r.against != "" && o.name == r.against })
		if base < 0 || !slices.Contains(ratios, f.unit) {
			continue
		}
		if v, ok := all[base].value(f.unit); ok && v > 0 {
			fmt.Fprintf(&b, " (%.2f x)", f.value/v)
		}
	}
	if r.note != "" {
		b.WriteString("  " + r.note)
	}
	return b.String()
}

// String is the figure as people read it.
func (f figure) String() string {
	word := strings.TrimSuffix(f.unit, "/op")
	switch {
	case f.unit == "ns/op":
		return duration(f.value)
	case strings.HasSuffix(word, "-ns"):
		return strings.TrimSuffix(word, "-ns") + " " + duration(f.value)
	case strings.HasSuffix(word, "-B"):
		return strings.TrimSuffix(word, "-B") + " " + humanize.IBytes(uint64(f.value))
	case strings.HasSuffix(word, "%"):
		return fmt.Sprintf("%s %.3f %%", strings.TrimSuffix(word, "-%"), f.value)
	}
	return humanize.Commaf(float64(int64(f.value+0.5))) + " " + word
}

// duration is to three figures.
func duration(ns float64) string {
	d := time.Duration(ns)
	for unit := time.Duration(1); ; unit *= 10 {
		if d < 1000*unit || unit > time.Second {
			return d.Round(max(unit, time.Microsecond)).String()
		}
	}
}

package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"iksync/uploader"
)

// leastBandwidth is what all uploads need together so that each of them moves on
// before it counts as stalled.
const leastBandwidth = 16 << 10

const bandwidthHelp = `write one such as 20MB/s, "off", or a timetable such as "08:00-18:00 2MB/s; 22:00-06:00 off; else 10MB/s"`

// bandwidth reads a limit of bytes a second, or a timetable of them.
func (c *checker) bandwidth(path, value string) uploader.Rates {
	rates, err := parseBandwidth(value)
	if err != nil {
		c.at(path, "%q is not a bandwidth: %v; %s", value, err, bandwidthHelp)
	}
	return rates
}

func parseBandwidth(value string) (r uploader.Rates, err error) {
	if strings.TrimSpace(value) == "" {
		return r, nil
	}
	parts := strings.Split(value, ";")
	otherwise := false
	for _, part := range parts {
		when, speed, two := strings.Cut(strings.TrimSpace(part), " ")
		if !two {
			if len(parts) > 1 {
				return r, fmt.Errorf("%q lacks a time or a speed", strings.TrimSpace(part))
			}
			when, speed = "else", when
		}
		bytes, err := parseSpeed(strings.TrimSpace(speed))
		if err != nil {
			return r, err
		}
		if when == "else" {
			if otherwise {
				return r, fmt.Errorf("else is there twice")
			}
			otherwise, r.Else = true, bytes
			continue
		}
		from, to, ok := strings.Cut(when, "-")
		p := uploader.Period{Rate: bytes}
		if ok {
			p.From, err = parseTime(from)
		}
		if ok && err == nil {
			p.To, err = parseTime(to)
		}
		if !ok || err != nil {
			return r, fmt.Errorf("%q is not a time such as 08:00-18:00", when)
		}
		if p.From == p.To {
			return r, fmt.Errorf("%s is no time at all", when)
		}
		r.Periods = append(r.Periods, p)
	}
	return r, nil
}

func parseSpeed(s string) (int64, error) {
	if s == "off" {
		return 0, nil
	}
	size, ok := strings.CutSuffix(s, "/s")
	n, err := humanize.ParseBytes(size)
	if !ok || err != nil || n > 1<<50 {
		return 0, fmt.Errorf("%q is not a speed such as 20MB/s or 500KiB/s, in bytes", s)
	}
	if n < leastBandwidth {
		return 0, fmt.Errorf("%s is less than %s/s", s, humanize.IBytes(leastBandwidth))
	}
	return int64(n), nil
}

// parseTime reads hours and minutes; 24:00 is the end of the day.
func parseTime(s string) (time.Duration, error) {
	h, m, ok := strings.Cut(s, ":")
	hours, err1 := strconv.ParseUint(h, 10, 8)
	minutes, err2 := strconv.ParseUint(m, 10, 8)
	if !ok || err1 != nil || err2 != nil || len(m) != 2 || minutes > 59 || hours > 24 || hours == 24 && minutes > 0 {
		return 0, fmt.Errorf("%q is not a time", s)
	}
	return time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute, nil
}

package config

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"iksync/uploader"
)

func TestBandwidthIsASpeedOrATimetable(t *testing.T) {
	t.Parallel()
	const mb = 1_000_000
	hour := func(h int) time.Duration { return time.Duration(h) * time.Hour }
	for value, want := range map[string]uploader.Rates{
		"":                            {},
		"off":                         {},
		"20MB/s":                      {Else: 20 * mb},
		"500KiB/s":                    {Else: 500 << 10},
		" 20MB/s ":                    {Else: 20 * mb},
		"1 MB/s":                      {Else: -1},
		"else 3MB/s":                  {Else: 3 * mb},
		"08:00-18:00 2MB/s; else off": {Periods: []uploader.Period{{From: hour(8), To: hour(18), Rate: 2 * mb}}},
		"8:00-18:30 2MB/s; 22:00-24:00 off; else 4MB/s": {
			Periods: []uploader.Period{{From: hour(8), To: hour(18) + 30*time.Minute, Rate: 2 * mb}, {From: hour(22), To: hour(24)}}, Else: 4 * mb,
		},
		"22:00-06:00 9MB/s":            {Periods: []uploader.Period{{From: hour(22), To: hour(6), Rate: 9 * mb}}},
		"20MB":                         {Else: -1},
		"20":                           {Else: -1},
		"fast":                         {Else: -1},
		"1B/s":                         {Else: -1},
		"-5MB/s":                       {Else: -1},
		"08:00-08:00 2MB/s":            {Else: -1},
		"08:00-25:00 2MB/s":            {Else: -1},
		"08:60-09:00 2MB/s":            {Else: -1},
		"08:00 2MB/s":                  {Else: -1},
		"else 2MB/s; else 3MB/s":       {Else: -1},
		"08:00-18:00 2MB/s;":           {Else: -1},
		"2MB/s; 08:00-18:00 3MB/s":     {Else: -1},
		"99999999999999999999999PB/s":  {Else: -1},
		"08:00-18:00 2MB/s else 3MB/s": {Else: -1},
	} {
		got, err := parseBandwidth(value)
		if refused := want.Else < 0; refused != (err != nil) {
			t.Errorf("%q: error is %v", value, err)
		} else if !refused && !cmp.Equal(got, want) {
			t.Errorf("%q is %+v, should be %+v", value, got, want)
		}
	}
}

package main

import (
	"bytes"
	"fmt"
	"io"
	"time"
	"unicode"

	"go.uber.org/zap"
	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"
)

// newLog makes the logger: for people on a terminal, JSON elsewhere, with
// priorities where the journal reads it. A message that repeats many times
// within a minute is thinned out.
func newLog(w io.Writer, level zap.AtomicLevel, format string, terminal, journal bool) *zap.Logger {
	enc := zap.NewProductionEncoderConfig()
	enc.TimeKey = "time"
	enc.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	enc.EncodeDuration = zapcore.StringDurationEncoder
	encoder := zapcore.NewJSONEncoder(enc)
	if format == "console" || format == "auto" && terminal {
		enc.EncodeTime = zapcore.TimeEncoderOfLayout(time.TimeOnly)
		enc.EncodeLevel = zapcore.CapitalLevelEncoder
		encoder = terminalEncoder{zapcore.NewConsoleEncoder(enc)}
	}
	out := zapcore.Lock(zapcore.AddSync(w))
	core := zapcore.NewCore(encoder, out, level)
	if journal {
		core = journalCore(encoder, out, level)
	}
	return zap.New(zapcore.NewSamplerWithOptions(core, time.Minute, 20, 1000))
}

// journalCore puts a priority before each line, as sd-daemon(3) describes.
func journalCore(encoder zapcore.Encoder, out zapcore.WriteSyncer, level zap.AtomicLevel) zapcore.Core {
	var cores []zapcore.Core
	for l, prefix := range map[zapcore.Level]string{
		zapcore.DebugLevel: "<7>", zapcore.InfoLevel: "<6>", zapcore.WarnLevel: "<4>", zapcore.ErrorLevel: "<3>",
	} {
		only := zap.LevelEnablerFunc(func(of zapcore.Level) bool {
			return level.Enabled(of) && (of == l || l == zapcore.ErrorLevel && of > l)
		})
		cores = append(cores, zapcore.NewCore(encoder.Clone(), &prefixed{out, prefix}, only))
	}
	return zapcore.NewTee(cores...)
}

// prefixed writes each line with a prefix.
type prefixed struct {
	zapcore.WriteSyncer
	prefix string
}

// Write writes one line, at once.
func (p *prefixed) Write(line []byte) (int, error) {
	n, err := p.WriteSyncer.Write(append([]byte(p.prefix), line...))
	return max(n-len(p.prefix), 0), err
}

// terminalEncoder writes what would act on a terminal as what it is: zap does so
// for the controls of ASCII alone.
type terminalEncoder struct{ zapcore.Encoder }

// Clone copies the encoder.
func (e terminalEncoder) Clone() zapcore.Encoder { return terminalEncoder{e.Encoder.Clone()} }

// EncodeEntry writes one line.
func (e terminalEncoder) EncodeEntry(entry zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	line, err := e.Encoder.EncodeEntry(entry, fields)
	if err != nil || !bytes.ContainsFunc(line.Bytes(), actsOnTerminal) {
		return line, err
	}
	text := line.String()
	line.Reset()
	for _, r := range text {
		if actsOnTerminal(r) {
			fmt.Fprintf(line, `\u%04x`, r)
		} else {
			_, _ = line.WriteString(string(r)) // never fails
		}
	}
	return line, nil
}

// actsOnTerminal reports controls, and the marks that turn the direction of text.
func actsOnTerminal(r rune) bool {
	return unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r)
}

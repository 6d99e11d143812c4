package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"iksync/cmd/iksync/internal/config"
)

// asker asks one question after the other at a terminal.
type asker struct {
	ctx      context.Context
	terminal *os.File
	in       *bufio.Reader
	out      io.Writer
}

// asking returns an asker, or nil when standard input is no terminal.
func (a *app) asking(ctx context.Context) *asker {
	f, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return &asker{ctx: ctx, terminal: f, in: bufio.NewReader(f), out: a.err}
}

// ask returns the answer to a question: what check makes of it, which refuses by an
// error what is no answer. Nothing typed is the usual one; without one it is asked again.
func (q *asker) ask(question, usual string, check func(string) (string, error)) (string, error) {
	prompt := question + ": "
	if usual != "" {
		prompt = question + " [" + usual + "]: "
	}
	for {
		fmt.Fprint(q.out, prompt)
		line, err := orDone(q.ctx, func() (string, error) { return q.in.ReadString('\n') })
		if err != nil {
			fmt.Fprintln(q.out)
			return "", err
		}
		answer := strings.TrimSpace(line)
		if answer == "" {
			answer = usual
		}
		if answer == "" {
			continue
		}
		if config.Hide(answer) != answer {
			fmt.Fprintln(q.out, "  That looks like the private key itself, which is asked for apart.")
			continue
		}
		if check == nil {
			return answer, nil
		}
		answer, err = check(answer)
		if err == nil {
			return answer, nil
		}
		fmt.Fprintf(q.out, "  %v\n", err)
	}
}

// choose asks for one of some words.
func (q *asker) choose(question, usual string, words ...string) (string, error) {
	return q.ask(question+" ("+strings.Join(words, ", ")+")", usual, func(answer string) (string, error) {
		return oneOf(answer, words...)
	})
}

func oneOf(answer string, words ...string) (string, error) {
	for _, word := range words {
		if strings.EqualFold(answer, word) {
			return word, nil
		}
	}
	return "", fmt.Errorf("%q is none of %s", answer, strings.Join(words, ", "))
}

// yes asks whether something is to be done.
func (q *asker) yes(question string) (bool, error) {
	answer, err := q.choose(question, "no", "yes", "no")
	return answer == "yes", err
}

// secret asks for what the terminal is not to show. That is switched off before the
// question is there, so that nobody is too quick for it.
func (q *asker) secret(question string) (string, error) {
	fd := int(q.terminal.Fd())
	before, err := term.MakeRaw(fd)
	if err != nil {
		return "", fmt.Errorf("hide what is typed: %w", err)
	}
	hidden := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{q.terminal, q.out}, "")
	text, err := orDone(q.ctx, func() (string, error) {
		text, err := hidden.ReadPassword(question + ": ")
		switch {
		case errors.Is(err, io.EOF): // Ctrl-C, which is no signal now
			err = errInterrupted
		case errors.Is(err, term.ErrPasteIndicator):
			err = nil
		}
		return text, err
	})
	if restored := term.Restore(fd, before); err == nil {
		err = restored
	}
	if err != nil {
		fmt.Fprintln(q.out)
	}
	return strings.TrimSpace(text), err
}

var errInterrupted = exit(exitInterrupted, errors.New("interrupted: nothing was written"))

// orDone returns what f does, or ends with ctx. Reading a terminal can't be broken off:
// who is told to stop meanwhile ends the process.
func orDone[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		value, err := f()
		done <- outcome{value, err}
	}()
	var o outcome
	select {
	case o = <-done:
	case <-ctx.Done():
		o.err = ctx.Err()
	}
	switch {
	case errors.Is(o.err, io.EOF):
		o.err = exit(exitFailed, errors.New("the questions end without an answer: nothing was written"))
	case o.err != nil && ctx.Err() != nil:
		o.err = errInterrupted
	}
	return o.value, o.err
}

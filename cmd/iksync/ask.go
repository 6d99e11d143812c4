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

// secret asks for what the terminal is not to show.
func (q *asker) secret(question string) (string, error) {
	fd := int(q.terminal.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	defer func() { _ = term.Restore(fd, before) }() // also when the answer is not waited for
	fmt.Fprint(q.out, question+": ")
	text, err := orDone(q.ctx, func() ([]byte, error) { return term.ReadPassword(fd) })
	fmt.Fprintln(q.out) // the Enter was not shown either
	return strings.TrimSpace(string(text)), err
}

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
		o.err = exit(exitInterrupted, errors.New("interrupted: nothing was written"))
	}
	return o.value, o.err
}

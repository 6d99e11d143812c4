package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// noArguments refuses arguments.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage("%s takes no arguments, and %q is one (see %s --help)", cmd.Name(), args[0], cmd.CommandPath())
	}
	return nil
}

// oneArgument wants one; what says in words what it names.
func oneArgument(what string) cobra.PositionalArgs {
	return cobra.MatchAll(someArguments(what), atMostOne)
}

// someArguments wants at least one; what says in words what they name.
func someArguments(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usage("name %s (see %s --help)", what, cmd.CommandPath())
		}
		return nil
	}
}

// atMostOne refuses a second argument.
func atMostOne(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usage("%s takes one argument, and %d were given (see %s --help)", cmd.Name(), len(args), cmd.CommandPath())
	}
	return nil
}

// knownCommand refuses what is left on a line when no command was found there, and says which
// one may be meant.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	root := cmd.Root()
	found, rest, err := root.Find(args)
	if err == nil && found != root && len(rest) == 0 {
		return nil
	}
	near := root.SuggestionsFor(args[0])
	if len(near) == 0 {
		return usage("unknown command %q: %s --help lists them", strings.Join(args, " "), root.Name())
	}
	return usage("unknown command %q: do you mean %s?", strings.Join(args, " "), strings.Join(near, ", or "))
}

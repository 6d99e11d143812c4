//go:build unix

package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// unreadableFor reports that a user can't list a directory. It is false where that can't
// be told: only root can try it, and only for users that there are.
func unreadableFor(ctx context.Context, name, dir string) bool {
	who, err := user.Lookup(name)
	if os.Geteuid() != 0 || err != nil {
		return false
	}
	credential := &syscall.Credential{}
	groups, err := who.GroupIds()
	if err != nil {
		return false
	}
	for _, id := range append([]string{who.Uid, who.Gid}, groups...) {
		n, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return false
		}
		credential.Groups = append(credential.Groups, uint32(n))
	}
	credential.Uid, credential.Gid, credential.Groups = credential.Groups[0], credential.Groups[1], credential.Groups[2:]
	cmd := exec.CommandContext(ctx, "test", "-r", dir, "-a", "-x", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	var exit *exec.ExitError
	return errors.As(cmd.Run(), &exit) && exit.ExitCode() == 1
}

package uploader

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A FIFO that took the file's place must not block the open.
const openFlags = unix.O_NONBLOCK

// openAtOnce opens a file below a directory by one call of the kernel's that leads to
// nowhere outside of it, as [os.Root] does by one for each name of the path. Where
// the kernel does not do that (before 5.6, forbidden, a rename at the same time) it is
// an error that says nothing about the file.
func openAtOnce(dir *os.File, path string) (*os.File, error) {
	fd, err := unix.Openat2(int(dir.Fd()), path, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NOCTTY | openFlags,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), filepath.Join(dir.Name(), path)), nil
}

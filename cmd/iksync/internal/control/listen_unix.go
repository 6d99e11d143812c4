//go:build unix

package control

import (
	"net"
	"os"
	"path/filepath"
)

// listenPrivately makes the socket so that at no moment others can open it: it
// is bound under another name in a directory of its own and then moved.
func listenPrivately(path string) (net.Listener, error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".s") // 0700; a short name, as the paths of sockets are bounded
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	bound := filepath.Join(dir, "s")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: bound, Net: "unix"})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false)
	err = os.Chmod(bound, 0o600)
	if err == nil {
		err = os.Rename(bound, path)
	}
	if err != nil {
		_ = listener.Close()
		return nil, err
	}
	return &unlinked{UnixListener: listener, path: path}, nil
}

// unlinked removes the socket when it is closed.
type unlinked struct {
	*net.UnixListener
	path string
}

// Close ends the listener and removes its socket.
func (u *unlinked) Close() error {
	_ = os.Remove(u.path) // its owner may have removed it
	return u.UnixListener.Close()
}

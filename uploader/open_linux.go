package uploader

import "golang.org/x/sys/unix"

// A FIFO that took the file's place must not block the open.
const openFlags = unix.O_NONBLOCK

package imagekit

import (
	"context"
	"net"
	"sync"
	"time"
)

// patientConn holds a failed write back for a moment. A server that refuses an
// upload before it has read it answers and resets the connection; net/http
// would then report the failed write, and the answer, which says why, be lost.
type patientConn struct {
	net.Conn
	close  sync.Once
	closed chan struct{}
}

// patience is for an answer that has already come, and need only be read.
const patience = time.Second

func dialer() func(ctx context.Context, network, addr string) (net.Conn, error) {
	d := &net.Dialer{Timeout: 20 * time.Second, KeepAlive: 30 * time.Second}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := d.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &patientConn{Conn: conn, closed: make(chan struct{})}, nil
	}
}

// Write writes. The connection is closed as soon as the answer was read, or
// reading has failed as well.
func (c *patientConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		late := time.NewTimer(patience)
		defer late.Stop()
		select {
		case <-c.closed:
		case <-late.C:
		}
	}
	return n, err
}

// Close closes the connection and lets go of a failed write.
func (c *patientConn) Close() error {
	c.close.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

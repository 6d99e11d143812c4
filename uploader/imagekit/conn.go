package imagekit

import (
	"context"
	"io"
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
	chunks *sync.Pool // of *[]byte, chunk long
}

// chunk is how many bytes of a body are read and sent at a time: a fourth of the system
// calls that io.Copy needs, and 16 of them are still at home in a processor's cache.
const chunk = 128 << 10

// patience is for an answer that has already come, and need only be read.
const patience = time.Second

func dialer() func(ctx context.Context, network, addr string) (net.Conn, error) {
	d := &net.Dialer{Timeout: 20 * time.Second, KeepAlive: 30 * time.Second}
	chunks := &sync.Pool{New: func() any { b := make([]byte, chunk); return &b }}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := d.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &patientConn{Conn: conn, closed: make(chan struct{}), chunks: chunks}, nil
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

// ReadFrom sends what r gives. net/http calls it with the body of a request once its
// headers are sent, unless TLS is in between.
func (c *patientConn) ReadFrom(r io.Reader) (int64, error) {
	b := c.chunks.Get().(*[]byte)
	defer c.chunks.Put(b)
	return io.CopyBuffer(struct{ io.Writer }{c}, r, *b)
}

// Close closes the connection and lets go of a failed write.
func (c *patientConn) Close() error {
	c.close.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

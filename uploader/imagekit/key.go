package imagekit

import "go.uber.org/zap/zapcore"

// Key is a private API key. It prints, logs and marshals as "[redacted]", so
// that it can't reach a log, an error or a page by accident. The zero value is
// no key.
type Key struct {
	// A closure, because fmt calls no methods on unexported fields: a string would
	// be printed with any struct that holds the key in one.
	secret func() string
}

const redacted = "[redacted]"

// NewKey returns the key with the given secret.
func NewKey(secret string) Key {
	if secret == "" {
		return Key{}
	}
	return Key{secret: func() string { return secret }}
}

// IsZero reports whether there is no key.
func (k Key) IsZero() bool { return k.secret == nil }

// Equal reports whether both are the same key.
func (k Key) Equal(other Key) bool {
	if k.IsZero() || other.IsZero() {
		return k.IsZero() == other.IsZero()
	}
	return k.secret() == other.secret()
}

// String returns "[redacted]".
func (k Key) String() string { return redacted }

// GoString returns "[redacted]".
func (k Key) GoString() string { return redacted }

// MarshalText returns "[redacted]".
func (k Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalLogObject logs nothing of the key.
func (k Key) MarshalLogObject(zapcore.ObjectEncoder) error { return nil }

package emulator

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/hex"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// The answers to a missing and to a wrong private key (API authentication).
const (
	noPrivateKey = "Your request does not contain private API key."
	wrongKey     = "Your account cannot be authenticated."
)

// unauthorized checks HTTP Basic authentication: the user is the private key,
// the password does not matter. Upload forms may do without: they can carry a
// signature or token instead, which is known only when they have been read.
func (s *Server) unauthorized(c *call) (refused answer, bad bool) {
	key, _, present := c.BasicAuth()
	switch {
	case c.form && c.Header.Get("Authorization") == "":
		return answer{}, false
	case !present || key == "":
		return refuse(http.StatusUnauthorized, noPrivateKey), true
	case s.options.PrivateKey != "" && !equal(key, s.options.PrivateKey):
		return refuse(http.StatusForbidden, wrongKey), true
	}
	s.keys.add(key)
	return answer{}, false
}

// seenKeys are the private keys that calls have been accepted with. The
// signature of an asset's URL must have been made with one of them.
type seenKeys struct {
	mu   sync.Mutex
	keys []string // the oldest first
}

// maxSeenKeys bounds seenKeys, since any client can bring a new key when every
// key is accepted.
const maxSeenKeys = 64

func (k *seenKeys) add(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if slices.Contains(k.keys, key) {
		return
	}
	if len(k.keys) == maxSeenKeys {
		k.keys = slices.Delete(k.keys, 0, 1)
	}
	k.keys = append(k.keys, key)
}

func (k *seenKeys) all() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.keys)
}

// checkSignature judges the client-side authentication of a V1 form:
// HMAC-SHA1 of token and expire, keyed with the private key. Without
// Options.PrivateKey every signature is good.
func (s *Server) checkSignature(f *form, now time.Time) (refused answer, bad bool) {
	expire, err := strconv.ParseInt(f.fields["expire"], 10, 64)
	until := time.Unix(expire, 0)
	if left := until.Sub(now); err != nil || left <= 0 || left > time.Hour {
		return badRequest("Your request contains invalid expire parameter. Expire parameter should be a Unix time in less than 1 hour into the future."), true
	}
	token, has := f.field("token")
	if !has {
		return badRequest("Your request is missing token parameter."), true
	}
	if key := s.options.PrivateKey; key != "" && (f.fields["publicKey"] == "" || !equal(f.fields["signature"], sign(key, token+f.fields["expire"]))) {
		return refuse(http.StatusForbidden, wrongKey), true
	}
	if s.used(token, until, now) {
		return badRequest(usedToken), true
	}
	return answer{}, false
}

// usedToken refuses a token that an earlier request has brought, even if that
// request failed. ImageKit's own text is not documented.
const usedToken = "Your request contains invalid token parameter. The token has been used already."

// used notes a token whose signature is good and says whether it was noted
// before. Its validity ends at until: after that it is refused anyway.
func (s *Server) used(token string, until, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, before := s.tokens[token]; before {
		return true
	}
	maps.DeleteFunc(s.tokens, func(_ string, until time.Time) bool { return until.Before(now) })
	s.tokens[token] = until
	return false
}

// sign is ImageKit's signature of a text: HMAC-SHA1 in hex.
func sign(privateKey, text string) string {
	mac := hmac.New(sha1.New, []byte(privateKey))
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

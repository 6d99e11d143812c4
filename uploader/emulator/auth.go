package emulator

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"strconv"
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
	return answer{}, false
}

// checkSignature judges the client-side authentication of a V1 form:
// HMAC-SHA1 of token and expire, keyed with the private key. Without
// Options.PrivateKey every signature is good.
func (s *Server) checkSignature(f *form, now time.Time) (refused answer, bad bool) {
	expire, err := strconv.ParseInt(f.fields["expire"], 10, 64)
	if until := time.Unix(expire, 0).Sub(now); err != nil || until <= 0 || until > time.Hour {
		return badRequest("Your request contains invalid expire parameter. Expire parameter should be a Unix time in less than 1 hour into the future."), true
	}
	if s.options.PrivateKey == "" {
		return answer{}, false
	}
	want := s.sign(f.fields["token"] + f.fields["expire"])
	if f.fields["publicKey"] == "" || !equal(f.fields["signature"], want) {
		return refuse(http.StatusForbidden, wrongKey), true
	}
	return answer{}, false
}

// sign is ImageKit's signature of a text: HMAC-SHA1 in hex.
func (s *Server) sign(text string) string {
	mac := hmac.New(sha1.New, []byte(s.options.PrivateKey))
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

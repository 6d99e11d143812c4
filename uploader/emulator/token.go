package emulator

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// The refusals of a V2 token.
const (
	invalidToken    = "Your request has invalid token."
	expiredToken    = "Your request contains expired token."
	mismatchedToken = "Your request contains invalid payload. It does not match with the payload used to generate token."
)

// checkToken judges a V2 token: a JWT (HS256, keyed with the private key) whose
// claims are the form's fields with iat and exp. Empty means it is good. Without
// Options.PrivateKey the signature is not checked.
func (s *Server) checkToken(token string, f *form, now time.Time) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return invalidToken
	}
	var header struct {
		Alg string `json:"alg"`
	}
	var claims map[string]any
	if !decodeSegment(parts[0], &header) || !decodeSegment(parts[1], &claims) || header.Alg != "HS256" {
		return invalidToken
	}
	if key := s.options.PrivateKey; key != "" {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write([]byte(parts[0] + "." + parts[1]))
		if !equal(parts[2], base64.RawURLEncoding.EncodeToString(mac.Sum(nil))) {
			return invalidToken
		}
	}
	expiry, ok := claims["exp"].(float64)
	switch {
	case !ok:
		return invalidToken
	case float64(now.Unix()) >= expiry:
		return expiredToken
	}
	// A token counts as used even when it does not fit its form.
	if s.used(token, time.Unix(int64(expiry), 0), now) {
		return usedToken
	}
	for name, value := range claims {
		if name != "iat" && name != "exp" && fmt.Sprint(value) != f.fields[name] {
			return mismatchedToken
		}
	}
	for name, value := range f.fields {
		if _, claimed := claims[name]; name != "token" && value != "" && !claimed {
			return mismatchedToken
		}
	}
	return ""
}

func decodeSegment(segment string, v any) bool {
	raw, err := base64.RawURLEncoding.DecodeString(segment)
	return err == nil && json.Unmarshal(raw, v) == nil
}

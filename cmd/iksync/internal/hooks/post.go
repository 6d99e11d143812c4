package hooks

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// errRefused says that a receiver will not take the events either next time.
var errRefused = errors.New("the receiver refuses them")

// post sends events as one request.
func post(ctx context.Context, client *http.Client, h *Hook, events []Event, now time.Time) error {
	body, err := json.Marshal(struct {
		Events []Event `json:"events"`
	}{events})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return withoutURL(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "iksync")
	if h.Secret != "" {
		req.Header.Set("X-Iksync-Signature", Sign(h.Secret, now, body))
	}
	res, err := client.Do(req)
	if err != nil {
		return withoutURL(err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection can be used again
	switch s := res.StatusCode; {
	case s >= 200 && s < 300:
		return nil
	case s == http.StatusTooManyRequests, s == http.StatusRequestTimeout, s >= 500:
		return fmt.Errorf("it answers %s", res.Status)
	default:
		return fmt.Errorf("%w: it answers %s", errRefused, res.Status)
	}
}

// withoutURL keeps a URL, which may hold a secret, out of an error.
func withoutURL(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}

// Sign makes the value of X-Iksync-Signature: t=SECONDS,v1=HEX, where HEX is the
// HMAC-SHA256, under the secret, of the seconds since 1970, a point, and the body.
func Sign(secret string, now time.Time, body []byte) string {
	t := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(t + "."))
	mac.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

package imagekit

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	signatureParameter = "ik-s"
	expiryParameter    = "ik-t"

	// signedFor is how long a signed URL is valid. It bounds what a URL is worth that
	// somebody has seen on its way, and leaves room for a clock that is wrong.
	signedFor = time.Hour
)

// signer gives what signs texts with a key.
func signer(key Key) func(string) string {
	return func(text string) string {
		mac := hmac.New(sha1.New, []byte(key.secret()))
		mac.Write([]byte(text))
		return hex.EncodeToString(mac.Sum(nil))
	}
}

// DownloadSigned is [Client.Download] of a private file, or of any where the account
// serves signed URLs alone. filePath is the asset's, and rawURL must end with it, but for
// a query. The signed URL is a secret: nothing that DownloadSigned returns holds it.
func (c *Client) DownloadSigned(ctx context.Context, rawURL, filePath string) (io.ReadCloser, error) {
	signed, signature, err := c.signedURL(rawURL, filePath, time.Now().Add(signedFor))
	if err != nil {
		return nil, unsendable("download", err.Error())
	}
	hideSignature := hider(signature)
	own := *c
	own.hide = func(text []byte) []byte { return hideSignature(c.hide(text)) }
	return own.Download(ctx, signed)
}

// signedURL signs a URL. The signature is of what stands behind the slash of the URL's
// endpoint, with its query, and of the time until which the URL is valid (Unix seconds).
func (c *Client) signedURL(rawURL, filePath string, until time.Time) (signed, signature string, err error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", "", errors.New("the file's URL can't be read") // a signature may be in it
	}
	var query []string
	for _, parameter := range strings.Split(u.RawQuery, "&") {
		if name, _, _ := strings.Cut(parameter, "="); name != "" && name != signatureParameter && name != expiryParameter {
			query = append(query, parameter)
		}
	}
	below, ok := belowEndpoint(u.EscapedPath(), filePath)
	if !ok {
		return "", "", errors.New("the file's URL can't be signed, because it does not end with the file's path")
	}
	text := below
	if len(query) > 0 {
		text += "?" + strings.Join(query, "&")
	}
	expiry := strconv.FormatInt(until.Unix(), 10)
	signature = c.sign(text + expiry)
	u.RawQuery = strings.Join(append(query, expiryParameter+"="+expiry, signatureParameter+"="+signature), "&")
	return u.String(), signature, nil
}

// belowEndpoint gives the part of a URL's path that is an asset's path, without the slash
// at its begin, as it is written there.
func belowEndpoint(escaped, filePath string) (below string, ok bool) {
	segments := strings.Split(escaped, "/")
	n := strings.Count(filePath, "/")
	if n == 0 || n >= len(segments) {
		return "", false
	}
	below = strings.Join(segments[len(segments)-n:], "/")
	path, err := url.PathUnescape(below)
	return below, err == nil && "/"+path == filePath
}

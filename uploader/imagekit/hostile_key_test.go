package imagekit_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"iksync/uploader/imagekit"
)

// forms are the ways in which servers repeat what they were sent.
func forms(t testing.TB) map[string]string {
	escaped := func(s string) string {
		var b strings.Builder
		for _, r := range s {
			fmt.Fprintf(&b, `\u%04X`, r)
		}
		return b.String()
	}
	header := "Basic " + secretBase64
	quoted, err := json.Marshal(fmt.Sprintf(`{"key":"%s"}`, strings.ReplaceAll(secret, "=", `\u003d`)))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"the key":                       secret,
		"the header":                    header,
		"the key as Gson writes it":     strings.ReplaceAll(secret, "=", `\u003d`),
		"the header as Gson writes it":  strings.ReplaceAll(header, "=", `\u003d`),
		"the key escaped":               escaped(secret),
		"the header escaped":            escaped(header),
		"the key in JSON in JSON":       strings.Trim(string(quoted), `"`),
		"the key of a URL":              strings.ReplaceAll(secret, "=", "%3D"),
		"the header without its ending": strings.TrimRight(header, "="),
		"the key many times":            strings.Repeat(secret+secretBase64, 100),
	}
}

// Errors are logged and listed, and assets recorded with the whole answer.
func TestAKeyThatIsRepeatedInAnyFormIsTakenOut(t *testing.T) {
	for name, form := range forms(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Run("in a refusal", func(t *testing.T) {
				c := newClient(t, serve(t, drained(400, map[string]string{"x-ik-requestId": form},
					`{"message":"bad `+form+`","help":"`+form+`","reason":"`+form+`"}`)))
				for _, call := range everyCall {
					e := apiError(t, call.do(t.Context(), c))
					if text := fmt.Sprintf("%+v", *e); hasSecret(text) || hasCore(text) || !strings.Contains(text, "[redacted]") {
						t.Errorf("%s: %s", call.name, text)
					}
				}
			})
			t.Run("in an answer that is no good", func(t *testing.T) {
				c := newClient(t, serve(t, drained(200, nil, `{"fileId":"`+form+` ","filePath":"`+form+`","size":1,"jobId":"","status":"`+form+`","errors":[{"fileId":"0123456789abcdef01234567","error":"`+form+`"}]}`)))
				for _, call := range everyCall {
					if call.good == "{}" || call.name == "batchDelete" {
						continue // it takes this for good
					}
					if e := apiError(t, call.do(t.Context(), c)); hasCore(fmt.Sprintf("%+v", *e)) {
						t.Errorf("%s: %+v", call.name, e)
					}
				}
				_, refused, err := c.DeleteFiles(t.Context(), []string{"0123456789abcdef01234567"})
				if text := fmt.Sprint(refused, err); hasCore(text) || !strings.Contains(text, "[redacted]") {
					t.Errorf("delete: %s", text)
				}
			})
			t.Run("in an asset", func(t *testing.T) {
				body := `{"fileId":"1","name":"` + form + `","filePath":"/` + form + `","url":"https://ik.example/` + form + `","size":1,"versionInfo":{"id":"` + form + `"},"userAgent":"` + form + `"}`
				c := newClient(t, serve(t, drained(200, nil, body)))
				for _, size := range sizes {
					asset, err := c.Upload(t.Context(), upload(size))
					if err != nil {
						t.Fatal(err)
					}
					if text := fmt.Sprintf("%+v %s", *asset, asset.Raw); hasCore(text) || !strings.Contains(text, "[redacted]") {
						t.Error(text)
					}
					// What is recorded must not hold it behind escapes either.
					var fields map[string]any
					if err := json.Unmarshal(asset.Raw, &fields); err != nil || hasCore(fmt.Sprint(fields)) {
						t.Errorf("%v, %v", fields, err)
					}
				}
			})
		})
	}
}

// hasCore looks for the key, and what it is in the header, without the "=" that
// some leave away.
func hasCore(text string) bool {
	return hasSecret(text) || strings.Contains(text, strings.TrimRight(secret, "=")) || strings.Contains(text, strings.TrimRight(secretBase64, "="))
}

// net/http quotes what it can't read of an answer in its errors.
func TestAKeyInAnAnswerThatIsNoHTTPIsTakenOut(t *testing.T) {
	for name, answer := range map[string]string{
		"the request as it came": "POST / HTTP/1.1\r\nAuthorization: Basic " + secretBase64 + "\r\n\r\n",
		"a status line":          "HTTP/1.1 " + secret + "\r\n\r\n",
		"a status":               "HTTP/1.1 500 " + secret + "\r\nContent-Length: 0\r\n\r\n",
		"another protocol":       "Basic " + secretBase64 + " to you too\r\n\r\n",
		"a header":               "HTTP/1.1 200 OK\r\n" + secret + "\r\n\r\n",
		"the name of a header":   "HTTP/1.1 200 OK\r\n" + secret + " : x\r\n\r\n",
		"a length":               "HTTP/1.1 200 OK\r\nContent-Length: " + secret + "\r\n\r\n",
		"two lengths":            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: " + secretBase64 + "\r\n\r\n",
		"an encoding":            "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + secretBase64 + "\r\n\r\n",
		"a chunk":                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + secret + "\r\n",
		"a trailer":              "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + secret + "\r\n\r\n",
		"a redirect":             "HTTP/1.1 302 Found\r\nLocation: https://" + secret + "@" + secretBase64 + "/\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := wire(t, answer, false)
			for _, call := range everyCall {
				if e := apiError(t, call.do(t.Context(), newClient(t, base))); hasCore(fmt.Sprintf("%+v %v", *e, e.Err)) {
					t.Errorf("%s: %+v", call.name, e)
				}
			}
			// Files may be served by the host that was told the key.
			err := download(t.Context(), newClient(t, base), base+"/a")
			if e := apiError(t, err); hasCore(fmt.Sprintf("%+v %v", *e, e.Err)) {
				t.Errorf("download: %+v", e)
			}
		})
	}
}

func TestNothingButTheKeyIsTakenOut(t *testing.T) {
	for name, text := range map[string]string{
		"what keys end with": "a==========b",
		"a part of the key":  secret[:len(secret)/2],
		"escapes":            `caf\u00e9 \/ \u003d \\u003d \"`,
		"another key":        "private_T0pS3cr3tK3yOfTheOthers=",
		"another header":     "Basic " + base64.StdEncoding.EncodeToString([]byte("private_other:")),
		"a slash in a path":  "a\\/b",
		"letters and digits": "abcdefghijklmnopqrstuvwxyz0123456789",
	} {
		body := `{"fileId":"1","filePath":"/a","size":1,"x":"` + text + `"}`
		for _, key := range []string{secret, "==========", "k"} {
			c := newClient(t, serve(t, drained(200, nil, body)), func(o *imagekit.Options) { o.Key = imagekit.NewKey(key) })
			if asset, err := c.Upload(t.Context(), upload(smallSize)); err != nil || string(asset.Raw) != body {
				t.Errorf("%s, with the key %q: %+v, %v", name, key, asset, err)
			}
		}
	}
}

// A key of characters that mean something to a search is as well found as any.
func TestAnyKeyIsTakenOut(t *testing.T) {
	for _, key := range []string{"private_.*[a-z]+(x|y)?$", `private_\back\slash`, "private_a/b+c==", "private_schlüssel_日本", "private_\xff\xfe_bytes", strings.Repeat("p", 4096)} {
		encoded := base64.StdEncoding.EncodeToString([]byte(key + ":"))
		for name, form := range map[string]string{
			"as it is": encoded, "with slashes escaped": strings.ReplaceAll(encoded, "/", `\/`), "the key": quoted(t, key),
		} {
			body := `{"fileId":"1","filePath":"/a","size":1,"x":"` + form + `"}`
			c := newClient(t, serve(t, drained(200, nil, body)), func(o *imagekit.Options) { o.Key = imagekit.NewKey(key) })
			asset, err := c.Upload(t.Context(), upload(smallSize))
			if err != nil || bytes.Contains(asset.Raw, []byte(form)) || !bytes.Contains(asset.Raw, []byte("[redacted]")) {
				t.Errorf("%q, %s: %s, %v", key, name, asset.Raw, err)
			}
		}
	}
}

// quoted gives a text as JSON has it, without its quotes.
func quoted(t testing.TB, text string) string {
	t.Helper()
	b, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes.Trim(b, `"`))
}

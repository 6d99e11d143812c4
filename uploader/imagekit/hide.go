package imagekit

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"
)

// shortestSecret keeps a test's key of a letter from being found everywhere.
const shortestSecret = 8

// hider gives what takes a key out of a server's words, plain and as the
// Authorization header has it: answers are recorded, and their messages shown.
func hider(secret string) func([]byte) []byte {
	var forms []string
	for _, s := range []string{base64.StdEncoding.EncodeToString([]byte(secret + ":")), secret} {
		body := strings.TrimRight(s, "=") // which some leave away
		if len(s) >= shortestSecret && body != "" {
			forms = append(forms, body)
		}
	}
	return func(text []byte) []byte {
		for _, s := range forms {
			text = takeOut(text, s)
		}
		return text
	}
}

func takeOut(text []byte, s string) []byte {
	var out []byte
	from := 0 // what is before it is in out
	for i := 0; i < len(text); {
		n := 0
		if c := text[i]; c == s[0] || c == '\\' || c == '%' || c >= utf8.RuneSelf {
			n = leading(text[i:], s)
		}
		if n == 0 {
			i++
			continue
		}
		out = append(append(out, text[from:i]...), redacted...)
		i += n
		for n > 0 { // the "=" at the end
			n = leading(text[i:], "=")
			i += n
		}
		from = i
	}
	if from == 0 {
		return text
	}
	return append(out, text[from:]...)
}

// leading returns how long s is at the start of a text, 0 when it is not there.
// JSON may have any character of it escaped; many encoders write the "=" that
// keys end with as "\u003d", and "/" as "\/". JSON in JSON has more backslashes.
func leading(text []byte, s string) int {
	const deepest = 16
	n := 0
	for _, want := range s {
		escapes := 0
		for n < len(text) && escapes < deepest && text[n] == '\\' {
			n++
			escapes++
		}
		if want == '\\' && escapes > 0 {
			continue
		}
		r, size := utf8.DecodeRune(text[n:])
		if r == 'u' && escapes > 0 && len(text) >= n+5 {
			if code, err := strconv.ParseUint(string(text[n+1:n+5]), 16, 16); err == nil {
				r, size = rune(code), 5
			}
		}
		if r == '%' && want != '%' && len(text) >= n+3 { // as in a URL
			if code, err := strconv.ParseUint(string(text[n+1:n+3]), 16, 8); err == nil {
				r, size = rune(code), 3
			}
		}
		if r != want || size == 0 {
			return 0
		}
		n += size
	}
	return n
}

// hideError replaces an error with the key in its text: net/http quotes what it
// can't read of an answer.
func (c *Client) hideError(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if hidden := string(c.hide([]byte(text))); hidden != text {
		return errors.New(hidden)
	}
	return err
}

// requestID reads an answer's id.
func (c *Client) requestID(res *http.Response) string {
	return clip(string(c.hide([]byte(res.Header.Get("x-ik-requestId")))))
}

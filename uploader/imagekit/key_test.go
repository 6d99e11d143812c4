package imagekit_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"iksync/uploader/imagekit"
)

// holder is what a careless caller may print.
type holder struct {
	Key     imagekit.Key
	Pointer *imagekit.Key
	hidden  imagekit.Key
	inner   struct{ options imagekit.Options }
	client  *imagekit.Client
}

func TestTheKeyIsInNothingThatIsPrinted(t *testing.T) {
	key := imagekit.NewKey(secret)
	client := newClient(t, "http://127.0.0.1:1")
	h := holder{Key: key, Pointer: &key, hidden: key, client: client}
	h.inner.options = imagekit.Options{Key: key}
	values := map[string]any{
		"key": key, "pointer": &key, "holder": h, "pointer to a holder": &h, "options": imagekit.Options{Key: key},
		"client": client, "client's value": *client, "map": map[string]imagekit.Key{"k": key}, "map by key": map[string]any{"k": h},
		"slice": []imagekit.Key{key}, "slice of any": []any{key, h}, "error": fmt.Errorf("failed with %v and %+v", key, h),
	}
	var log bytes.Buffer
	logger := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&log), zapcore.DebugLevel))
	console := zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()), zapcore.AddSync(&log), zapcore.DebugLevel))
	texts := slog.New(slog.NewTextHandler(&log, nil))
	for name, value := range values {
		for _, verb := range "vTsqxXdtopbcgUeEfFw" {
			for _, flag := range []string{"", "+", "#", "-60", "# ", "0"} {
				// vet would object to most of these; that is the point.
				if text := fmt.Sprintf("%"+flag+string(verb), value); hasSecret(text) || hasHex(text) {
					t.Errorf("%s with %%%s%c: %s", name, flag, verb, text)
				}
			}
		}
		if text, _ := json.Marshal(value); hasSecret(string(text)) {
			t.Errorf("%s as JSON: %s", name, text)
		}
		if text, _ := xml.Marshal(value); hasSecret(string(text)) {
			t.Errorf("%s as XML: %s", name, text)
		}
		logger.Info("any", zap.Any("v", value), zap.Reflect("r", value))
		console.Info("any", zap.Any("v", value), zap.Reflect("r", value))
		logger.Sugar().Infof("%v %+v %#v", value, value, value)
		texts.Info("any", "v", value)
	}
	logger.Info("key", zap.Stringer("s", key), zap.Object("o", key), zap.Inline(key))
	if hasSecret(log.String()) {
		t.Errorf("the key is in a log: %s", log.String())
	}
	if key.String() != "[redacted]" || fmt.Sprintf("%v %s %+v %#v %q", key, key, key, key, key) != `[redacted] [redacted] [redacted] [redacted] "[redacted]"` {
		t.Errorf("it is %v, %#v", key, key)
	}
	if text, err := json.Marshal(map[string]any{"k": key}); err != nil || string(text) != `{"k":"[redacted]"}` {
		t.Errorf("%s, %v", text, err)
	}
}

// hasHex says whether the key is in a text as hexadecimal digits.
func hasHex(text string) bool {
	return bytes.Contains(bytes.ToLower([]byte(text)), fmt.Appendf(nil, "%x", secret))
}

func TestAnEmptyKeyIsNoKey(t *testing.T) {
	for _, key := range []imagekit.Key{{}, imagekit.NewKey("")} {
		if !key.IsZero() || key.String() != "[redacted]" {
			t.Errorf("%v", key)
		}
		if _, err := imagekit.New(imagekit.Options{Key: key}); err == nil {
			t.Error("a client was made without a key")
		}
	}
	if imagekit.NewKey("x").IsZero() {
		t.Error("a key is none")
	}
}

// A hostile or careless server must not get the key into records and logs.
func TestAKeyThatAnAnswerEchoesIsTakenOut(t *testing.T) {
	const secret = "private_echoed_0123456789"
	encoded := base64.StdEncoding.EncodeToString([]byte(secret + ":"))
	for _, status := range []int{200, 400} {
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("x-ik-requestId", encoded)
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"fileId":"f","filePath":"/a","size":1,"message":"%s %s"}`, secret, encoded)
		}))
		defer web.Close()
		client, err := imagekit.New(imagekit.Options{Key: imagekit.NewKey(secret), UploadURL: web.URL + "/upload"})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		asset, err := client.Upload(t.Context(), &imagekit.Upload{FileName: "a", Source: imagekit.FromReader(strings.NewReader("a"), 1)})
		text := fmt.Sprint(err)
		if asset != nil {
			text += string(asset.Raw)
		}
		if strings.Contains(text, secret) || strings.Contains(text, encoded) || !strings.Contains(text, "[redacted]") {
			t.Errorf("status %d: %s", status, text)
		}
	}
}

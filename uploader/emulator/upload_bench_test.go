package emulator_test

import (
	"bytes"
	"net/http/httptest"
	"testing"

	"iksync/uploader/emulator"
)

// The server's own cost of an upload of 2 kB that is not kept, without the
// network.
func BenchmarkUploadDiscarded(b *testing.B) {
	s, err := emulator.New(emulator.Options{Discard: true})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	body, contentType := form(b, "\xff\xd8\xff"+string(make([]byte, 2045)), "fileName", "a.jpg", "folder", "/bench")
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest("POST", "/api/v1/files/upload", bytes.NewReader(body.Bytes()))
		r.SetBasicAuth("private_x", "")
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		if s.ServeHTTP(w, r); w.Code != 200 {
			b.Fatal(w.Body)
		}
	}
}

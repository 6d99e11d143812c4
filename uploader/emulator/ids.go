package emulator

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"time"
)

// newID gives an id in ImageKit's shape: 24 hex digits, the first eight of them
// the time in seconds.
func newID(now time.Time) string {
	var raw [12]byte
	binary.BigEndian.PutUint32(raw[:4], uint32(now.Unix()))
	binary.BigEndian.PutUint64(raw[4:], rand.Uint64())
	return hex.EncodeToString(raw[:])
}

// newRequestID gives an id in the shape of a UUID, for x-ik-requestId.
func newRequestID() string {
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:8], rand.Uint64())
	binary.BigEndian.PutUint64(raw[8:], rand.Uint64())
	text := make([]byte, 0, 36)
	for i, b := range raw {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			text = append(text, '-')
		}
		text = hex.AppendEncode(text, []byte{b})
	}
	return string(text)
}

// validID says whether id could be a fileId or versionId at all: ImageKit
// answers 400 rather than 404 when it could not.
func validID(id string) bool {
	if len(id) != 24 {
		return false
	}
	_, err := hex.DecodeString(id)
	return err == nil
}

// uniqueName puts an underscore and nine random characters before a name's
// extension, as useUniqueFileName does.
func uniqueName(name string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	var suffix [10]byte
	suffix[0] = '_'
	bits := rand.Uint64()
	for i := 1; i < len(suffix); i++ {
		suffix[i] = alphabet[bits&63]
		bits >>= 6
	}
	stem, ext := name, ""
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		stem, ext = name[:i], name[i:]
	}
	return stem + string(suffix[:]) + ext
}

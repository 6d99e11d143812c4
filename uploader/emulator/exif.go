package emulator

import (
	"bytes"
	"encoding/binary"
)

// orientation reads the EXIF orientation (1 to 8) off the beginning of a JPEG;
// it is zero when there is none.
func orientation(jpeg []byte) int {
	for at := 2; at+4 <= len(jpeg) && jpeg[at] == 0xff; {
		marker, length := jpeg[at+1], int(binary.BigEndian.Uint16(jpeg[at+2:]))
		end := min(at+2+length, len(jpeg))
		if length < 2 || marker == 0xda { // the picture itself begins
			return 0
		}
		if body, ok := bytes.CutPrefix(jpeg[at+4:max(end, at+4)], []byte("Exif\x00\x00")); marker == 0xe1 && ok {
			return tiffOrientation(body)
		}
		at = end
	}
	return 0
}

// tiffOrientation looks up tag 0x0112 in the first directory of a TIFF block.
func tiffOrientation(tiff []byte) int {
	if len(tiff) < 8 {
		return 0
	}
	var order binary.ByteOrder = binary.LittleEndian
	if tiff[0] == 'M' {
		order = binary.BigEndian
	}
	start := int64(order.Uint32(tiff[4:]))
	if start+2 > int64(len(tiff)) {
		return 0
	}
	directory := tiff[start:]
	count := int(order.Uint16(directory))
	for entry := directory[2:]; count > 0 && len(entry) >= 12; count, entry = count-1, entry[12:] {
		if order.Uint16(entry) != 0x0112 {
			continue
		}
		if v := int(order.Uint16(entry[8:])); v >= 1 && v <= 8 {
			return v
		}
		return 0
	}
	return 0
}

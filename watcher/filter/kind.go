package filter

import "strings"

// Kind is what a file is, told by its extension. The zero value is Other.
type Kind int

// The kinds of files.
const (
	Other Kind = iota
	Image
	Video
	Audio
)

// String is "other", "image", "video" or "audio".
func (k Kind) String() string {
	switch k {
	case Image:
		return "image"
	case Video:
		return "video"
	case Audio:
		return "audio"
	}
	return "other"
}

// kindSet has a bit for every Kind.
type kindSet uint8

func (s kindSet) has(k Kind) bool { return s&(1<<k) != 0 }

// maxExtension is the longest extension that KindOf knows, in bytes.
const maxExtension = 5

// KindOf tells a file's kind by the extension of its name, in upper or lower
// case. A name that is nothing but an extension, like ".jpg", has none.
func KindOf(name string) Kind {
	name = name[strings.LastIndexByte(name, '/')+1:]
	dot := strings.LastIndexByte(name, '.')
	if dot <= 0 || len(name)-dot-1 > maxExtension {
		return Other
	}
	var lower [maxExtension]byte
	n := copy(lower[:], name[dot+1:])
	for i, c := range lower[:n] {
		if 'A' <= c && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	switch string(lower[:n]) {
	case "jpg", "jpeg", "jpe", "jfif", "jif", "jfi", "pjpeg", "pjp", // JPEG
		"png", "apng", "gif", "bmp", "dib", "ico", "cur", "svg", "svgz",
		"webp", "avif", "avifs", "heic", "heics", "heif", "heifs", "hif", "jxl",
		"tif", "tiff", "psd", "psb", "tga", "pcx", "exr", "hdr", "dds", "xcf",
		"jp2", "j2k", "jpf", "jpx", "jpm", "j2c", "jpc", "jxr", "wdp", "hdp",
		"pbm", "pgm", "ppm", "pnm", "pam", "qoi", "eps",
		"mpo", "jps", "insp": // JPEGs of 3D and 360 degree cameras
		return Image
	case "dng", "raw", // raw: several makers, Adobe
		"cr2", "cr3", "crw", "crm", // Canon; crm is its raw video, in the same container as cr3
		"nef", "nrw", // Nikon
		"arw", "srf", "sr2", // Sony
		"raf",        // Fujifilm
		"orf", "ori", // Olympus
		"rw2", "rwl", // Panasonic, Leica
		"pef", "ptx", // Pentax
		"srw",        // Samsung
		"3fr", "fff", // Hasselblad
		"iiq", "cap", "eip", // Phase One
		"mef", "mos", "mfw", // Mamiya, Leaf
		"mrw", "mdc", // Minolta
		"dcr", "dcs", "kdc", "k25", "kc2", // Kodak
		"erf", "x3f", "bay", "gpr", "pxn", "rwz": // Epson, Sigma, Casio, GoPro, Logitech, Rawzor
		return Image
	case "mp4", "m4v", "mp4v", "mov", "qt", "webm", "mkv", "mk3d", "avi", "divx",
		"3gp", "3gpp", "3g2", "3gp2", "ogv", "ogm",
		"mpg", "mpeg", "mpe", "m1v", "m2v", "mpv", "m2p", "vob",
		"ts", "mts", "m2ts", "m2t", "tod", "mod", // camcorders
		"wmv", "asf", "flv", "f4v", "rm", "rmvb", "dv", "mxf",
		"hevc", "h264", "h265", "mjpg", "mjpeg", "y4m", "av1", "ivf",
		"lrv", "360", "insv", "braw", "r3d": // action cameras, cinema cameras
		return Video
	case "mp3", "mp2", "mpga", "wav", "wave", "bwf", "w64", "flac", "aac", "adts",
		"m4a", "m4b", "m4p", "m4r", "ogg", "oga", "opus", "spx",
		"aif", "aiff", "aifc", "caf", "wma", "weba", "mka", "ac3", "eac3", "dts",
		"amr", "awb", "ape", "wv", "tta", "alac", "dsf", "dff", "au", "snd", "ra",
		"mid", "midi":
		return Audio
	}
	return Other
}

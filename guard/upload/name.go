package upload

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// longestName is what file systems take.
const longestName = 255

var (
	codedSign = regexp.MustCompile(`(?i)%(25)*(0[0ad]|2e|2f|5c)`) // browsers write a quote as %22, and people 50%10: those are let be
	device    = regexp.MustCompile(`(?i)^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)`)
)

// wrongName says why a file name can't be kept by every server as it is, "" when it can. A path was refused by the reader of
// forms before.
func wrongName(name string) string {
	if name == "" {
		return ""
	}
	alike := norm.NFKC.String(unmarked(name))
	switch {
	case len(name) > longestName:
		return "is longer than file systems take"
	case strings.IndexFunc(name, hidden) >= 0, !marksWell(name):
		return "holds a sign that nobody sees"
	case strings.ContainsAny(alike, `/\`), codedSign.MatchString(name):
		return "holds a path, or a coded sign of one"
	case strings.HasPrefix(alike, "."), strings.EqualFold(alike, "web.config"):
		return "is one that servers read themselves"
	case strings.Trim(alike, " ") != alike, strings.HasSuffix(alike, "."):
		return "begins or ends with a sign that some systems leave out"
	case device.MatchString(alike):
		return "is that of a device"
	}
	return ""
}

// hidden: control signs, overrides of direction, signs without width that no language needs.
func hidden(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) && !isJoiner(r) && !isDirection(r) || r == unicode.ReplacementChar
}

// isJoiner tells the signs that join letters, or keep them apart: Persian, the languages of India and many emoji need them.
func isJoiner(r rune) bool { return r == '\u200c' || r == '\u200d' }

// isDirection tells the marks that names of two directions need at their seams.
func isDirection(r rune) bool { return r == '\u200e' || r == '\u200f' }

// unmarked is a name without those signs, as it is compared: a file system may leave them out.
func unmarked(name string) string {
	return strings.Map(func(r rune) rune {
		if isJoiner(r) || isDirection(r) {
			return -1
		}
		return r
	}, name)
}

// marksWell tells that those signs stand where they mean something: joiners between letters or emoji, which are never of ASCII, and
// a mark of direction alone.
func marksWell(name string) bool {
	signs := []rune(name)
	joins := func(i int) bool {
		return i >= 0 && i < len(signs) && signs[i] > unicode.MaxASCII && (unicode.IsLetter(signs[i]) || unicode.IsMark(signs[i]) || unicode.IsSymbol(signs[i]))
	}
	for i, r := range signs {
		if isJoiner(r) && !(joins(i-1) && joins(i+1)) || i > 0 && isDirection(r) && isDirection(signs[i-1]) {
			return false
		}
	}
	return true
}

// extensions are the parts of a name behind its dots, in lower case, each up to the first sign that is no letter or digit: some
// servers end them there.
func extensions(name string) []string {
	parts := strings.Split(strings.ToLower(norm.NFKC.String(unmarked(name))), ".")[1:]
	for i, p := range parts {
		if end := strings.IndexFunc(p, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }); end >= 0 {
			parts[i] = p[:end]
		}
	}
	return parts
}

// Extensions that servers run wherever they stand in a name, and those that count at its end.
var (
	anywhere = map[string][]string{
		php:           {"php", "php3", "php4", "php5", "php6", "php7", "php8", "phps", "pht", "phtm", "phtml", "phar"},
		jsp:           {"jsp", "jspx", "jspf", "jsw", "jsv"},
		asp:           {"asp", "aspx", "asa", "asax", "ascx", "ashx", "asmx", "cshtml", "vbhtml", "cfm", "cfml"},
		"text/x-perl": {"cgi", "fcgi"},
		"text/html":   {"shtml", "shtm", "stm"},
	}
	atTheEnd = map[string][]string{
		"text/html":                  {"htm", "html", "mht", "mhtml", "hta"},
		xhtml:                        {"xht", "xhtml", "xsl", "xslt"},
		script:                       {"js", "mjs", "cjs", "jse", "vbs", "vbe", "wsf", "wsh"},
		"text/x-perl":                {"pl", "pm"},
		"text/x-python":              {"py", "pyw", "pyz"},
		"text/x-ruby":                {"rb"},
		"text/x-lua":                 {"lua"},
		"text/x-tcl":                 {"tcl"},
		"text/x-shellscript":         {"sh", "bash", "zsh", "ksh", "csh", "bat", "cmd", "ps1", "psm1", "command"},
		"application/java-archive":   {"jar", "war", "ear"},
		"application/x-elf":          {"elf", "so", "ko", "appimage"},
		"application/x-rpm":          {"rpm"},
		"application/wasm":           {"wasm"},
		vba:                          {"docm", "dotm", "xlsm", "xltm", "xlam", "pptm", "potm", "ppsm", "xll"},
		exe:                          {"exe", "dll", "scr", "pif", "cpl", "sys"},
		"application/x-ms-installer": {"msi", "msp", "mst"},
		"application/x-ms-shortcut":  {"lnk", "url", "scf", "reg", "desktop"},
		"application/x-java-applet":  {"class"},
		"application/vnd.android.package-archive": {"apk", "aab"},
		"application/vnd.debian.binary-package":   {"deb"},
		"application/vnd.ms-htmlhelp":             {"chm"},
		"application/x-shockwave-flash":           {"swf"},
		"application/x-bytecode.python":           {"pyc"},
		"application/x-chrome-extension":          {"crx"},
		"application/x-mach-binary":               {"dylib"},
	}
	usual = map[string][]string{
		"image/jpeg": {"jpg", "jpeg", "jpe", "jfif"}, "image/png": {"png"}, "image/gif": {"gif"}, "image/webp": {"webp"}, "image/bmp": {"bmp"},
		"image/tiff": {"tif", "tiff"}, "image/x-icon": {"ico"}, svg: {"svg"}, "image/heic": {"heic"}, "image/heif": {"heif"}, "image/avif": {"avif"},
		pdf: {"pdf"}, "application/msword": {"doc"}, "application/vnd.ms-excel": {"xls"}, "application/vnd.ms-powerpoint": {"ppt"}, "text/rtf": {"rtf"},
		"application/vnd.openxmlformats-officedocument.wordprocessingml.document":   {"docx"},
		"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet":         {"xlsx"},
		"application/vnd.openxmlformats-officedocument.presentationml.presentation": {"pptx"},
		"application/vnd.oasis.opendocument.text":                                   {"odt"},
		"application/vnd.oasis.opendocument.spreadsheet":                            {"ods"},
		"application/vnd.oasis.opendocument.presentation":                           {"odp"},
		"application/epub+zip": {"epub"}, zipd: {"zip"}, "application/gzip": {"gz", "tgz"}, "application/x-7z-compressed": {"7z"}, "application/vnd.rar": {"rar"},
		"audio/mpeg": {"mp3"}, "audio/wav": {"wav"}, "audio/flac": {"flac"}, "audio/ogg": {"ogg", "oga"}, "audio/mp4": {"m4a"},
		"video/mp4": {"mp4", "m4v"}, "video/quicktime": {"mov"}, "video/webm": {"webm"}, "video/x-msvideo": {"avi"},
		"text/csv": {"csv"}, "text/plain": {"txt", "log"}, markdown: {"md"}, "application/json": {"json"}, "text/xml": {"xml", "rss", "atom", "rdf", "mml"}, "text/calendar": {"ics"}, "text/vcard": {"vcf"},
	}
)

// runsByName is the active type that a server or a desktop would take a name for, "" for none.
func runsByName(name string) string {
	parts := extensions(name)
	for i, e := range parts {
		if t := kept(anywhere, e); t != "" {
			return t
		}
		if i == len(parts)-1 {
			return kept(atTheEnd, e)
		}
	}
	return ""
}

// typeOfName is what a name claims by its last extension, when that is a usual one.
func typeOfName(name string) (extension, t string) {
	parts := extensions(name)
	if len(parts) == 0 {
		return "", ""
	}
	extension = parts[len(parts)-1]
	return extension, kept(usual, extension)
}

// isCommand tells the name of a program of old systems, which is also that of a host: example.com. Such a program has no mark of
// its own.
func isCommand(name string) bool {
	parts := extensions(name)
	return len(parts) > 0 && parts[len(parts)-1] == "com"
}

// kept finds the type that lists an extension.
func kept(table map[string][]string, extension string) string {
	for t, list := range table {
		if slices.Contains(list, extension) {
			return t
		}
	}
	return ""
}

package confine

// grammars are what our own judges of formats let pass, each over the whole text (kit/openapi/format.go). A format that is
// not here, or that stands here without a grammar, confines nothing. A test holds each against its judge.
var grammars = map[string]string{
	"uuid":      `^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`,
	"date":      `^[0-9]{4}-[0-9]{2}-[0-9]{2}$`,
	"date-time": `^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt]` + clock + `$`,
	"time":      `^` + clock + `$`,
	"duration":  `^P[0-9YMDWTHS]+$`,
	"email":     "^[0-9A-Za-z!#$%&'*+/=?^_`{|}~.-]{1,64}@[0-9A-Za-z.-]{1,253}$",
	"ipv4":      `^[0-9]{1,3}(?:\.[0-9]{1,3}){3}$`,
	"ipv6":      `^[0-9a-fA-F:.]{2,45}$`,
	"hostname":  `^[0-9A-Za-z.-]{1,253}$`,
	// what RFC 3986 has a place for
	"uri":           "^[!#-;=?-\\[\\]_a-z~]+$",
	"uri-reference": "^[!#-;=?-\\[\\]_a-z~]*$",
	"byte":          `^[0-9A-Za-z+/]*={0,2}$`,
	"base64url":     `^[0-9A-Za-z_-]*=*$`,
	"char":          `^(?s:.)$`,
	"json-pointer":  "", "binary": "", "password": "",
}

const clock = `[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})`

// Numbers as they may be written.
const (
	anyNumber  = `^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$` // RFC 8259 section 6
	anInteger  = `^-?[0-9]{1,100}$`                                       // in query, path and forms
	mostDigits = 100
	theDigits  = `^[0-9]+$`
)

// numberFormats confine numbers.
var numberFormats = map[string]string{
	"int8": `^-?[0-9]{1,3}$`, "int16": `^-?[0-9]{1,5}$`, "int32": `^-?[0-9]{1,10}$`, "int64": `^-?[0-9]{1,19}$`,
	"uint8": `^[0-9]{1,3}$`, "uint16": `^[0-9]{1,5}$`, "uint32": `^[0-9]{1,10}$`, "uint64": `^[0-9]{1,20}$`,
	"float": anyNumber, "double": anyNumber,
}

// shapes are the formats that quiet knows.
var shapes = map[string]string{"date": "date"}

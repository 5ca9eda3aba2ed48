package view

import "github.com/corazawaf/coraza/v3/types/variables"

// count is the number of variables that the engine has; the last has the highest number.
const count = int(variables.ArgumentsLimitReached) + 1

// The limits of the engine, as the guard's directives set them.
const (
	mostArguments = 100_000 // SecArgumentsLimit, for each of query, path and body
	mostBytes     = 1 << 27 // SecRequestBodyLimit
	mostDepth     = 1024    // SecRequestBodyJsonDepthLimit
)

// Never is the phase of a variable that the engine knows and never fills.
const Never = 6

// Phase is the first phase in which a variable can hold something else than before: 1 for what the head of the request
// says, 2 for what its body says too, 3 and 4 for what the answer says, Never for what the engine leaves empty. ARGS,
// ARGS_NAMES, ARGS_COMBINED_SIZE and ARGUMENTS_LIMIT_REACHED are of phase 1 and grow in phase 2. It is 0 for what is not
// the request's but the engine's or the rules' own, such as TX, MATCHED_VAR and TIME: there the view knows nothing.
func Phase(variable variables.RuleVariable) int {
	if int(variable) >= count {
		return 0
	}
	return int(traits[variable].phase)
}

// trait is what is known of a variable: the zero trait nothing.
type trait struct {
	phase   uint8
	single  bool
	initial string // what a single holds before its phase
}

var traits = [count]trait{
	variables.ArgsCombinedSize:             {1, true, "0"},
	variables.ArgumentsLimitReached:        {1, true, "0"},
	variables.FilesCombinedSize:            {2, true, "0"},
	variables.FullRequestLength:            {Never, true, "0"},
	variables.InboundDataError:             {2, true, ""},
	variables.MultipartDataAfter:           {Never, true, "0"},
	variables.MultipartDuplicatePartHeader: {2, true, "0"},
	variables.MultipartInvalidQuoting:      {2, true, "0"},
	variables.MultipartStrictError:         {2, true, ""},
	variables.QueryString:                  {1, true, ""},
	variables.RemoteAddr:                   {1, true, ""},
	variables.RemoteHost:                   {Never, true, ""},
	variables.RemotePort:                   {1, true, "0"},
	variables.ReqbodyError:                 {2, true, "0"},
	variables.ReqbodyErrorMsg:              {2, true, ""},
	variables.ReqbodyProcessor:             {1, true, ""},
	variables.ReqbodyProcessorError:        {2, true, "0"},
	variables.ReqbodyProcessorErrorMsg:     {2, true, ""},
	variables.RequestBasename:              {1, true, ""},
	variables.RequestBody:                  {2, true, ""},
	variables.RequestBodyLength:            {2, true, "0"},
	variables.RequestFilename:              {1, true, ""},
	variables.RequestLine:                  {1, true, ""},
	variables.RequestMethod:                {1, true, ""},
	variables.RequestProtocol:              {1, true, ""},
	variables.RequestURI:                   {1, true, ""},
	variables.RequestURIRaw:                {1, true, ""},
	variables.ServerAddr:                   {1, true, ""},
	variables.ServerName:                   {1, true, ""},
	variables.ServerPort:                   {1, true, "0"},
	variables.UniqueID:                     {1, true, ""},
	variables.URIParseError:                {1, true, "0"},
	variables.UrlencodedError:              {Never, true, "0"},

	variables.Args:                      {phase: 1},
	variables.ArgsGet:                   {phase: 1},
	variables.ArgsGetNames:              {phase: 1},
	variables.ArgsNames:                 {phase: 1},
	variables.ArgsPath:                  {phase: 1},
	variables.ArgsPost:                  {phase: 2},
	variables.ArgsPostNames:             {phase: 2},
	variables.Files:                     {phase: 2},
	variables.FilesNames:                {phase: 2},
	variables.FilesSizes:                {phase: 2},
	variables.FilesTmpContent:           {phase: Never},
	variables.FilesTmpNames:             {phase: Never}, // nothing is written to disk
	variables.JSON:                      {phase: Never},
	variables.MultipartFilename:         {phase: 2},
	variables.MultipartFilenameCharset:  {phase: Never}, // filename*= is refused before
	variables.MultipartFilenameLanguage: {phase: Never},
	variables.MultipartName:             {phase: 2},
	variables.MultipartPartHeaders:      {phase: 2},
	variables.RequestCookies:            {phase: 1},
	variables.RequestCookiesNames:       {phase: 1},
	variables.RequestHeaders:            {phase: 1},
	variables.RequestHeadersNames:       {phase: 1},
	variables.RequestXML:                {phase: 2},
	variables.XML:                       {phase: 2},

	variables.OutboundDataError:     {4, true, "0"},
	variables.ResBodyProcessor:      {3, true, ""},
	variables.ResponseArgs:          {phase: 4},
	variables.ResponseBody:          {4, true, ""},
	variables.ResponseContentLength: {4, true, ""},
	variables.ResponseContentType:   {3, true, ""},
	variables.ResponseHeaders:       {phase: 3},
	variables.ResponseHeadersNames:  {phase: 3},
	variables.ResponseProtocol:      {3, true, ""},
	variables.ResponseStatus:        {3, true, ""},
	variables.ResponseXML:           {phase: 4},
	variables.StatusLine:            {Never, true, ""},
}

// blank are the singles before anything is known.
var blank = func() (single [count]Pair) {
	for i := range traits {
		single[i].Text = traits[i].initial
	}
	return single
}()

// initial is what a rule reads of a variable before its phase has come.
func initial(variable variables.RuleVariable) []Pair {
	if !traits[variable].single {
		return nil
	}
	return []Pair{blank[variable]}
}

// windows are the collections whose values lie in another's memory.
var windows = [...]variables.RuleVariable{
	variables.Args, variables.ArgsGet, variables.ArgsPath, variables.ArgsPost,
	variables.ArgsNames, variables.ArgsGetNames, variables.ArgsPostNames, variables.RequestXML,
}

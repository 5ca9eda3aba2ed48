package scan

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// isLock tells files in which programs write down digests of what they fetched. Known credentials are still found there.
func isLock(name string) bool {
	base := strings.ToLower(path.Base(name))
	return slices.Contains([]string{"go.sum", "go.mod", "package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "cargo.lock", "poetry.lock", "uv.lock", "composer.lock", "gemfile.lock", "flake.lock"}, base) ||
		strings.HasSuffix(base, ".svg")
}

var (
	// commit is a hash of git's, in full, as workflows and modules name it.
	commit = regexp.MustCompile(`^[0-9a-f]{40}$`)
	// said is a line that says that what follows is a digest, a fingerprint, a public key or an example of one.
	said = regexp.MustCompile(`(?i)\b(?:sha-?(?:1|2|256|384|512)|md5|digest|checksum|fingerprint|integrity|hash|etag|trace|commit|rev|public[ _-]?key|ssh-(?:rsa|ed25519)|nonce|trace-?id|span-?id|traceparent|tracestate|baggage|sec-websocket-(?:key|accept)|alphabet|boundary|signed-by|verifier)\b`)
	// alphabets are runs of letters that programs write to choose from.
	alphabets = regexp.MustCompile(`(?i)abcdefgh|01234567|qwertyui`)
	// code is text that a program's source is full of: calls, members, types, paths.
	code = regexp.MustCompile(`^[A-Za-z_]\w*(?:[./][A-Za-z_][\w-]*)+$`)
	// named is an identifier with digits in it: words in camelCase or with underscores.
	named = regexp.MustCompile(`^_?(?:[A-Z]{2,8}|[A-Za-z]?[a-z]{1,})(?:[A-Z_-]?[a-z]+|[A-Z]{2,6}|[A-Z]?[0-9]{1,4}|_|-)*$`)
)

// isPublic tells random text that is known not to be secret from where it stands.
func isPublic(line, text string) bool {
	if commit.MatchString(text) || alphabets.MatchString(text) || code.MatchString(text) || named.MatchString(text) && wordy(text) {
		return true
	}
	return said.MatchString(escapes.Replace(line))
}

// wordy tells that most of a text is words: runs of small letters with vowels among them.
func wordy(text string) bool {
	letters, run, vowels := 0, 0, 0
	end := func() {
		if run >= 3 && vowels > 0 {
			letters += run
		}
		run, vowels = 0, 0
	}
	for _, r := range text + " " {
		if r >= 'a' && r <= 'z' {
			run++
			if strings.ContainsRune("aeiouy", r) {
				vowels++
			}
			continue
		}
		end()
	}
	return letters*2 >= len(text)
}

// certificate begins or ends a block in PEM form that is public.
var certificate = regexp.MustCompile(`-----(BEGIN|END) (?:TRUSTED )?(?:CERTIFICATE(?: REQUEST)?|X509 CRL|(?:RSA |EC )?PUBLIC KEY|DH PARAMETERS|EC PARAMETERS|PGP PUBLIC KEY BLOCK)-----`)

// escapes takes out the ends of lines that programs write.
var escapes = strings.NewReplacer(`\r`, " ", `\n`, " ", `\t`, " ")

// holdsKey tells that the header of a private key is followed by one, in its line or the next: not by a quote's end, as
// where a program looks for it.
func holdsKey(rest string) bool {
	rest = strings.TrimLeft(rest, " \t")
	if body, _, whole := strings.Cut(escapes.Replace(rest), "-----END "); whole && len(strings.ReplaceAll(body, " ", "")) < 40 {
		return false // an Ed25519 key, the shortest, has 64 letters
	}
	return rest == "" || strings.HasPrefix(rest, `\n`) || strings.HasPrefix(rest, `\r`) || len(rest) > 40 && !strings.ContainsAny(rest[:20], `"'()[]|*?`+"`")
}

package body

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// largestWindow is what a zstd frame may ask of its reader: RFC 9659 section 3.
const largestWindow = 8 << 20

// decode takes at most one content coding off (RFC 9110 section 8.4). The result may be neither larger than the limit on
// bytes nor, for each byte that came, larger than the ratio (G12). An unknown or a second coding is refused, since a body
// that cannot be looked into does not pass (G13); so is whatever stands behind the end of the compressed data, which one
// reader appends and another drops. What lies under the one coding is data, even when it is compressed once more.
func decode(coding string, raw []byte, lim Limits) ([]byte, *Refusal) {
	coding = strings.ToLower(strings.Trim(coding, " \t"))
	if strings.Contains(coding, ",") {
		return nil, refuse(codingStacked, "more than one content coding")
	}
	source := bytes.NewReader(raw)
	var plain io.Reader
	var err error
	switch coding {
	case "", "identity":
		return raw, nil
	case "gzip", "x-gzip":
		var member *gzip.Reader
		if member, err = gzip.NewReader(source); err == nil {
			member.Multistream(false)
			plain = member
		}
	case "deflate": // zlib's envelope, RFC 9110 section 8.4.1.2, and not the bare stream that some send
		plain, err = zlib.NewReader(source)
	case "br":
		plain = brotli.NewReader(source)
	case "zstd":
		return decodeZstd(raw, lim)
	default:
		return nil, refuse(codingUnknown, "a content coding that is not gzip, deflate, br or zstd")
	}
	if err != nil {
		return nil, refuse(codingMalformed, "not in the declared content coding")
	}
	decoded, refusal := inflate(plain, int64(len(raw)), lim)
	if refusal == nil && source.Len() > 0 {
		return nil, refuse(codingTrailing, "%d bytes after the compressed data", source.Len())
	}
	return decoded, refusal
}

// inflate reads what comes out, within the limits.
func inflate(plain io.Reader, size int64, lim Limits) ([]byte, *Refusal) {
	most, reason := lim.Bytes, bodyTooLarge
	if size < lim.Bytes/lim.Ratio {
		most, reason = size*lim.Ratio, codingRatio
	}
	decoded, refusal := readAll(plain, most, 4*size)
	if refusal == nil {
		return decoded, nil
	}
	if refusal.Reason != bodyTooLarge {
		return nil, refuse(codingMalformed, "not in the declared content coding, or cut short")
	}
	return nil, refuse(reason, "%d bytes become more than %d", size, most)
}

// decodeZstd reads one frame of RFC 8878 and nothing else: no second, no skippable frame, no dictionary.
func decodeZstd(raw []byte, lim Limits) ([]byte, *Refusal) {
	end, ok := zstdFrameEnd(raw)
	if !ok {
		return nil, refuse(codingMalformed, "not in the declared content coding")
	}
	if end < len(raw) {
		return nil, refuse(codingTrailing, "%d bytes after the compressed data", len(raw)-end)
	}
	reader, err := zstd.NewReader(bytes.NewReader(raw), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(largestWindow))
	if err != nil {
		return nil, refuse(codingMalformed, "not in the declared content coding")
	}
	defer reader.Close()
	return inflate(reader, int64(len(raw)), lim)
}

// zstdFrameEnd walks over the blocks of the frame that raw begins with.
func zstdFrameEnd(raw []byte) (end int, ok bool) {
	var header zstd.Header
	if err := header.Decode(raw); err != nil || header.Skippable || header.DictionaryID != 0 || !header.FirstBlock.OK {
		return 0, false
	}
	at := header.HeaderSize
	for last := false; !last; {
		if at+3 > len(raw) {
			return 0, false
		}
		block := uint(raw[at]) | uint(raw[at+1])<<8 | uint(raw[at+2])<<16
		last = block&1 == 1
		at += 3
		switch block >> 1 & 3 {
		case 0, 2: // raw and compressed: as long as they say
			at += int(block >> 3)
		case 1: // one byte, repeated
			at++
		default:
			return 0, false
		}
	}
	if header.HasCheckSum {
		at += 4
	}
	return at, at <= len(raw)
}

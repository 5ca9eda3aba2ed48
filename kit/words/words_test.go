package words_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-sec/gatehouse/kit/words"
)

// The vectors of BIP 39 for 256 bits.
func TestVectors(t *testing.T) {
	for key, want := range map[byte]string{
		0x00: strings.Repeat("abandon ", 23) + "art",
		0xff: strings.Repeat("zoo ", 23) + "vote",
		0x80: "letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount doctor acoustic bless",
	} {
		got, err := words.Of(bytes.Repeat([]byte{key}, 32))
		if err != nil || got != want {
			t.Errorf("%x: %q %v", key, got, err)
		}
	}
}

func TestWordsAsPeopleWriteThem(t *testing.T) {
	key := make([]byte, words.Size)
	_, _ = rand.Read(key)
	text, err := words.Of(key)
	if err != nil {
		t.Fatal(err)
	}
	list := strings.Fields(text)
	var numbered strings.Builder
	for i, w := range list {
		fmt.Fprintf(&numbered, "%2d. %s\n", i+1, strings.ToUpper(w))
	}
	for name, form := range map[string]string{
		"plain": text, "lines": strings.Join(list, "\n"), "numbered": numbered.String(), "commas": strings.Join(list, ", "),
	} {
		if got, err := words.Parse(form); err != nil || !bytes.Equal(got, key) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSlipsAreTold(t *testing.T) {
	text, _ := words.Of(bytes.Repeat([]byte{0x5a, 3}, 16))
	list := strings.Fields(text)
	change := func(f func(l []string)) string {
		l := append([]string(nil), list...)
		f(l)
		return strings.Join(l, " ")
	}
	for name, c := range map[string]struct{ text, want string }{
		"nothing":       {"", "these are 0"},
		"one too few":   {strings.Join(list[1:], " "), "these are 23"},
		"one too many":  {text + " zoo", "these are 25"},
		"unknown":       {change(func(l []string) { l[6] = "hunter2x" }), "word 7 is not"},
		"far too much":  {strings.Repeat("zoo ", 2000), "far more"},
		"twelve words":  {strings.Repeat("abandon ", 11) + "about", "these are 12"},
		"bad checksum":  {strings.Repeat("abandon ", 24), "checksum"},
		"another words": {"a b c", "these are 3"},
	} {
		_, err := words.Parse(c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), "hunter2x") {
			t.Errorf("%s repeats a word: %v", name, err)
		}
	}
	if _, err := words.Of(make([]byte, 31)); err == nil {
		t.Error("31 bytes became words")
	}
}

// FuzzParse: what is read is written back as the same key.
func FuzzParse(f *testing.F) {
	f.Add(strings.Repeat("abandon ", 23) + "art")
	f.Add("1. letter\n2. advice")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		key, err := words.Parse(text)
		if err != nil {
			return
		}
		again, err := words.Of(key)
		if err != nil || len(key) != words.Size {
			t.Fatalf("%q gives %d bytes: %v", text, len(key), err)
		}
		if back, err := words.Parse(again); err != nil || !bytes.Equal(back, key) {
			t.Fatalf("%q is not read back: %v", text, err)
		}
	})
}

package literal

// Filler is the set of bytes that shells ignore between the letters of a command's name, and that the rules against
// shell commands therefore allow between any two letters: c'a"t and c\at are cat. Deleting these bytes from a text and
// from an expression alike keeps what is necessary necessary.
var Filler = ByteSet{}

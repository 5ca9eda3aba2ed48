//go:build race

package referee

const raced = true

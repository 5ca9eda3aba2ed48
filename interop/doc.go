// Package interop holds tests in which the built program meets software that is not ours: real providers, real servers,
// real clients. They need what scripts/test installs; a tool that is missing is a failure.
package interop

// Package referee holds what stands in front of the WAF's engine to its promise: whatever it says about a request must be
// exactly what the engine itself, untouched, would have said.
//
// The referee is plain Coraza with the same directives, in another process: hooks that are registered with Coraza change a
// whole process, and a referee beside them would agree with their mistakes. It is given collections, not bytes, so that
// both judges read the same values. It runs each request more than once, since Coraza's collections have no order and some
// of its rules depend on one; where it disagrees with itself, what it always says and what it may say are kept apart.
//
// The package has three sources of requests: the regression tests of the Core Rule Set (Suite), corpora of attacks and of
// odd but harmless text (Corpus), and texts made from the rules themselves (Probes), each of which sits as near to a rule
// as can be. Mutate moves any of them around the place where a filter decides. Campaign records what the referee says about
// many of them, and then holds any number of candidates, or of spoilt ones, to it.
//
// It is for tests only. A test binary that uses it must hand its TestMain to Main.
package referee

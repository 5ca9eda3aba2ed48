// Package crs sends the regression tests of the Core Rule Set through the built program, byte for byte as they are written,
// at the level of paranoia that each is about. What the rule set demands to be found must be refused, and by the rule that
// it names; what it demands not to be found must not be refused for it. What an earlier guard refuses, what the canonical
// form changes and what is let through is listed, test by test, in files that the tests keep exact; none is dropped.
package crs

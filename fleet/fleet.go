// Package fleet makes any number of identical processes behave as one gateway. It promises that a token which is called
// back through one node is refused by all of them within a second, whether the database or the fast shared state is
// gone, and that a node which can no longer know this refuses instead of guessing; that each turn of a scheduled job is
// taken by one node, and by another when that one dies; that a node which was thought dead and comes back cannot write
// over the work of its successor; and that everybody can see which nodes there are, what they serve, and how they differ.
// Nothing here asks clocks of different machines to agree.
package fleet

// Package source says where the document comes from: a file, a commit of a git repository on this machine, or a server that
// speaks HTTP. Whatever the place, it promises three things.
//
//   - One generation. The document and the contracts that it names belong together. A ConfigMap that is exchanged, a branch
//     that moves on or a server that is updated in the middle never gives the old half of one and the new half of the other.
//   - No stranger's word. With a pinned key (--signed-by) every byte must stand in a note that was signed with it: the
//     document, its version, its expiry and the digest of each file that it refers to. Whoever can write to the place where
//     documents lie, but has no key, can at most keep a new one from arriving.
//   - No yesterday. The highest version that was ever accepted is remembered, so that an old document, rightly signed at its
//     time and with a hole that has been closed since, cannot be put back.
//
// A change counts once it has rested for one more look: half of what somebody is still writing is not put in force. What
// cannot be read, verified or understood changes nothing: the document in force stays.
package source

// Package authority is the gateway's own certificate authority for the certificates that it shows to servers: for whoever
// wants servers that answer to the gateway only, and doesn't want to run an authority for that.
//
// Nobody handles a key. A client's key is made in memory, lives a day and is never written. The authority's key lies in one
// record that the store seals and that all nodes share; it lives a year. Its successor is published a month before it signs
// anything, so that servers can be told to trust both, and the change of the one that signs is noticed by nobody.
//
// A record that is there but cannot be read is never replaced: servers trust what it was.
package authority

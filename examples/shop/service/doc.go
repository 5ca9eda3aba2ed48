// Package service is a small shop made of six web services that are careless the way real ones are: a catalogue, orders,
// two payment providers, logistics and invoices, each with its own SQLite file.
//
// It promises nothing but to be an honest target. No hole is a stage prop that only our own attack opens: each is a mistake
// that reviewers find in real code every week (a search term glued into SQL, a struct decoded straight from the client, a
// path decoded twice, a caller believed because a header says so). All of them are written down in ../README.md and
// ../hole/holes.json. Never put these services on an address that others can reach; Start refuses one that is not loopback.
package service

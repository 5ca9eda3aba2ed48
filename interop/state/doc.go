// Package state holds tests in which the built program is tried from outside, as whoever runs it would: several gateways over
// real PostgreSQL and Redis, started together, killed, cut off, with lost keys and wrong documents. What it says is judged
// as well as what it does: everything that a tired operator reads must name the place and what to do. They need root for
// network namespaces and mounts, and what scripts/test installs; a tool that is missing is a failure.
package state

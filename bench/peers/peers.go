// Package peers pins the proxies that the benchmark builds to compare with, in a module of its own, so that nothing of
// them reaches Gatehouse's.
package peers

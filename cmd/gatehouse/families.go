package main

import (
	"time"

	"github.com/gatehouse-sec/gatehouse/telemetry"
	"github.com/gatehouse-sec/gatehouse/upstream"
)

// families adds the metrics that other parts know. Labels are names from the document and from certificates.
func (n *node) families() {
	one := func(name, help string, read func() float64) {
		n.metrics.Add(telemetry.Family{Name: name, Help: help, Read: func(put telemetry.Put) { put(read()) }})
	}
	yes := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	one("ready", "1 while requests should be sent here.", func() float64 { return yes(n.healthy() == nil) })
	one("requests_in_progress", "Requests in progress.", func() float64 { return float64(n.busy.Load()) })
	one("connections", "Clients that are connected.", func() float64 {
		if n.server == nil {
			return 0
		}
		return float64(n.server.Connections())
	})
	one("events_failing", "1 while events cannot be written.", func() float64 { return yes(n.Err() != nil) })
	one("events_waiting", "Events that wait to be written.", func() float64 {
		if log := n.written.log.Load(); log != nil {
			return float64(log.Waiting())
		}
		return 0
	})
	n.metrics.Add(telemetry.Family{Name: "document_info", Help: "The document in force.", Labels: []string{"policy"}, Read: func(put telemetry.Put) {
		if g := n.gateway.Load(); g != nil {
			put(1, g.Version())
		}
	}})
	n.metrics.Add(telemetry.Family{Name: "waf_requests_total", Help: "Requests that the WAF judged: shown to be harmless without the engine (fast), or by the engine (slow).", Labels: []string{"path"}, Read: func(put telemetry.Put) {
		fast, slow := n.kept.rules.Requests()
		put(float64(fast), "fast")
		put(float64(slow), "slow")
	}})
	n.keyFamilies()
	n.serverFamilies()
	n.backupFamilies()
	n.metrics.Add(telemetry.Family{Name: "certificate_expires_seconds", Help: "When a certificate that clients are shown ends, in seconds since 1970.", Labels: []string{"source", "serial"}, Read: func(put telemetry.Put) {
		if n.server == nil {
			return
		}
		for _, c := range n.server.Certificates() {
			put(float64(c.NotAfter.Unix()), c.Source, c.Serial)
		}
	}})
}

func (n *node) keyFamilies() {
	n.metrics.Add(telemetry.Family{Name: "issuer_keys", Help: "Usable keys of an issuer.", Labels: []string{"issuer"}, Read: func(put telemetry.Put) {
		for _, s := range n.kept.keys.Statuses() {
			put(float64(s.Keys), s.Issuer)
		}
	}})
	n.metrics.Add(telemetry.Family{Name: "issuer_keys_age_seconds", Help: "How long ago an issuer's keys were fetched.", Labels: []string{"issuer"}, Read: func(put telemetry.Put) {
		for _, s := range n.kept.keys.Statuses() {
			if !s.Fetched.IsZero() {
				put(time.Since(s.Fetched).Seconds(), s.Issuer)
			}
		}
	}})
}

// serverFamilies tells how the servers behind do.
func (n *node) serverFamilies() {
	servers := func(name, help string, value func(upstream.ServerState) float64) {
		n.metrics.Add(telemetry.Family{Name: name, Help: help, Labels: []string{"api", "server"}, Read: func(put telemetry.Put) {
			n.kept.pools.each(func(api string, p *upstream.Pool) {
				for _, s := range p.State() {
					put(value(s), api, s.Server)
				}
			})
		}})
	}
	servers("server_up", "1 while a server is neither ejected nor down by its probe nor cut off by its breaker.", func(s upstream.ServerState) float64 {
		if s.Healthy && s.Breaker != "open" {
			return 1
		}
		return 0
	})
	servers("server_requests_in_progress", "Requests in progress at a server.", func(s upstream.ServerState) float64 { return float64(s.Busy) })
	servers("server_requests_total", "Attempts sent to a server, retries included.", func(s upstream.ServerState) float64 { return float64(s.Requests) })
	servers("server_failures_total", "Attempts that a server failed.", func(s upstream.ServerState) float64 { return float64(s.Failures) })
	servers("server_dials_total", "Connections opened to a server.", func(s upstream.ServerState) float64 { return float64(s.Dials) })
}

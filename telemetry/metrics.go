// Package telemetry tells other systems how the gateway does. Its labels are names from the document and the contract,
// never anything that a client wrote: a client that sends random paths must not be able to fill a metrics store (row H18).
package telemetry

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/gatehouse-sec/gatehouse/gate"
)

// Metrics counts events. Make it with NewMetrics.
type Metrics struct {
	registry  *prometheus.Registry
	requests  *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	would     *prometheus.CounterVec
	refused   *prometheus.CounterVec
	reloads   *prometheus.CounterVec
	unwritten prometheus.Counter
}

// NewMetrics makes a registry with the gateway's and the process's metrics.
func NewMetrics(version string) *Metrics {
	m := &Metrics{
		registry:  prometheus.NewRegistry(),
		requests:  counter("requests_total", "Exchanges, by API, operation, public code of a denial (or ok), guard and status.", "api", "operation", "code", "guard", "status"),
		seconds:   prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "gatehouse_request_seconds", Help: "Time from a request's head to its answer's.", Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}}, []string{"api", "operation"}),
		would:     counter("dry_run_total", "What guards in dry run would have denied.", "api", "operation", "guard", "reason"),
		refused:   counter("connections_refused_total", "Connections refused before any request, by reason.", "reason"),
		reloads:   counter("reloads_total", "Documents read again, by outcome.", "outcome"),
		unwritten: prometheus.NewCounter(prometheus.CounterOpts{Name: "gatehouse_events_unwritten_total", Help: "Events that could not be written; requests are refused meanwhile, unless audit.on_failure is allow."}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "gatehouse_build_info", Help: "Version of the program.", ConstLabels: prometheus.Labels{"version": version}})
	build.Set(1)
	m.registry.MustRegister(m.requests, m.seconds, m.would, m.refused, m.reloads, m.unwritten, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gatehouse_" + name, Help: help}, labels)
}

// Event counts one event.
func (m *Metrics) Event(e gate.Event) {
	switch e.Kind {
	case gate.KindExchange, gate.KindStreamOpen:
		code := string(e.Decision.Code)
		if code == "" {
			code = "ok"
		}
		m.requests.WithLabelValues(e.Request.API, e.Request.Operation, code, e.Decision.Guard, strconv.Itoa(e.Result.Status)).Inc()
		m.seconds.WithLabelValues(e.Request.API, e.Request.Operation).Observe(float64(e.Result.Micros) / 1e6)
		for _, w := range e.Decision.DryRun {
			m.would.WithLabelValues(e.Request.API, e.Request.Operation, w.Guard, string(w.Reason)).Inc()
		}
	case gate.KindConnection:
		m.refused.WithLabelValues(string(e.Decision.Reason)).Inc()
	}
}

// Reload counts a document that was read again.
func (m *Metrics) Reload(ok bool) {
	m.reloads.WithLabelValues(map[bool]string{true: "taken", false: "refused"}[ok]).Inc()
}

// Unwritten counts an event that was decided about and could not be written.
func (m *Metrics) Unwritten() { m.unwritten.Inc() }

// Forget drops what was counted for an API that no document names any more: names that come and go with documents must not
// pile up either.
func (m *Metrics) Forget(api string) {
	labels := prometheus.Labels{"api": api}
	m.requests.DeletePartialMatch(labels)
	m.seconds.DeletePartialMatch(labels)
	m.would.DeletePartialMatch(labels)
}

// Handler serves the metrics in the Prometheus text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

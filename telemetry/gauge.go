package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Put reports one value with its labels, in the order in which they were declared.
type Put func(value float64, labels ...string)

// Family is a metric that another part knows and that is asked for when somebody looks.
type Family struct {
	Name   string // without the prefix gatehouse_; one that ends in _total counts up
	Help   string
	Labels []string
	Read   func(Put) // called for each look, from any goroutine
}

// Add adds a family. It panics on one that is wrongly declared or there already: that is a fault of the program.
func (m *Metrics) Add(f Family) {
	kind := prometheus.GaugeValue
	if n := len(f.Name); n > 6 && f.Name[n-6:] == "_total" {
		kind = prometheus.CounterValue
	}
	m.registry.MustRegister(family{f, prometheus.NewDesc("gatehouse_"+f.Name, f.Help, f.Labels, nil), kind})
}

// family makes a Family what Prometheus wants.
type family struct {
	Family
	desc *prometheus.Desc
	kind prometheus.ValueType
}

// Describe implements prometheus.Collector.
func (f family) Describe(out chan<- *prometheus.Desc) { out <- f.desc }

// Collect implements prometheus.Collector. Two values with the same labels would spoil the whole answer: the first counts.
func (f family) Collect(out chan<- prometheus.Metric) {
	seen := map[string]bool{}
	f.Read(func(value float64, labels ...string) {
		key := ""
		for _, l := range labels {
			key += l + "\x00"
		}
		if seen[key] {
			return
		}
		seen[key] = true
		if metric, err := prometheus.NewConstMetric(f.desc, f.kind, value, labels...); err == nil {
			out <- metric
		}
	})
}

# Two commands do it all on a fresh machine with Go: make demo, make test.

GO      ?= go
BIN     := bin
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# no_fs_access keeps the WAF engine from writing parts of bodies to disk, and lets it start in a container without /tmp.
BUILD   := -tags no_fs_access -trimpath -ldflags '-s -w -X main.release=$(VERSION)'
export CGO_ENABLED ?= 0

.PHONY: build demo test check soak bench bench-waf platforms lint fmt generate clean

build: ## the one static binary
	$(GO) build $(BUILD) -o $(BIN)/gatehouse ./cmd/gatehouse

demo: ## the shop behind Gatehouse, toured; ONCE=1 ends after the tour
	@./scripts/demo

test: ## everything, with the real servers that tests talk to
	@./scripts/test

check: fmt lint ## format, vet, lint, layers, stories: under a minute
	$(GO) mod tidy -diff
	$(GO) vet ./...
	$(GO) test . ./gate/... ./config/... ./pipeline/...
	$(GO) test -run 'TestStories|TestManual' ./cmd/gatehouse

fmt:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "run gofmt -w on: $$unformatted"; exit 1; }

lint: $(BIN)/golangci-lint
	$(BIN)/golangci-lint run ./...

$(BIN)/golangci-lint: tools/go.mod
	cd tools && $(GO) build -o ../$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

generate: ## what is made from the source: the manual inside the binary, the schema and the reference page
	$(GO) generate ./cmd/gatehouse
	$(GO) run ./cmd/gatehouse schema > docs/gatehouse.schema.json
	$(GO) run ./cmd/gatehouse schema --reference > docs/reference.md

platforms: ## built and vetted for every platform
	@for p in linux/amd64 linux/arm64 darwin/arm64; do echo $$p; \
	GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) vet ./... && \
	GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build $(BUILD) -o $(BIN)/$$p/gatehouse ./cmd/gatehouse || exit 1; done

bench: build ## CPU, latency and memory beside a bare proxy and the peers that apt has
	@./scripts/bench

bench-waf: ## what the WAF costs and finds, beside plain Coraza, Caddy with Coraza and nginx with ModSecurity
	@./scripts/bench-waf

soak: ## long campaigns: hours of fuzzing, a thousand reloads, floods
	@./scripts/soak

clean:
	rm -rf $(BIN) build .demo

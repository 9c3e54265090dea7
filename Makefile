# Every target is one command that can be typed as well.
export CGO_ENABLED ?= 0
TOOL = go tool -modfile=tools/go.mod

.PHONY: build test race lint generate demo

build: ## bin/provender
	go build -trimpath -o bin/provender ./cmd/provender

test: ## install what the tests need, and run them all
	./scripts/test

race: ## the same under the race detector
	./scripts/test -race

lint: ## formatting, linters, breaking changes, known vulnerabilities
	./scripts/lint

generate: ## generated code and documents
	$(TOOL) buf generate
	./scripts/python-protos
	go test ./registry/definition -update

demo: ## the main job, on real data
	go run ./cmd/provender demo

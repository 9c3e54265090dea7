# Every target is one command that can be typed as well.
export CGO_ENABLED ?= 0
# Where there is no tag, or to say it otherwise: make build VERSION=v1.2.3
VERSION ?=
TOOL = go tool -modfile=tools/go.mod

.PHONY: image build test race lint generate demo

build: ## bin/provender
	go build -trimpath -ldflags "$$(./scripts/stamp $(VERSION))" -o bin/provender ./cmd/provender

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
	cd test/deploy/strict && go test . -update

demo: ## the main job, on real data
	go run ./cmd/provender demo

image: ## the container image, from a static program; docker or buildah
	CGO_ENABLED=0 go build -trimpath -o bin/image/provender ./cmd/provender
	mkdir -p bin/image/deploy && cp -r deploy/docker bin/image/deploy/
	$${BUILDER:-docker} build -f deploy/docker/Dockerfile -t ghcr.io/provender-dev/provender:0.1.0 bin/image

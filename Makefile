# The targets that a change needs. CONTRIBUTING.md says more; .ci/run is all of it.

GO          ?= go
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2
PKG         ?= ./...
RUN         ?= .
KERNEL      ?= 6.1
FUZZTIME    ?= 10s
LAUNCHES    ?= 20000
VMPKG       ?= $(shell .ci/vm-packages)

export CGO_ENABLED ?= 0

# Tests run as root by sudo, unless make is root's.
AS_ROOT := $(if $(filter 0,$(shell id -u)),,-exec 'sudo -E')

.PHONY: all build vet lint test test-root test-vm test-arm64 bench soak fuzz ci

# Under a minute, without root, network (once the modules are there) or Docker.
all: build vet lint test

build:
	$(GO) build -o bin/ ./cmd/...

vet:
	$(GO) vet ./...
	GOOS=darwin $(GO) vet ./...
	GOOS=linux GOARCH=arm64 $(GO) vet ./...

lint:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	$(GO) run $(STATICCHECK) ./...

# Without root, whoever calls: as root, the tests run as nobody.
test:
	.ci/unprivileged $(PKG)

# make test-root PKG=./layer RUN=TestMountWhiteout
test-root:
	$(GO) test -count=1 $(AS_ROOT) -run '$(RUN)' $(PKG)

# make test-vm KERNEL=6.12 VMPKG=./cgroups RUN=TestKill
test-vm:
	$(GO) run ./internal/vm -kernel $(KERNEL) -run '$(RUN)' $(VMPKG)

test-arm64:
	$(GO) run ./internal/vm -arch arm64 -kernel 6.12 -short -run '$(RUN)' $(if $(filter command line,$(origin VMPKG)),$(VMPKG),$(shell .ci/vm-packages arm64))

bench:
	@for d in bench/*/; do echo "$(GO) run ./$$d"; $(GO) run "./$$d" || exit 1; done
	$(GO) test -run '^$$' -bench . $(AS_ROOT) $(PKG)

# 20,000 starts under garbage collection and signals.
soak:
	$(GO) test -count=1 -timeout 60m $(AS_ROOT) -run TestStress ./namespace -launches $(LAUNCHES)
	$(GO) test -count=1 -timeout 60m $(AS_ROOT) -run 'TestKeepPours|TestManyKeepers|TestKeepKillStarterAtEachStep' ./namespace \
		-poured 10737418240 -keepers 1000 -stopat 1

# All fuzz targets, or those of PKG, FUZZTIME each.
fuzz:
	.ci/fuzz $(FUZZTIME) $(PKG)

ci:
	.ci/run

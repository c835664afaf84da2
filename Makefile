# The two that you need: make run, make test. The rest: make help.

SHELL    := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
GO       ?= go
PREFIX   ?= /usr/local
FUZZTIME ?= 10s
E2ETIME  ?= 14m
RUNS     ?= 5
BENCH    ?= .
PEERS    ?= 1,4,8
LINKS    ?= 50
BEFORE   ?=
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@latest
SYSTEMS  := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
PUBLIC   := $(HOME)/Public
SHARE     = $(DESTDIR)$(PREFIX)/share

# Everything is compiled as a release is, but for the race detector: what one step has compiled the others find in Go's cache.
export CGO_ENABLED := 0
export GOFLAGS     := $(strip $(filter-out -trimpath,$(shell $(GO) env GOFLAGS 2>/dev/null)) -trimpath)

# Compilers and linters are short-lived: collecting their garbage less often takes a sixth of their time away. What they
# compile does not run so: RUN is for tests.
lint lint-here vet-others cross unit: export GOGC := 400
RUN := env -u GOGC

.DEFAULT_GOAL := help
.PHONY: help build run test tools unit e2e bench fuzz fuzz-keep lint lint-here vet-others cross install generate clean

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/peerd
	$(GO) build -o bin/peerd ./cmd/peerd

run: build ## build peerd and start it here, with ~/Public offered for reading
	@mkdir -p "$(PUBLIC)"
	@echo
	@echo "  Put files to share into $(PUBLIC). Everybody in your workgroup can read them."
	@echo "  Do the same on another computer of this network; then, in a second terminal:"
	@echo
	@echo "    bin/peerd peers                     who is here"
	@echo "    bin/peerd ls                        what they share"
	@echo "    bin/peerd cp -r //NAME/Public .     fetch it"
	@echo
	@echo "  Nobody there? bin/peerd doctor says why. Ctrl-C here stops peerd."
	@echo
	@exec bin/peerd run --share "$(PUBLIC)"

test: tools unit e2e ## run every test; on Debian as root it installs what they need

tools:
	@.ci/tools

unit: # what takes longest begins first
	CGO_ENABLED=1 $(GO) test -race -vet=off -p 3 -timeout 10m -exec '$(RUN)' $$($(GO) list ./transfer/... ./cmd/... ./share/... ./peer/... ./discovery/... | grep -v -e /cmd/e2e)

e2e: ## run the real program in networks of its own (Linux, root)
	$(GO) test -v -count=1 -timeout $(E2ETIME) -parallel 4 ./cmd/e2e | grep -v '^=== '

bench: tools ## measure peerd against https, scp, SMB, rsync and BitTorrent; RUNS=5 PEERS=1,4,8 LINKS=50 (Mbit/s) BEFORE=older peerd BENCH=name
	$(GO) test -count=1 -timeout 3h -run '^$$' -bench '$(BENCH)' -benchtime 1x ./cmd/e2e -runs $(RUNS) -peers $(PEERS) -links $(LINKS) \
	  -before '$(abspath $(BEFORE))'

fuzz: ## run every fuzz target; FUZZTIME=10s (whole seconds) each
	@GO='$(GO)' .ci/fuzz $(FUZZTIME)

fuzz-keep: ## keep up to 64 small inputs that fuzzing found per target, in testdata
	@cache="$$($(GO) env GOCACHE)/fuzz"; [ -d "$$cache" ] || exit 0; cd "$$cache"; \
	for dir in $$(find github.com/peerd/peerd -name 'Fuzz*' -type d); do \
	  to="$(CURDIR)/$${dir#github.com/peerd/peerd/}"; to="$$(dirname "$$to")/testdata/fuzz/$$(basename "$$to")"; mkdir -p "$$to"; \
	  find "$$dir" -type f -size -8 | sort | head -64 | xargs -r cp -n -t "$$to"; done

lint: lint-here vet-others ## gofmt, go vet for three systems, staticcheck, the rules of this project, govulncheck

vet-others:
	@for os in darwin windows; do echo "go vet, $$os"; GOOS=$$os $(GO) vet ./...; done

lint-here:
	@out=$$(gofmt -l .); [ -z "$$out" ] || { echo "gofmt wants: $$out"; exit 1; }
	GOOS=linux $(GO) vet ./...
	$(GO) mod tidy -diff
	$(GO) run $(STATICCHECK) ./...
	$(GO) test -count=1 ./cmd/internal/rules
	@if curl -sf -m 5 -o /dev/null https://vuln.go.dev/index/db.json; then $(GO) run $(GOVULNCHECK) ./...; \
	else echo "govulncheck: left out, its database (vuln.go.dev) can't be reached from here"; fi

cross: ## build for Linux, macOS and Windows into dist/
	@for s in $(SYSTEMS); do os=$${s%/*} arch=$${s#*/}; exe=; [ $$os = windows ] && exe=.exe; \
	  GOOS=$$os GOARCH=$$arch $(GO) build -ldflags '-s -w' -o dist/peerd-$$os-$$arch$$exe ./cmd/peerd; \
	  ls -l dist/peerd-$$os-$$arch$$exe | awk '{ printf "%s %.1f MB\n", $$NF, $$5/1e6 }'; done

install: build ## install program, manual page and completions to PREFIX (default /usr/local)
	install -d "$(DESTDIR)$(PREFIX)/bin"
	install -m 755 bin/peerd "$(DESTDIR)$(PREFIX)/bin/peerd"
	install -d "$(SHARE)/man/man1" "$(SHARE)/bash-completion/completions" "$(SHARE)/zsh/site-functions" "$(SHARE)/fish/vendor_completions.d"
	bin/peerd docs man > "$(SHARE)/man/man1/peerd.1"
	bin/peerd completion bash > "$(SHARE)/bash-completion/completions/peerd"
	bin/peerd completion zsh > "$(SHARE)/zsh/site-functions/_peerd"
	bin/peerd completion fish > "$(SHARE)/fish/vendor_completions.d/peerd.fish"

generate: ## make the generated files anew (needs protoc)
	$(GO) generate ./...

clean: ## remove what make made
	rm -rf bin dist

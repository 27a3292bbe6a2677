# SPDX-License-Identifier: MIT OR Apache-2.0
# The front door. Everything real is in the CMake presets, tools/ and ci/; see `make help`.
DRIVERS := drivers-x64-fre drivers-x64-chk drivers-x86-fre drivers-x86-chk
SELFTESTS := selftest-x64 selftest-x86
MAKEFLAGS += --no-print-directory

define build
cmake --preset $(1) >build/$(1).log 2>&1 || { cat build/$(1).log; exit 1; }
cmake --build --preset $(1)
endef

SECONDS ?= 60

.PHONY: help run run-qemu test explore faults matrix mutation soak fuzz coverage drivers selftest host docs checks format clean


help:
	@echo 'make run      real job: a file system written and read through the Windows 7 driver'
	@echo 'make run-qemu the drivers on QEMU'"'"'s own virtio-blk-pci, in a small guest'
	@echo 'make test     everything that can be proved here; the last line counts'
	@echo 'make explore  small scenarios in every order in which processors and device can take turns (half an hour)'
	@echo 'make matrix   every interrupt grant, queue, block size, feature and processor count together'
	@echo 'make soak     a week of each architecture: load, resets, removals, sleeps, resizes, faults'
	@echo 'make faults   every fault at every place where it can strike (half an hour); the last line counts'
	@echo 'make mutation the driver with one line wrong at a time: do the tests notice? (half an hour)'
	@echo 'make drivers  the driver, x64 and x86, free and checked   -> out/drivers/'
	@echo 'make selftest the program that tests it on Windows 7       -> out/selftest/'
	@echo 'make host     storhost and its nbdkit plugin              -> out/bin/, out/lib/'
	@echo 'make fuzz     SECONDS=60: hostile devices, a Windows that asks anything, spoilt files'
	@echo 'make coverage lines and branches of the driver that tests and corpora reach'
	@echo 'make docs     the pages that are made from tables: rules, exports, skipped tests'
	@echo 'make checks   source rules only (seconds)'
	@echo 'make format   clang-format, in place'
	@echo 'make clean    removes build/ and out/'
	@echo
	@echo 'Missing Debian packages are installed first, through apt (tools/install-deps.sh).'

run: deps-run drivers-x64-fre host
	@tools/run.py

run-qemu: deps-guest drivers host
	@tools/run_qemu.py $(RUN_QEMU)

test: deps-test deps-wine32
	@ci/test

matrix: deps-test drivers host
	@tests/matrix.py

soak: deps-test drivers host
	@tests/soak.py

faults: deps-test drivers host
	@tests/faults.py

mutation: deps-test drivers host
	@tests/mutation/run

explore: deps-test drivers host
	@tools/explore.py

drivers: deps-build $(DRIVERS)

selftest: deps-build $(SELFTESTS)

host: deps-build
	@mkdir -p build
	@$(call build,host)
	@$(call build,host-x86)

docs: host
	@out/bin/storhost rules --markdown >docs/storport-rules.md
	@(out/bin/storhost exports --markdown; out/bin/storhost-x86 exports --markdown) >docs/exports.md
	@tests/iscsi_skips.py >docs/iscsi-test-cu.md

$(DRIVERS) $(SELFTESTS): deps-build
	@mkdir -p build
	@$(call build,$@)

fuzz: deps-test drivers host
	@$(call build,native-asan)
	@tools/fuzz.py --seconds $(SECONDS)

coverage: deps-test
	@mkdir -p build
	@$(call build,native-cov)
	@tools/coverage.py

checks: deps-test
	@ci/checks

format: deps-test
	@ci/check-format --fix

clean:
	rm -rf build out

# One installer, one build at a time: each build uses all processors by itself.
.NOTPARALLEL:
.PHONY: $(DRIVERS) $(SELFTESTS) deps-build deps-run deps-guest deps-test deps-wine32
deps-build deps-run deps-guest deps-test:
	@tools/install-deps.sh $(@:deps-%=%)
deps-wine32: deps-test
	@tools/install-wine32.sh

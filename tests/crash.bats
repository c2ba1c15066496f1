#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# The promise under kill -9, failing disks and power cuts: a selection.  All
# of it is tests/crash/all.

load lib.bash

# Makes step once, and sees whether this machine lets it do its work.
prepare() {
	[ "$(uname)" = Linux ] || skip "step.c needs Linux"
	command -v python3 >/dev/null || skip "no python3"
	if [ -z "${STEP:-}" ]; then
		STEP=$BATS_FILE_TMPDIR/step
		[ -x "$STEP" ] || "${CC:-cc}" -std=c11 -D_GNU_SOURCE -O1 \
		    -o "$STEP" "$BATS_TEST_DIRNAME/crash/step.c"
	fi
	export STEP POPLAR POPD
	"$STEP" -l "$BATS_TEST_TMPDIR/log" -- "$POPLAR" --version \
	    >/dev/null 2>"$BATS_TEST_TMPDIR/why" ||
		skip "no stop at system calls: $(cat "$BATS_TEST_TMPDIR/why")"
}

crash() {
	python3 -B "$BATS_TEST_DIRNAME/crash/$1.py" "${@:2}"
}

@test "killed at system calls of any kind: the next run has each message once" {
	prepare
	crash kill --only kill --cases 3
}

@test "asked to stop at system calls of any kind: it stops, and resumes" {
	prepare
	crash kill --only term --cases 3
}

@test "calls on message, directory, journal and mbox fail: said, and safe" {
	prepare
	[ "$(id -u)" -eq 0 ] || skip "only root sees the files of a worker"
	crash fault --cases 2
}

@test "the power is cut at any step: what the disk kept is enough" {
	prepare
	command -v strace >/dev/null || skip "no strace"
	crash power --cases 4
}

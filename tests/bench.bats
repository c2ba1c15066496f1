#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# That "make bench" works: a thousandth of it.

load lib.bash

@test "each work is measured, and all of it delivered" {
	command -v python3 >/dev/null || skip "no python3"
	local name works
	export POPLAR POPD
	run -0 python3 -B "$BATS_TEST_DIRNAME/bench/run.py" --scale 1000 \
	    --rounds 1 --clients poplar,receive,floor
	works=$(grep -c '^[a-z-]*: ' <<<"$output")
	[ "$works" -ge 14 ]
	for name in poplar floor; do
		[ "$(grep -c "^  $name  *[0-9.]* s .* peak " <<<"$output")" -eq \
		    "$works" ]
	done
	not grep 'too slow' <<<"$output"
}

#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# What the source itself must keep: layers, sizes, format, manual pages.

load lib

setup() {
	src=$BATS_TEST_DIRNAME/../src
	man=$BATS_TEST_DIRNAME/../man
}

teardown() {
	:
}

# no_include LAYER FOLDER ...: LAYER includes nothing of these folders.
no_include() {
	local layer=$1
	shift
	local IFS='|'
	run grep -HnE "#include \"($*)/" "$src/$layer/"*.[ch]
	assert_failure 1
}

@test "no layer includes one above it" {
	no_include base conf run ui mail state pop3 wire
	no_include wire conf run ui mail state pop3
	no_include pop3 conf run ui mail state
	no_include state conf run ui mail pop3 wire
	no_include mail conf run ui state pop3 wire
	no_include ui conf mail state pop3 wire
	no_include conf run ui state pop3 wire
}

@test "ui knows of run only the events" {
	run grep -HnE '#include "run/' "$src/ui/"*.[ch]
	refute_line --regexp '#include "run/[^e]'
	assert_line --partial 'run/event.h'
}

@test "GnuTLS stays in wire and base/digest.c" {
	run grep -lE '<gnutls/' -r "$src"
	refute_line --regexp '\.h$'
	refute_line --regexp 'src/(conf|run|ui|mail|state|pop3)/'
	refute_line --regexp 'src/main'
}

@test "only main, the worker and the lack of memory end the process" {
	run grep -nE '\b(_?exit|_Exit)\(' -r "$src" --include='*.c'
	refute_line --regexp 'src/(conf|ui|mail|state|pop3|wire)/'
	refute_line --regexp 'base/[^m]'
}

@test "functions are short: 20 lines as the median, 60 at p95, 100 at most" {
	command -v ctags >/dev/null || skip "universal-ctags is not installed"
	ctags -R --languages=C --kinds-C=f --fields=+ne -o - "$src" |
	    sed -n 's/^\([^	]*\).*line:\([0-9]*\).*end:\([0-9]*\).*/\2 \3 \1/p' |
	    awk '{ print $2 - $1 + 1, $3 }' | sort -n >"$BATS_TEST_TMPDIR/sizes"
	run awk '{ size[NR] = $1; name[NR] = $2 }
	    END { print NR, size[int(NR / 2)], size[int(NR * .95)], size[NR],
		name[NR] }' "$BATS_TEST_TMPDIR/sizes"
	read -r count median p95 longest name <<<"$output"
	echo "functions $count, median $median, p95 $p95, longest $longest $name"
	[ "$count" -gt 300 ]
	[ "$median" -le 20 ]
	[ "$p95" -le 60 ]
	[ "$longest" -le 100 ]
}

@test "the source is formatted as .clang-format says" {
	command -v clang-format >/dev/null || skip "clang-format is not installed"
	# Each version has its own idea of some details.
	[[ $(clang-format --version) == *'version 14.'* ]] ||
	    skip "only clang-format 14 knows"
	run clang-format --dry-run --Werror "$src"/*.c "$src"/*/*.[ch] \
	    "$BATS_TEST_DIRNAME"/unit/*.[ch] "$BATS_TEST_DIRNAME"/popd/*.[ch] \
	    "$BATS_TEST_DIRNAME"/fuzz/*.c
	assert_success
}

@test "the manual pages are clean" {
	command -v mandoc >/dev/null || skip "mandoc is not installed"
	# Whether other programs' pages are installed is not the page's fault.
	run bash -c "mandoc -T lint -W style '$man'/*.[1-8] 2>&1 |
	    grep -v 'referenced manual not found' | grep -v 'mandoc.db'"
	assert_output ''
}

@test "every header stands on its own" {
	local header
	for header in "$src"/*/*.h; do
		run "${CC:-cc}" -std=c11 -D_GNU_SOURCE -fsyntax-only -I"$src" \
		    $(pkg-config --cflags libbsd-overlay gnutls) -x c "$header"
		assert_success
	done
}

@test "every option of --help stands in poplar(1), and the other way round" {
	"$POPLAR" --help | grep -oE '(^| |, )--?[a-zA-Z0-9][a-z-]*' |
	    sed 's/[ ,]*-*//' | sort -u >"$BATS_TEST_TMPDIR/help"
	sed -n 's/^\.It Fl //p' "$man/poplar.1" | tr ',' '\n' |
	    sed 's/ *Fl //; s/^ *-*//; s/ .*//; s/Ns$//' | sort -u \
	    >"$BATS_TEST_TMPDIR/manual"
	# "keyword" is a placeholder on both sides.
	diff <(grep -vx keyword "$BATS_TEST_TMPDIR/help") \
	    <(grep -vxE 'keyword|' "$BATS_TEST_TMPDIR/manual")
}

@test "make check runs every test" {
	local file
	cd "$BATS_TEST_DIRNAME/.."
	for file in tests/*.bats tests/*/*.bats tests/unit/test-*.c; do
		grep -qF "${file%.c}" Makefile.am || echo "$file"
	done >"$BATS_TEST_TMPDIR/forgotten"
	diff /dev/null "$BATS_TEST_TMPDIR/forgotten"
}

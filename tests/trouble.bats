#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Messages that fail: they stop no others, go last in the next run, and at
# length into the quarantine.

load lib

# The numbers of the messages asked for, by connection $1, in that order.
asked_for() {
	sed -n "s/^$1 C: RETR //p" "$LOG" | tr '\n' ' '
}

# An MDA that keeps each message as FILE.UID and refuses, with exit code $2,
# those whose text matches $1.
picky() {
	mkdir -p "$BATS_TEST_TMPDIR/taken"
	cat >"$BATS_TEST_TMPDIR/mda" <<-END
		#!/bin/sh
		cat >"\$TMPDIR/message"
		! grep -q '$1' "\$TMPDIR/message" || exit ${2:-1}
		mv "\$TMPDIR/message" "$BATS_TEST_TMPDIR/taken/\$POPLAR_UID"
	END
	chmod +x "$BATS_TEST_TMPDIR/mda"
	MDA="delivery mda $BATS_TEST_TMPDIR/mda"
}

taken() {
	ls "$BATS_TEST_TMPDIR/taken" | tr '\n' ' '
}

# on_day N [option ...]: a run so many days from now.
on_day() {
	run_poplar_at "+$1d" "${@:2}"
}

# The trace of an attempt, if there is any.
trace() {
	find "$HOME" -maxdepth 1 -name 'state.trying-*'
}

# has_trace [TEXT]
has_trace() {
	grep -qs "${1:-.}" "$(trace)"
}

quarantine() {
	printf '%s.quarantine\n' "$HOME/state"
}

@test "a message that was refused goes last in the next run" {
	messages 4
	serve
	picky 'message 2'
	rc "$MDA"
	run_poplar
	expect_exit 75
	message m0000 "message 0"
	message m0005 "message 5"
	run_poplar --dry-run
	expect_exit 0
	assert_line --index 5 --partial "fetch 3 "
	run_poplar
	expect_exit 75
	[ "$(asked_for 1)" = "1 2 3 4 " ]
	[ "$(asked_for 3)" = "1 6 3 " ]
	[ "$(taken)" = "m0000 m0001 m0003 m0004 m0005 " ]
	picky nothing
	run_poplar
	expect_exit 0
	[ "$(asked_for 4)" = "3 " ]
}

@test "a message that the server refused goes last in the next run" {
	messages 3
	serve --resp 'RETR 1#1=-ERR no'
	rc
	run_poplar
	expect_exit 75
	message m0009 "message 9"
	run_poplar
	expect_exit 0
	[ "$(asked_for 2)" = "4 1 " ]
}

@test "a message whose attempt never ended goes last: kill -9 in the command" {
	messages 3
	serve
	cat >"$BATS_TEST_TMPDIR/mda" <<-END
		#!/bin/sh
		grep -q 'message 1' || exit 0
		[ ! -e "$HOME/hang" ] || exit 0
		echo \$\$ >"$HOME/hang"
		exec sleep 60
	END
	chmod +x "$BATS_TEST_TMPDIR/mda"
	rc "delivery mda $BATS_TEST_TMPDIR/mda" "uidls_file ~/state"
	start_poplar
	eventually [ -s "$HOME/hang" ]
	pids+=("$(cat "$HOME/hang")")
	kill_at_once "$RUN"
	has_trace
	run_poplar
	expect_exit 0
	[ "$(asked_for 2)" = "2 3 1 " ]
	[ -z "$(trace)" ]
}

@test "a message at which the process is killed goes last, whatever the delivery" {
	local place
	for place in "maildir ~/Maildir" "mbox ~/mbox"; do
		rm -rf "$HOME"/* "$LOG"
		messages 4
		serve --at 'RETR 2' --stall-after 100 --on-connection 1
		rc "delivery $place" "uidls_file ~/state" "timeout 60"
		start_poplar
		eventually logged 'RETR 4'
		eventually has_trace
		eventually has_trace m0002
		kill_at_once "$RUN"
		run_poplar
		expect_exit 0
		[ "$(asked_for 2)" = "1 3 4 2 " ]
		[ -z "$(trace)" ]
		stop_server
	done
}

@test "a message that always breaks the line stops no others, nor deletions" {
	local i
	messages 4
	serve --at 'RETR 2' --cut-after 100
	rc "keep off"
	run_poplar
	expect_exit 75
	[ "$(delivered)" -eq 1 ]
	run_poplar
	expect_exit 75
	[ "$(delivered)" -eq 3 ]
	run_poplar
	expect_exit 75
	[ "$(ls "$BOX" | wc -l)" -eq 4 ]
	# After so many times the deletions of the others come first.
	run_poplar
	expect_exit 75
	says "message 2: left for a later run" "the connection breaks at it"
	[ "$(ls "$BOX")" = m0002 ]
	[ "$(delivered)" -eq 3 ]
	# Number 2 is number 1 now, and well.
	run_poplar
	expect_exit 0
	[ "$(delivered)" -eq 4 ]
	[ -z "$(ls "$BOX")" ]
}

@test "of those that failed, the one that failed last comes last" {
	messages 4
	serve
	picky 'message [23]'
	rc "$MDA" "order newest"
	run_poplar
	expect_exit 75
	rc "$MDA"
	run_poplar
	expect_exit 75
	assert_equal "$(asked_for 1)" '4 3 2 1 '
	assert_equal "$(asked_for 2)" '3 2 '
	# That was the turn of both, in this order.
	rc "$MDA" "order newest"
	run_poplar
	assert_equal "$(asked_for 3)" '3 2 '
}

@test "what fails too often goes into the quarantine, raw, once" {
	messages 3
	serve
	picky 'message 2'
	rc "$MDA" "keep off" "quarantine_after 2" "uidls_file ~/state"
	on_day 0
	expect_exit 75
	# That was the first failure; it counts from a day later on.
	message m0010 "message 10"
	on_day 0
	expect_exit 75
	message m0011 "message 11"
	on_day 2
	expect_exit 75
	[ ! -e "$(quarantine)" ]
	message m0012 "message 12"
	on_day 3
	expect_exit 75
	says "failed too often" "$(quarantine)" "stays on the server"
	[ "$(grep -c 'failed too often' <<<"$stderr")" -eq 1 ]
	[ "$(ls "$BOX")" = m0002 ]
	as_delivered "$BOX/m0002" | cmp - "$(quarantine)"/new/*
	[ -z "$(ls "$(quarantine)/tmp")" ]
	# Nobody hears of it again, and nothing deletes it.
	: >"$LOG"
	message m0013 "message 13"
	on_day 4
	expect_exit 0
	assert_equal "$stderr" ''
	not logged 'RETR 1$'
	[ "$(ls "$BOX")" = m0002 ]
	[ "$(ls "$(quarantine)/new" | wc -l)" -eq 1 ]
	on_day 90 --keep=1d
	expect_exit 0
	[ "$(ls "$BOX")" = m0002 ]
	# Nor when the server calls it something else.
	stop_server
	serve --port "$PORT" --uid-prefix moved-
	on_day 91
	expect_exit 0
	says "1 were recognised"
	[ "$(ls "$BOX")" = m0002 ]
	[ "$(ls "$(quarantine)/new" | wc -l)" -eq 1 ]
}

@test "failures for which a message is not to blame lead to no quarantine" {
	local day
	messages 2
	serve
	picky 'message 1' 75
	rc "$MDA" "quarantine_after 1" "uidls_file ~/state"
	for day in 0 2 3; do
		message "m1$day" "message 2 of $day"
		on_day "$day"
		expect_exit 75
	done
	[ ! -e "$(quarantine)" ]
	# Nothing else went well.
	picky message
	for day in 4 6 7; do
		message "m2$day" "message of $day"
		on_day "$day"
		expect_exit 75
	done
	[ ! -e "$(quarantine)" ]
}

@test "quarantine_after off: it is tried for ever" {
	local day
	messages 1
	serve
	picky 'message 1'
	rc "$MDA" "quarantine_after off" "uidls_file ~/state"
	for day in 0 2 3 4 5 6 7 8; do
		message "m1$day" "another of $day"
		on_day "$day"
		expect_exit 75
	done
	[ ! -e "$(quarantine)" ]
}

@test "a quarantine that cannot be made: said, and the rest goes on" {
	messages 2
	serve
	picky 'message 1'
	rc "$MDA" "keep off" "quarantine_after 1" "uidls_file ~/state"
	: >"$(quarantine)"
	on_day 0
	message m0003 "message 3"
	on_day 2
	expect_exit 75
	says "quarantine" "$(quarantine)"
	[ "$(ls "$BOX")" = m0001 ]
	rm "$(quarantine)"
	message m0004 "message 4"
	on_day 3
	expect_exit 75
	says "failed too often"
	[ "$(ls "$(quarantine)/new" | wc -l)" -eq 1 ]
}

@test "a quarantine in which nothing appears: that is undone, the rest goes on" {
	command -v strace >/dev/null || skip "strace is not installed"
	messages 2
	serve
	picky 'message 1'
	rc "$MDA" "keep off" "quarantine_after 1" "uidls_file ~/state"
	on_day 0
	expect_exit 75
	message m0003 "message 3"
	POPLAR=$(command -v strace) on_day 2 -f -o /dev/null \
	    -e inject=renameat:error=EDQUOT "$POPLAR"
	expect_exit 75
	says "quarantine: deliver: cannot move" "new/"
	[[ $stderr != *"failed too often"* ]]
	[ "$(ls "$BOX")" = m0001 ]
	[ -z "$(find "$(quarantine)" -type f)" ]
	: >"$LOG"
	message m0004 "message 4"
	on_day 4
	expect_exit 75
	[ "$(asked_for 3)" = "2 1 1 " ]
	says "failed too often"
	[ "$(ls "$(quarantine)/new" | wc -l)" -eq 1 ]
}

# The last messages of a session in which the quarantine fails and the server
# falls silent behind that.
silent_session() {
	local i file sizes=()
	for file in "$BOX"/*; do
		sizes+=("$(wc -c <"$file")")
	done
	printf '%s\n' 'S: +OK' 'C: CAPA' 'S: +OK' 'S: PIPELINING' 'S: UIDL' \
	    'S: TOP' 'S: .' 'C: USER alice' 'C: PASS sesame' 'C: STAT' 'C: UIDL' \
	    'C: LIST' 'REPEAT 2 S: +OK' 'S: +OK 4 4000' 'S: +OK' \
	    'REPEAT 4 S: %d m000%d' 'S: .' 'S: +OK'
	for i in 1 2 3 4; do
		echo "S: $i ${sizes[i - 1]}"
	done
	echo 'S: .'
	for i in 4 1 2 1; do
		printf '%s\n' "C: RETR $i" 'REPEAT 9 QUESTION' 'S: +OK' \
		    "MESSAGE $BOX/m000$i" 'REPEAT 9 ANSWER +OK 4 4000'
	done
	printf '%s\n' 'C: RETR 2' 'REPEAT 9 QUESTION' 'EXPECT-EOF'
}

@test "a quarantine that fails, and then the server: that ends the session" {
	command -v strace >/dev/null || skip "strace is not installed"
	messages 3
	serve
	picky 'message [12]'
	rc "$MDA" "quarantine_after 1" "uidls_file ~/state"
	on_day 0
	expect_exit 75
	stop_server
	message m0004 "message 4"
	play < <(silent_session)
	rc "$MDA" "quarantine_after 1" "uidls_file ~/state"
	POPLAR=$(command -v strace) on_day 2 -f -o /dev/null \
	    -e inject=renameat:error=EDQUOT "$POPLAR"
	assert_played
	expect_exit 74
	says "quarantine: deliver: cannot move" "new/"
	[[ $stderr != *"session is up"* ]]
}

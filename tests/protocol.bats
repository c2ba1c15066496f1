#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# What servers may say, and what becomes of the mail then.

load lib

# fetches [WORD ...]: the run is good, and silent but for these words.
fetches() {
	local word
	run_poplar
	expect_exit 0
	if [ "$#" -gt 0 ]; then
		says "$@"
	else
		assert_equal "$output$stderr" ""
	fi
}

# again [popd option ...]: another server in its place, so that the state is
# the same one.
again() {
	stop_server
	serve --port "$PORT" "$@"
}

# asked PATTERN: how many lines of the client match.
asked() {
	grep -cE "C: $1" "$LOG" || true
}

# login_lines: a lockstep login, for scripts.
login_lines() {
	echo 'S: +OK'
	login_steps
}

# listing_lines N SIZE: STAT, UIDL and LIST in lockstep, N such messages.
listing_lines() {
	printf '%s\n' 'C: STAT' "S: +OK $1 $(($1 * $2))" 'C: UIDL' 'S: +OK' \
	    "REPEAT $1 S: %d uid%d" 'S: .' 'C: LIST' 'S: +OK' \
	    "REPEAT $1 S: %d ${2:-100}" 'S: .'
}

# play_after_login < script
play_after_login() {
	play --log "$LOG" < <(
		login_lines
		cat
	)
}

# play_after_listing N [SIZE] < script
play_after_listing() {
	play --log "$LOG" < <(
		login_lines
		listing_lines "$@"
		cat
	)
}

# bounded COMMAND ...: within far less than it would take without timeout.
bounded() {
	SECONDS=0
	"$@"
	[ "$SECONDS" -lt 8 ]
}

# Whatever was delivered is whole, and nothing is left in tmp.
assert_nothing_partial() {
	local f
	for f in "$1"/*; do
		sed 's/\r$//' "$f" | sha256sum
	done | sort >"$BATS_TEST_TMPDIR/whole"
	find "$HOME/Maildir/new" -type f -exec sha256sum {} + |
	    sed 's/ .*/  -/' | sort >"$BATS_TEST_TMPDIR/got"
	[ -z "$(comm -13 "$BATS_TEST_TMPDIR/whole" "$BATS_TEST_TMPDIR/got")" ]
	[ -z "$(find "$HOME/Maildir/tmp" -type f)" ]
}

forget_everything() {
	rm -rf "$HOME/Maildir" "$HOME/.local"
	: >"$LOG"
}

# No octet of a terminal's control sequences came through.
assert_no_controls() {
	if LC_ALL=C grep -aP '[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]' \
	    <<<"$output$stderr" >&2; then
		return 1
	fi
}

# Greeting

@test "a greeting that says no: 75, for good: 69" {
	serve --greeting '-ERR too many connections'
	rc
	run_poplar
	expect_exit 75
	says "greeting: " "too many connections"
	stop_server
	serve --greeting '-ERR [IN-USE] wait'
	rc
	run_poplar
	expect_exit 75
	stop_server
	serve --greeting '-ERR [SYS/PERM] moved'
	rc
	run_poplar
	expect_exit 69
	run grep -E 'C: (USER|PASS|APOP)' "$LOG"
	assert_failure
}

@test "a greeting of another protocol: 76, and nothing is said to it (CVE-2020-28896)" {
	for greeting in '220 mail.example.org ESMTP' '* OK IMAP4rev1' \
	    '+OKAY' '' 'HTTP/1.1 400 Bad Request'; do
		play --log "$LOG" <<-X
			S: $greeting
			EXPECT-EOF
		X
		rc
		run_poplar
		expect_exit 76
		says "greeting: the answer to the connection is no reply"
		assert_played
	done
}

@test "a server that closes at once: 75" {
	play <<<CUT
	rc
	run_poplar
	expect_exit 75
	says "greeting: the server closed the connection"
	play <<<RESET
	rc
	run_poplar
	expect_exit 75
	says "onnection"
}

@test "a server that closes in the middle: 75, whatever it was doing" {
	messages 2
	for at in USER PASS STAT UIDL LIST 'RETR 1'; do
		serve --no-pipelining --at "$at" --cut-after 0
		rc
		run_poplar
		expect_exit 75
		says "the server closed the connection"
		stop_server
	done
	assert_equal "$(delivered)" 0
}

# What a server may lack

@test "an empty mailbox" {
	serve
	rc
	fetches
	assert_equal "$(delivered)" 0
	[ "$(asked QUIT)" -eq 1 ]
}

@test "a server without CAPA" {
	messages 3
	serve --no-capa
	rc
	fetches
	assert_maildir_equals_box
	fetches
	assert_maildir_equals_box
	assert_equal "$(asked RETR)" 3
}

@test "a server that hangs up, or hangs, at CAPA is called once more" {
	messages 2
	for fault in --cut-after --stall-after; do
		serve --at CAPA "$fault" 0
		rc "timeout 1"
		fetches
		assert_maildir_equals_box
		assert_equal "$(asked CAPA)" 1
		assert_equal "$(grep -c connect "$LOG")" 2
		stop_server
		forget_everything
	done
}

@test "without PIPELINING each command waits for the reply before it" {
	play --log "$LOG" <<-'X'
		S: +OK
		C: CAPA
		EXPECT-NOTHING 40
		S: +OK
		S: UIDL
		S: TOP
		S: .
		C: USER alice
		EXPECT-NOTHING 40
		S: +OK
		C: PASS sesame
		EXPECT-NOTHING 40
		S: +OK
		C: CAPA
		EXPECT-NOTHING 40
		S: +OK
		S: UIDL
		S: TOP
		S: .
		C: STAT
		EXPECT-NOTHING 40
		S: +OK 2 10
		C: UIDL
		EXPECT-NOTHING 40
		S: +OK
		S: 1 a
		S: 2 b
		FLUSH
		EXPECT-NOTHING 40
		S: .
		C: LIST
		EXPECT-NOTHING 40
		S: +OK
		S: 1 5
		S: 2 5
		S: .
		C: RETR 1
		EXPECT-NOTHING 40
		S: +OK
		S: one
		FLUSH
		EXPECT-NOTHING 40
		S: .
		C: RETR 2
		EXPECT-NOTHING 40
		S: +OK
		S: two
		S: .
		C: DELE 1
		EXPECT-NOTHING 40
		S: +OK
		C: DELE 2
		EXPECT-NOTHING 40
		S: +OK
		C: QUIT
		EXPECT-NOTHING 40
		S: +OK
		EXPECT-EOF
	X
	rc "keep off"
	run_poplar
	assert_played
	expect_exit 0
	assert_equal "$(delivered)" 2
}

# The rest of a session in which all is pipelined.
pipelined() {
	cat <<-'X'
		C: USER alice
		C: PASS sesame
		C: STAT
		C: UIDL
		C: LIST
		S: +OK
		S: +OK
		S: +OK 3 33
		S: +OK
		REPEAT 3 S: %d uid%d
		S: .
		S: +OK
		REPEAT 3 S: %d 11
		S: .
		C: RETR 1
		REPEAT 9 QUESTION
		C: RETR 2
		C: RETR 3
		REPEAT 17 QUESTION
		S: +OK
		S: message 1
		S: .
		REPEAT 9 ANSWER +OK 3 33
		S: +OK
		S: message 2
		S: .
		S: +OK
		S: message 3
		S: .
		REPEAT 17 ANSWER +OK 3 33
		C: QUIT
		S: +OK
		EXPECT-EOF
	X
}

@test "with PIPELINING login and listing leave in one flight, so do RETRs" {
	play < <(
		printf '%s\n' 'S: +OK' 'C: CAPA' 'S: +OK' 'S: PIPELINING' \
		    'S: UIDL' 'S: TOP' 'S: .'
		pipelined
	)
	rc "pipelining auto"
	run_poplar
	assert_played
	expect_exit 0
	assert_equal "$(delivered)" 3
}

@test "pipelining on: also where the server does not offer it" {
	play < <(
		printf '%s\n' 'S: +OK' 'C: CAPA' 'S: -ERR'
		pipelined
	)
	rc "pipelining on"
	run_poplar
	assert_played
	expect_exit 0
	assert_equal "$(delivered)" 3
}

@test "pipelining off: one by one, also where the server offers it" {
	play <<-'X'
		S: +OK
		C: CAPA
		S: +OK
		S: PIPELINING
		S: UIDL
		S: TOP
		S: .
		C: USER alice
		EXPECT-NOTHING 40
		S: +OK
		C: PASS sesame
		EXPECT-NOTHING 40
		S: +OK
		C: STAT
		EXPECT-NOTHING 40
		S: +OK 2 6
		C: UIDL
		S: +OK
		REPEAT 2 S: %d %d
		S: .
		C: LIST
		S: +OK
		REPEAT 2 S: %d 3
		S: .
		C: RETR 1
		EXPECT-NOTHING 40
		S: +OK
		S: x
		S: .
		C: RETR 2
		S: +OK
		S: x
		S: .
		C: QUIT
		S: +OK
		EXPECT-EOF
	X
	rc "pipelining off"
	run_poplar
	assert_played
	expect_exit 0
	assert_equal "$(delivered)" 2
}

@test "a server that announces PIPELINING only after the login" {
	play < <(
		login_lines | sed 's/S: -ERR/S: +OK\nS: ./'
		printf '%s\n' 'C: CAPA' 'S: +OK' 'S: PIPELINING' 'S: .' \
		    'C: STAT' 'C: UIDL' 'C: LIST' 'S: +OK 0 0' 'S: +OK' \
		    'S: .' 'S: +OK' 'S: .' 'C: QUIT' 'S: +OK'
	)
	rc
	run_poplar
	assert_played
	expect_exit 0
}

# withdraws ANSWER ...: PIPELINING before the login, and what CAPA says then.
withdraws() {
	play < <(
		login_lines | sed 's/S: -ERR/S: +OK\nS: PIPELINING\nS: TOP\nS: ./'
		printf '%s\n' 'C: CAPA' "$@"
		listing_lines 2 3
		for i in 1 2; do
			printf '%s\n' "C: RETR $i" 'EXPECT-NOTHING 40' \
			    'S: +OK' 'S: x' 'S: .'
		done
		printf '%s\n' 'C: QUIT' 'S: +OK'
	)
	rc
	run_poplar
	assert_played
	expect_exit 0
	assert_equal "$(delivered)" 2
	forget_everything
}

@test "a server that announces PIPELINING only before the login" {
	withdraws 'S: +OK' 'S: TOP' 'S: UIDL' 'S: .'
	withdraws 'S: -ERR'
}

# in_flight FROM TO: so many RETRs, and the proof behind each; messages of 1 MiB.
in_flight() {
	local i line
	printf -v line '%016382d' 0
	for ((i = $1; i <= $2; i++)); do
		printf '%s\n' "C: RETR $i" 'REPEAT 9 QUESTION'
	done
	echo 'DELAY 65'
	for ((i = $1; i <= $2; i++)); do
		printf '%s\n' 'S: +OK' "REPEAT 64 S: $line" 'S: .' \
		    'REPEAT 9 ANSWER +OK 9 9437184'
	done
}

window_grows() {
	forget_everything
	play --wait 3000 < <(
		printf '%s\n' 'S: +OK' 'C: CAPA' 'S: +OK' 'S: PIPELINING' \
		    'S: UIDL' 'S: TOP' 'S: .' 'C: USER alice' 'C: PASS sesame' \
		    'C: STAT' 'C: UIDL' 'C: LIST' 'DELAY 80' 'REPEAT 2 S: +OK' \
		    'S: +OK 9 9437184' 'S: +OK' 'REPEAT 9 S: %d uid%d' 'S: .' \
		    'S: +OK' 'REPEAT 9 S: %d 1048576' 'S: .'
		in_flight 1 4
		in_flight 5 9
		printf '%s\n' 'C: QUIT' 'S: +OK'
	)
	rc
	run_poplar
	assert_played && [ "$status" -eq 0 ] && [ "$(delivered)" -eq 9 ]
}

@test "a window in octets, larger when a distant line has shown to be fast" {
	# On a busy machine no line is.
	window_grows || window_grows || window_grows
}

@test "a thousand messages, in a window, each exactly once" {
	serve_synthetic 1000
	rc
	fetches
	assert_equal "$(delivered)" 1000
	fetches
	assert_equal "$(delivered)" 1000
}

serve_synthetic() {
	start_popd mailbox --log "$LOG" --synthetic "$1:500"
}

@test "UIDL refused: the header is the identity" {
	for how in --uidl-err --no-uidl; do
		rm -rf "${BOX:?}"/*
		messages 3
		serve "$how"
		rc
		fetches
		assert_maildir_equals_box
		fetches
		assert_equal "$(asked RETR)" 3
		message m4 four
		fetches
		assert_equal "$(asked RETR)" 4
		assert_maildir_equals_box
		stop_server
		forget_everything
	done
}

@test "without UIDL keep off deletes what was delivered, and that only" {
	messages 3
	cp -r "$BOX" "$BATS_TEST_TMPDIR/all"
	serve --no-uidl --resp 'RETR 2=-ERR not now'
	rc "keep off"
	run_poplar
	expect_exit 75
	[ "$(ls "$BOX")" = m0002 ]
	again --no-uidl
	fetches
	[ -z "$(ls "$BOX")" ]
	BOX=$BATS_TEST_TMPDIR/all
	assert_maildir_equals_box
}

@test "neither UIDL nor TOP: all is received, what is known is discarded" {
	messages 3
	serve --no-uidl --no-top
	rc
	fetches "neither UIDL nor TOP" "keep off"
	assert_maildir_equals_box
	message m4 four
	fetches "neither UIDL nor TOP"
	assert_equal "$(asked RETR)" 7
	assert_maildir_equals_box
}

@test "neither UIDL nor TOP, keep off: each exactly once, then gone" {
	messages 3
	cp -r "$BOX" "$BATS_TEST_TMPDIR/all"
	serve --no-uidl --no-top --no-delete
	rc "keep off"
	run_poplar
	expect_exit 0
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
	again --no-uidl --no-top
	run_poplar
	expect_exit 0
	[ -z "$(ls "$BOX")" ]
	BOX=$BATS_TEST_TMPDIR/all
	assert_maildir_equals_box
}

@test "LIST refused: sizes are not needed" {
	messages 3
	serve --resp 'LIST=-ERR what?'
	rc
	fetches
	assert_maildir_equals_box
	fetches
	assert_equal "$(asked RETR)" 3
}

@test "UIDL, LIST and TOP refused: STAT's count will do" {
	messages 3
	serve --no-uidl --no-top --resp 'LIST=-ERR what?'
	rc
	fetches "neither UIDL nor TOP"
	assert_maildir_equals_box
}

@test "UTF8, LANG and other unknown capabilities are no matter" {
	messages 1
	serve --capa 'X-FOO \x1b[2J' --capa 'SASL' --capa 'EXPIRE' \
	    --capa 'LOGIN-DELAY x' --capa '' --capa '  '
	rc
	fetches
	assert_maildir_equals_box
}

# Unique-ids

@test "blanks, paths and odd octets in unique-ids (CVE-2018-14362)" {
	messages 8
	printf '%s\n' 'm0001 a%20b' 'm0002 a%20%20b' 'm0003 %ff%fe%01' \
	    'm0004 a%09b' 'm0005 ../../../../etc/passwd' 'm0006 %2e' \
	    'm0007 %22%27%60$(id)%5c' 'm0008 %c3%bc%1b[2J' >"$BOX/.uids"
	serve
	rc
	fetches
	assert_maildir_equals_box
	fetches
	assert_maildir_equals_box
	assert_equal "$(asked RETR)" 8
	run_poplar --dry-run --only-new=off
	expect_exit 0
	assert_no_controls
	run_poplar -d
	assert_no_controls
}

@test "unique-ids that differ only beyond 1 KiB are different (CVE-2005-2335)" {
	messages 2
	long=$(head -c 3000 /dev/zero | tr '\0' u)
	printf '%s\n' "m0001 ${long}1" "m0002 ${long}2" >"$BOX/.uids"
	serve
	rc
	fetches
	assert_maildir_equals_box
	fetches
	message m0003 three
	printf '%s\n' "m0003 ${long}3" >>"$BOX/.uids"
	fetches
	assert_equal "$(asked RETR)" 3
	assert_maildir_equals_box
}

@test "a unique-id that is missing: the header is the identity (CVE-2018-14356)" {
	messages 3
	serve --resp 'UIDL=+OK\r\n1 a\r\n2\r\n3 \r\n.'
	rc
	fetches
	assert_maildir_equals_box
	fetches
	assert_equal "$(asked RETR)" 3
}

@test "a unique-id that stands twice is two messages" {
	messages 3
	printf '%s\n' 'm0001 same' 'm0002 same' 'm0003 same' >"$BOX/.uids"
	serve --exclude-last 1
	rc
	fetches
	assert_equal "$(delivered)" 2
	fetches
	assert_equal "$(delivered)" 2
	again
	fetches
	assert_maildir_equals_box
	fetches
	assert_maildir_equals_box
}

# Listings

@test "gaps in the listing" {
	messages 5
	serve --hide 1 --hide 3
	rc
	fetches
	assert_equal "$(delivered)" 3
	fetches
	assert_equal "$(asked RETR)" 3
	again
	fetches
	assert_maildir_equals_box
}

@test "listings from the last to the first" {
	messages 5
	serve --reverse
	rc
	fetches
	assert_maildir_equals_box
	[ "$(sed -n 's/.*C: RETR //p' "$LOG" | tr '\n' ' ')" = "1 2 3 4 5 " ]
	fetches
	assert_equal "$(asked RETR)" 5
}

@test "STAT says more or fewer than the listings" {
	messages 3
	for stat in '0 0' '1 10' '9 9000' '3' '3 -1' \
	    '3 99999999999999999999999999' '3 30 and more'; do
		serve --resp "STAT=+OK $stat"
		rc
		fetches
		assert_maildir_equals_box
		stop_server
		forget_everything
	done
}

@test "STAT without sense: 76" {
	messages 1
	for stat in '' many '-1 0' '99999999999999999999 1' '4000000000 1'; do
		serve --resp "STAT=+OK $stat"
		rc
		run_poplar
		expect_exit 76
		says "listing: "
		stop_server
	done
	assert_equal "$(delivered)" 0
}

@test "STAT refused: 76, for now: 75" {
	serve --resp 'STAT=-ERR what?'
	rc
	run_poplar
	expect_exit 76
	stop_server
	serve --resp 'STAT=-ERR [SYS/TEMP] later'
	rc
	run_poplar
	expect_exit 75
}

@test "LIST lacks what UIDL has" {
	messages 3
	serve --resp 'LIST=+OK\r\n2 20\r\n.'
	rc
	fetches
	assert_maildir_equals_box
}

@test "UIDL lacks what LIST has: it comes when UIDL has it" {
	messages 3
	serve --resp 'UIDL#1=+OK\r\n1 m0001\r\n3 m0003\r\n.'
	rc
	run_poplar
	expect_exit 75
	[[ $stderr == *"message 2: LIST has it, UIDL does not"* ]]
	assert_equal "$(delivered)" 2
	fetches
	assert_maildir_equals_box
	assert_equal "$(asked RETR)" 3
}

@test "sizes that are huge, negative, wrong or none" {
	messages 4
	serve --resp 'LIST=+OK\r\n1 99999999999999999999999\r\n2 -5\r\n3 1\r\n4 0\r\n.'
	rc
	fetches
	assert_maildir_equals_box
	: >"$LOG"
	fetches
	assert_equal "$(asked RETR)" 0
}

@test "sizes that come and go make nothing come twice" {
	messages 4
	serve --resp 'LIST#1=+OK\r\n1 18446744073709551615\r\n2 -5\r\n.' \
	    --resp 'LIST#1=+OK\r\n1 1\r\n2 2\r\n3 3\r\n4 4\r\n.'
	rc
	for _ in 1 2 3; do
		run_poplar
		expect_exit 0
		assert_maildir_equals_box
	done
}

@test "lines of a listing without sense are passed over, and 76 (CVE-2001-1009)" {
	messages 2
	serve --resp 'UIDL=+OK\r\n0 zero\r\n1 a\r\nwhat\r\n-1 b\r\n\r\n99999999999 c\r\n2 b\r\n 3\x1b d\r\n.' \
	    --resp 'LIST=+OK\r\n0 10\r\n1 10\r\nx y\r\n2\r\n.'
	rc
	run_poplar
	expect_exit 76
	says "listing: UIDL: a line without sense: 0 zero" \
	    "listing: UIDL: a line without sense: -1 b"
	assert_maildir_equals_box
	assert_no_controls
	run grep 'RETR 0' "$LOG"
	assert_failure
}

@test "a message number that stands twice is one message, and 76" {
	messages 2
	serve --resp 'UIDL=+OK\r\n1 a\r\n2 b\r\n1 c\r\n.'
	rc
	run_poplar
	expect_exit 76
	says twice
	assert_maildir_equals_box
	assert_equal "$(asked RETR)" 2
}

@test "numbers that the server does not have: the others come, and 75" {
	messages 2
	serve --resp 'UIDL=+OK\r\n1 a\r\n2 b\r\n77 c\r\n2147483647 d\r\n.'
	rc
	run_poplar
	expect_exit 75
	says "message 77: server says no to RETR 77: no such message" \
	    "message 2147483647: "
	assert_maildir_equals_box
}

# Without end

@test "a line of more than 64 KiB: 76, wherever it comes (CVE-2013-1752)" {
	play <<-'X'
		S- +OK 
		ENDLESS x
	X
	rc
	run_poplar
	expect_exit 76
	says "greeting: the server sent a line of more than 65536 octets"
	assert_played
	play_after_login <<-'X'
		C: STAT
		S: +OK 1 1
		C: UIDL
		S: +OK
		S- 1 
		ENDLESS u
	X
	rc
	run_poplar
	expect_exit 76
	says "listing: the server sent a line of more than 65536 octets"
	assert_played
}

@test "lines of 64 KiB are lines" {
	long=$(head -c 65532 /dev/zero | tr '\0' g)
	play < <(printf '%s\n' "S: +OK $long" 'C: CAPA' 'S: -ERR' \
	    'C: USER alice' CUT)
	rc
	run_poplar
	assert_played
	expect_exit 75
}

@test "a CAPA answer without end: 76" {
	play <<-'X'
		S: +OK
		C: CAPA
		S: +OK
		ENDLESS X-FOO\r\n
	X
	rc
	run_poplar
	expect_exit 76
	says "capa: the answer to CAPA is longer"
	assert_played
}

@test "a listing far beyond STAT: 76" {
	play_after_login <<-'X'
		C: STAT
		S: +OK 2 20
		C: UIDL
		S: +OK
		ENDLESS 1 a\r\n
	X
	rc
	run_poplar
	expect_exit 76
	says "listing: the answer to UIDL goes on beyond the 2 messages"
	assert_played
	play_after_login <<-'X'
		C: STAT
		S: +OK 2 20
		C: UIDL
		S: -ERR
		C: LIST
		S: +OK
		ENDLESS 1 10\r\n
	X
	rc
	run_poplar
	expect_exit 76
	says "listing: the answer to LIST goes on beyond the 2 messages"
	assert_played
}

@test "a listing of 1024 lines beyond STAT is read" {
	play_after_login <<-'X'
		C: STAT
		S: +OK 2 20
		C: UIDL
		S: +OK
		REPEAT 1026 S: %d u%d
		S: .
		C: LIST
		S: +OK
		S: 1 3
		S: .
		C: RETR 1
		S: +OK
		S: x
		S: .
		C: QUIT
		S: +OK
	X
	rc "max_messages 1"
	run_poplar
	assert_played
	expect_exit 0
}

@test "a line of any length in a message passes" {
	message m1 one "$(head -c 300000 /dev/zero | tr '\0' x)"
	serve
	rc
	fetches
	assert_maildir_equals_box
}

# Messages

# claims_endlessly STAT SIZE: one message of that size, without an end.
claims_endlessly() {
	play --wait 50000 < <(
		login_lines
		cat <<-X
		C: STAT
		S: +OK 1 $1
		C: UIDL
		S: +OK
		S: 1 a
		S: .
		C: LIST
		S: +OK
		S: 1 $2
		S: .
		C: RETR 1
		S: +OK
		ENDLESS Subject: x\r\n
		X
	)
}

@test "a message without an end: 75, whatever size it claims" {
	local claims
	for claims in "10 10" "-1 18446744073709551615"; do
		# shellcheck disable=SC2086 # two words
		claims_endlessly $claims
		# What is dropped fills no disk.
		rc "skipsize 1k"
		run_poplar
		expect_exit 75
		says "message 1: larger than listed"
		assert_played
		assert_nothing_partial "$BOX"
		forget_everything
	done
}

@test "a message without an end among those that are dropped: 75" {
	play --wait 50000 < <(
		printf '%s\n' 'S: +OK' 'C: CAPA' 'S: +OK' 'S: PIPELINING' \
		    'S: UIDL' 'S: TOP' 'S: .' 'C: USER alice' 'C: PASS sesame' \
		    'C: STAT' 'C: UIDL' 'C: LIST' 'REPEAT 2 S: +OK' \
		    'S: +OK 3 33' 'S: +OK' 'REPEAT 3 S: %d uid%d' 'S: .' \
		    'S: +OK' 'REPEAT 3 S: %d 11' 'S: .' 'C: RETR 1' \
		    'REPEAT 9 QUESTION' 'C: RETR 2' 'C: RETR 3' \
		    'REPEAT 17 QUESTION' 'S: +OK' 'S: message 1' 'S: .' \
		    'REPEAT 9 ANSWER +OK 3 33' 'S: +OK' 'S: not as listed' \
		    'S: .' 'S: +OK' 'ENDLESS Subject: x\r\n'
	)
	rc
	run_poplar
	expect_exit 75
	says "retrieval: the message is larger than"
	assert_played
	[ "$(cat "$HOME"/Maildir/new/*)" = "message 1" ]
}

@test "RETR refused for one message: the others come, and 75" {
	messages 3
	cp -r "$BOX" "$BATS_TEST_TMPDIR/all"
	serve --resp 'RETR 2=-ERR the file is damaged'
	rc "keep off"
	run_poplar
	expect_exit 75
	says "message 2: server says no to RETR 2: the file is damaged"
	[ "$(ls "$BOX")" = m0002 ]
	assert_equal "$(delivered)" 2
	again
	fetches
	[ -z "$(ls "$BOX")" ]
	BOX=$BATS_TEST_TMPDIR/all
	assert_maildir_equals_box
}

@test "dots at the start of lines, lone CR and LF: nothing ends but CRLF.CRLF" {
	printf 'Subject: a\r\n\r\n.\r\n..\r\n.x\r\nbare\n.\nlf\n..\n\r.\r cr\r\n.\r\n\r\n' \
	    >"$BOX/a"
	printf '.\r\n.\r\n' >"$BOX/b"
	printf '\r\n' >"$BOX/c"
	serve --chunk 1
	rc
	fetches
	assert_maildir_equals_box
}

@test "an empty message is a message" {
	play_after_listing 1 0 <<-'X'
		C: RETR 1
		S: +OK
		S: .
		C: QUIT
		S: +OK
		EXPECT-EOF
	X
	rc
	run_poplar
	assert_played
	expect_exit 0
	assert_equal "$(delivered)" 1
	[ -z "$(cat "$HOME"/Maildir/new/*)" ]
}

# The octets of the whole answer to RETR 2.
answer_length() {
	local size
	size=$(wc -c <"$BOX/m0002")
	printf '+OK %s octets\r\n.\r\n' "$size" | wc -c | {
		read -r around
		echo "$((size + around))"
	}
}

# cut_at OFFSET [popd option ...]: into the answer to RETR 2 of three; the
# next run completes.
cut_at() {
	local offset=$1
	shift
	rm -rf "${BOX:?}"
	cp -r "$BATS_TEST_TMPDIR/all" "$BOX"
	forget_everything
	serve --at 'RETR 2' --on-connection 1 --cut-after "$offset" "$@"
	rc "keep off"
	run_poplar
	expect_exit 75
	[ -e "$BOX/m0002" ]
	assert_nothing_partial "$BATS_TEST_TMPDIR/all"
	fetches
	stop_server
	[ -z "$(ls "$BOX")" ]
	BOX=$BATS_TEST_TMPDIR/all assert_maildir_equals_box
}

@test "cut at many places of a message: nothing partial, the next run completes" {
	local whole offset
	messages 3
	message m0002 two "$(printf 'a\r\n.\r\n..b\r\nc')"
	cp -r "$BOX" "$BATS_TEST_TMPDIR/all"
	# Stuffing made two octets more.
	whole=$(($(answer_length) + 2))
	for offset in 0 1 3 5 14 15 16 20 60 111 160 "$((whole - 13))" \
	    "$((whole - 9))" "$((whole - 6))" "$((whole - 5))" \
	    "$((whole - 4))" "$((whole - 3))" "$((whole - 2))" \
	    "$((whole - 1))"; do
		cut_at "$offset"
	done
}

@test "cut right behind a message" {
	messages 3
	cp -r "$BOX" "$BATS_TEST_TMPDIR/all"
	cut_at "$(answer_length)"
}

@test "reset in a message" {
	messages 3
	cp -r "$BOX" "$BATS_TEST_TMPDIR/all"
	for offset in 0 20 100; do
		cut_at "$offset" --cut-reset
	done
}

@test "cut in a message without pipelining" {
	messages 3
	cp -r "$BOX" "$BATS_TEST_TMPDIR/all"
	for offset in 0 100 "$(($(answer_length) - 2))"; do
		cut_at "$offset" --no-pipelining
	done
}

@test "cut in every message in turn: still each exactly once" {
	messages 4
	cp -r "$BOX" "$BATS_TEST_TMPDIR/all"
	serve
	rc
	for i in 1 2 3 4; do
		again --at "RETR $i" --cut-after 90
		run_poplar
		expect_exit 75
		assert_nothing_partial "$BOX"
	done
	again
	fetches
	assert_maildir_equals_box
}

@test "cut among the deletions: each exactly once, the rest goes later" {
	messages 4
	cp -r "$BOX" "$BATS_TEST_TMPDIR/all"
	serve
	rc "keep off"
	for at in 'DELE 1' 'DELE 3' QUIT; do
		again --at "$at" --cut-after 0 --no-delete
		run_poplar
		assert_maildir_equals_box
	done
	again
	fetches
	[ -z "$(ls "$BOX")" ]
	BOX=$BATS_TEST_TMPDIR/all
	assert_maildir_equals_box
}

@test "dots that were not doubled: the session ends, nothing is deleted" {
	messages 3
	message m0002 two "$(printf 'before\r\n.\r\nafter')"
	serve --no-stuff
	for pipelining in on off; do
		rc "keep off" "pipelining $pipelining"
		run_poplar
		expect_exit 76
		[ "$(ls "$BOX" | wc -l)" -eq 3 ]
		run grep -r before "$HOME/Maildir"
		assert_failure
		# Nor does anything act at a QUIT.
		not logged 'C: QUIT'
	done
}

@test "dots that were not doubled in the last message" {
	message m0001 one "$(printf 'before\r\n.\r\nafter')"
	serve --no-stuff
	rc "keep off"
	run_poplar
	expect_exit 76
	[ -e "$BOX/m0001" ]
	assert_equal "$(delivered)" 0
}

@test "an answer that nobody asked for ends the session" {
	play_after_listing 1 5 <<-'X'
		C: RETR 1
		S: +OK
		S: one
		S: .
		S: +OK
		S: forged
		S: .
		DRAIN
	X
	rc "keep off"
	run_poplar
	expect_exit 76
	says "do not fit what was asked"
	run grep 'C: DELE' "$LOG"
	assert_failure
	assert_equal "$(delivered)" 0
}

# Time

@test "a stall is bounded by timeout, wherever it comes" {
	messages 2
	for at in USER PASS STAT UIDL LIST 'RETR 1'; do
		serve --no-pipelining --at "$at" --stall-after 0
		rc "timeout 1"
		bounded run_poplar
		expect_exit 75
		says "no answer for 1 second"
		stop_server
	done
	assert_equal "$(delivered)" 0
}

@test "a silent server is bounded by timeout" {
	play <<<STALL
	rc "timeout 1"
	bounded run_poplar
	expect_exit 75
	says "greeting: no answer for 1 second"
}

@test "a stall in a message: what was whole stays, the next run completes" {
	messages 3
	serve --at 'RETR 3' --stall-after 50 --on-connection 1
	rc "timeout 1"
	bounded run_poplar
	expect_exit 75
	says "message 3: " "in 1 second"
	assert_equal "$(delivered)" 2
	assert_nothing_partial "$BOX"
	fetches
	assert_maildir_equals_box
	assert_equal "$(asked 'RETR 1$')" 1
}

@test "a reply line that drips in has its time as a whole" {
	play <<-'X'
		S- +OK 
		DRIP 50
		ENDLESS x
	X
	rc "timeout 1"
	bounded run_poplar
	expect_exit 75
	says "greeting: no complete answer in 1 second"
}

@test "a CAPA answer that drips in has its time as a whole" {
	play --log "$LOG" <<-'X'
		S: +OK
		C: CAPA
		S: +OK
		DRIP 10
		ENDLESS X\r\n
	X
	# Once more without CAPA is all that comes of it.
	rc "timeout 1"
	bounded run_poplar
	expect_exit 69
	says "connect: "
	assert_played
}

@test "a listing that drips in must bring 4 KiB in each timeout" {
	play_after_login <<-'X'
		C: STAT
		S: +OK 100000 1
		C: UIDL
		S: +OK
		DRIP 10
		REPEAT 100000 S: %d u%d
	X
	rc "timeout 1"
	bounded run_poplar
	expect_exit 75
	says "listing: less than 4096 octets"
}

@test "a body that drips in must bring 4 KiB in each timeout" {
	play_after_listing 1 90000 <<-'X'
		C: RETR 1
		S: +OK
		DRIP 10
		ENDLESS x\r\n
	X
	rc "timeout 1"
	bounded run_poplar
	expect_exit 75
	says "message 1: less than 4096 octets"
	assert_equal "$(delivered)" 0
}

@test "a slow body that brings enough takes longer than timeout" {
	message m1 one "$(head -c 30000 /dev/zero | tr '\0' x | fold -w 70 |
	    sed 's/$/\r/')"
	serve --rate 12000
	rc "timeout 1"
	fetches
	assert_maildir_equals_box
}

@test "session_timeout bounds the whole session" {
	message m1 one "$(head -c 60000 /dev/zero | tr '\0' x | fold -w 70 |
	    sed 's/$/\r/')"
	serve --rate 10000
	rc "session_timeout 1"
	bounded run_poplar
	expect_exit 75
	says "the time for the whole session is up"
	assert_equal "$(delivered)" 0
}

# What it says is shown

@test "terminal escapes from the server are escaped" {
	local evil='\x1b[2J\x1b]0;x\x07\xc2\x9b31m\x7f\r x \xe2\x80\xaeevil'
	messages 2
	for how in "--greeting=-ERR $evil" "--resp=USER=-ERR $evil" \
	    "--resp=PASS=-ERR $evil" "--resp=PASS=$evil" \
	    "--resp=STAT=+OK $evil" "--resp=RETR 1=-ERR $evil"; do
		serve "$how"
		rc
		for option in -q -v -d; do
			run_poplar "$option"
			[ "$status" -ne 0 ]
			[[ $stderr == *'\x1b[2J'* ]]
			[[ $stderr != *$'\xe2\x80\xae'* ]]
			assert_no_controls
		done
		stop_server
		forget_everything
	done
}

@test "a server's text is never a format (CVE-2007-2958)" {
	local how
	messages 2
	for how in "--greeting=-ERR %s%n%1\$s%*d" "--resp=PASS=-ERR %s%n%1\$s%*d" \
	    "--resp=PASS=%s%n%1\$s%*d" "--resp=RETR 1=-ERR %s%n%1\$s%*d"; do
		serve "$how"
		rc
		for option in -q -v -d; do
			run_poplar "$option"
			[ "$status" -ne 0 ]
			[[ $stderr == *'%s%n%1$s%*d'* ]]
		done
		stop_server
		forget_everything
	done
}

@test "no header is too odd for -d (CVE-2010-1167, CVE-2008-2711)" {
	printf 'Subject: \xe3\x81\xff\xfe\xf8\x88\x80\x80\x80\xc0\x80\xed\xa0\x80\x1b[2J\r\n\r\nx\r\n' >"$BOX/m1"
	{
		printf 'X-Long: '
		head -c 300000 /dev/zero | tr '\0' '\346'
		printf '\r\nSubject: x\r\n\r\nx\r\n'
	} >"$BOX/m2"
	serve
	rc
	run_poplar -d
	expect_exit 0
	assert_no_controls
	[ "${#stderr}" -lt 20000 ]
	assert_maildir_equals_box
	again --no-uidl
	rm -r "$HOME/Maildir" "$HOME/.local"
	run_poplar -d
	expect_exit 0
	assert_no_controls
	assert_maildir_equals_box
}

@test "a message without a header is a message (CVE-2005-4348)" {
	printf '\r\nbody\r\n' >"$BOX/m1"
	printf '\r\n' >"$BOX/m2"
	printf 'no header at all\r\n' >"$BOX/m3"
	serve
	for delivery in "maildir ~/Maildir" "mbox ~/box" \
	    'mda cat >>"$HOME/$POPLAR_UID"'; do
		rm -rf "$HOME/.local"
		rc "delivery $delivery"
		fetches
	done
	assert_maildir_equals_box
	assert_mbox_equals_box "$HOME/box"
	for f in m1 m2 m3; do
		as_delivered "$BOX/$f" | cmp - "$HOME/$f"
	done
}

@test "an endless complaint is cut, and is one line (CVE-2021-36386)" {
	long=$(head -c 40000 /dev/zero | tr '\0' e)
	serve --resp "PASS=-ERR $long"
	rc
	run_poplar
	expect_exit 77
	[ "$(head -n 1 <<<"$stderr" | wc -c)" -lt 2000 ]
	[ "$(wc -l <<<"$stderr")" -le 2 ]
}

# The end

@test "QUIT without an answer is no failure" {
	messages 2
	serve --quit-eof
	rc
	fetches
	assert_maildir_equals_box
}

@test "QUIT without an answer leaves deletions unconfirmed, and says so" {
	messages 2
	cp -r "$BOX" "$BATS_TEST_TMPDIR/all"
	serve --at QUIT --cut-after 0 --no-delete
	rc "keep off"
	fetches "quit: " "2 deletions are not confirmed"
	again
	fetches
	assert_equal "$(asked RETR)" 2
	[ -z "$(ls "$BOX")" ]
	BOX=$BATS_TEST_TMPDIR/all
	assert_maildir_equals_box
}

@test "QUIT that is refused or stalls is no failure" {
	messages 1
	serve --resp 'QUIT=-ERR cannot remove'
	rc "keep off"
	fetches "quit: " "cannot remove" "1 deletions are not confirmed"
	stop_server
	serve --at QUIT --stall-after 0
	rc "timeout 1"
	bounded run_poplar
	expect_exit 0
	assert_equal "$(delivered)" 1
}

@test "a server over IPv6" {
	[ -e /proc/net/if_inet6 ] && grep -q ' lo$' /proc/net/if_inet6 ||
	    skip "no IPv6 here"
	messages 2
	serve --listen ::1
	rc "host ::1"
	fetches
	assert_maildir_equals_box
	run_poplar -4
	expect_exit 68
}

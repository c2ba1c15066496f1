#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# What a person sees: progress lines and summaries.

load lib

# on_terminal TERM ROWS COLUMNS: runs poplar on a terminal like that.
on_terminal() {
	command -v expect >/dev/null || skip "expect is not installed"
	run timeout -k 5 60 expect -c "
		set timeout 50
		set stty_init {rows $2 columns $3}
		spawn -noecho env TERM=$1 {$POPLAR} -j 20
		expect eof
		exit [lindex [wait] 3]"
}

# A message that takes about a second.
serve_slowly() {
	perl -e 'print "Subject: long\r\n\r\n", "x\r\n" x 100000' >"$BOX/m0001"
	serve --rate 300000
}

@test "on a terminal a line shows how far it is, and is gone at the end" {
	serve_slowly
	rc
	on_terminal vt100 24 80
	expect_exit 0
	[[ $output == *'test: message 1 of 1, '*' of 293K, '*'/s'* ]]
	[[ ${lines[-1]} == *$'\e[1A\r\e[J'*'test: 1 new message (293K), 1 on the server'* ]]
}

@test "each account that runs has a line of its own" {
	serve_slowly
	rc_account one
	rc_account two
	on_terminal vt100 24 80
	expect_exit 0
	[[ $output == *'one: message 1 of 1, '* ]]
	[[ $output == *'two: message 1 of 1, '* ]]
	[[ $output == *$'\e[2A\r\e[J'* ]]
}

@test "twenty accounts draw their lines no more often than one" {
	local i since=$SECONDS redrawn
	serve_slowly
	for ((i = 1; i <= 20; i++)); do
		rc_account "a$i"
	done
	on_terminal vt100 24 80
	expect_exit 0
	redrawn=$(grep -o $'A\r\e\\[J' <<<"$output" | wc -l)
	# At the begin and at the end of each, and a dozen times a second.
	[ "$redrawn" -le $((40 + 13 * (SECONDS - since + 1))) ]
}

@test "no more progress lines than the terminal is high, none longer than it" {
	serve_slowly
	rc_account one
	rc_account two
	on_terminal vt100 2 20
	expect_exit 0
	[[ $output == *$'\e[1A\r\e[J'* ]]
	[[ $output != *$'\e[2A'* ]]
	[[ $output == *'one: message 1 of 1'* ]]
	[[ $output != *'one: message 1 of 1,'* ]]
}

@test "a dumb terminal gets the summary only" {
	serve_slowly
	rc
	on_terminal dumb 24 80
	expect_exit 0
	[ "${output%$'\r'}" = "test: 1 new message (293K), 1 on the server" ]
}

@test "a summary tells what came, what failed, and what would come" {
	messages 2
	serve
	rc
	run_poplar --dry-run -v
	expect_exit 0
	[[ $output == *"test: 2 messages to fetch ("*"), 2 on the server" ]]
	run_poplar -v --max-messages=1
	expect_exit 0
	[[ $output == "test: 1 new message ("*"), 2 on the server" ]]
	run_poplar -v --delivery=mda,false
	expect_exit 75
	[ "$output" = "test: nothing delivered, 1 failed, 2 on the server" ]
	run_poplar -v
	expect_exit 0
	run_poplar -v
	expect_exit 0
	[ "$output" = "test: nothing new, 2 on the server" ]
}

#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Many accounts: side by side, one after another, and none to the harm of
# another.

load lib.bash

# server NAME [popd option ...]: one for the account of that name, which has
# three messages.
server() {
	local name=$1
	shift
	BOX=$BATS_TEST_TMPDIR/box-$name
	LOG=$BATS_TEST_TMPDIR/log-$name
	mkdir "$BOX"
	messages 3
	serve "$@"
}

new_in() {
	find "$HOME/$1/new" -type f 2>/dev/null | wc -l
}

has_mail() {
	[ "$(new_in "$1")" -eq 3 ]
}

@test "without names every account is fetched, or the default one alone" {
	server any
	rc_account one
	rc_account two
	rc_account three
	run_poplar
	expect_exit 0
	has_mail one
	has_mail two
	has_mail three
	rc_account default
	message m0004 "message 4"
	run_poplar
	expect_exit 0
	[ "$(new_in default)" -eq 4 ]
	has_mail one
	run_poplar -a
	expect_exit 0
	[ "$(new_in one)" -eq 4 ]
}

@test "accounts are chosen by names and patterns" {
	server any
	rc_account alpha
	rc_account beta
	rc_account gamma
	run_poplar 'b*' gamma
	expect_exit 0
	[ ! -e "$HOME/alpha" ]
	has_mail beta
	has_mail gamma
	run_poplar alpha 'x*'
	expect_exit 78
	[[ $stderr == *'x*'* ]]
	[ ! -e "$HOME/alpha" ]
}

@test "one account that hangs does not hold up the others" {
	server slow --stall-after 10
	rc_account slow "timeout 100"
	server quick
	rc_account quick
	rc_account third
	start_poplar
	eventually has_mail quick
	eventually has_mail third
	not ended "$RUN"
}

@test "-j 1: one after another, in the order of the rc file" {
	local name
	server any
	for name in zeta beta alpha gamma; do
		rc_account "$name"
	done
	run_poplar -j 1 -v
	expect_exit 0
	[ "$(sed -n 's/.* C: USER //p' "$LOG" | xargs)" = "zeta beta alpha gamma" ]
	[ "$(sed -n 's/^\(.\) .*\(connect\|QUIT\).*/\1\2/p' "$LOG" | xargs)" = \
	    "1connect 1QUIT 2connect 2QUIT 3connect 3QUIT 4connect 4QUIT" ]
	[ "$(sed -n 's/^\([a-z]*\): 3 new.*/\1/p' <<<"$output" | xargs)" = \
	    "zeta beta alpha gamma" ]
}

@test "-j 2: two at a time, not three" {
	local name
	server any --stall-after 10
	for name in one two three; do
		rc_account "$name" "timeout 1"
	done
	run_poplar -j 2
	expect_exit 75
	# The third came when one of the others had left.
	[ "$(sed -n 's/^. \(connect\|close\).*/\1/p' "$LOG" | head -n 3 |
	    xargs)" = "connect connect close" ]
	[ "$(count_logged connect)" -eq 3 ]
}

@test "twenty accounts at once" {
	local i
	server any
	for ((i = 1; i <= 20; i++)); do
		rc_account "a$i"
	done
	run_poplar -j 20
	expect_exit 0
	[ -z "$output$stderr" ]
	[ "$(find "$HOME" -path '*/new/*' -type f | wc -l)" -eq 60 ]
}

@test "exit code: 0 only if all is well, 75 if some have to try again" {
	server well
	rc_account well
	server busy --resp 'PASS=-ERR [IN-USE] busy'
	rc_account busy
	run_poplar
	expect_exit 75
	has_mail well
	run_poplar well
	expect_exit 0
}

@test "exit code: the first failure in the rc file that is not 75" {
	server busy --resp 'PASS=-ERR [IN-USE] busy'
	rc_account busy
	server well
	rc_account well
	server refused --user refused:other
	rc_account refused
	rc_account nowhere "delivery maildir ~/no/such/dir"
	run_poplar
	expect_exit 77
	has_mail well
	run_poplar nowhere refused
	expect_exit 77
	run_poplar nowhere busy
	expect_exit 73
	run_poplar busy well
	expect_exit 75
}

@test "exit code: 69 where nobody listens, and the others are fetched" {
	server gone
	rc_account gone
	stop_server
	server well
	rc_account well
	run_poplar
	expect_exit 69
	has_mail well
}

@test "each line of an error begins with the name of the account" {
	server refused --user refused:other
	rc_account refused
	rc_account nowhere "delivery maildir ~/no/such/dir"
	server odd --resp 'RETR 2=-ERR no\r\nnope'
	rc_account odd
	run_poplar
	[ "$status" -ne 0 ]
	[ -n "$stderr" ]
	not grep -vE '^poplar: (refused|nowhere|odd): ' <<<"$stderr"
	grep '^poplar: refused: login: ' <<<"$stderr"
	grep '^poplar: nowhere: deliver: ' <<<"$stderr"
	grep '^poplar: odd: message 2: ' <<<"$stderr"
	[ -z "$output" ]
}

@test "-v: a line for each account says what came" {
	server any
	rc_account one
	rc_account two "skipsize 1"
	server refused --user refused:other
	rc_account refused
	run_poplar -v
	expect_exit 77
	[ "$(grep -c '^one: 3 new messages' <<<"$output")" -eq 1 ]
	[ "$(grep -c '^two: nothing new' <<<"$output")" -eq 1 ]
	not grep '^refused: .*new' <<<"$output"
	run_poplar -v one
	expect_exit 0
	grep '^one: nothing new, 3 on the server' <<<"$output"
}

@test "-q and no option: nothing is said when all is well" {
	server any
	rc_account one
	run_poplar -q
	expect_exit 0
	[ -z "$output$stderr" ]
	message m0004 "message 4"
	run_poplar
	expect_exit 0
	[ -z "$output$stderr" ]
}

@test "a worker that crashes is a bug, 70, and harms no other account" {
	local worker
	command -v pgrep >/dev/null || skip "pgrep is not installed"
	server hang --stall-after 100 --on-connection 1
	rc_account hang "timeout 100"
	server busy --resp 'PASS=-ERR [IN-USE] busy'
	rc_account busy
	server well
	rc_account well
	start_poplar
	eventually has_mail well
	one_worker() {
		[ "$(pgrep -P "$RUN" | wc -l)" -eq 1 ]
	}
	eventually one_worker
	worker=$(pgrep -P "$RUN")
	kill -SEGV "$worker"
	finish_poplar
	expect_exit 70
	grep '^poplar: hang: worker: ' <<<"$stderr"
	[ "$(grep -c '^poplar: .*: worker: ' <<<"$stderr")" -eq 1 ]
	run_poplar hang
	expect_exit 0
	has_mail hang
}

# The last start_poplar ends within two seconds of a signal.
stop_soon() {
	kill "-$1" "$RUN"
	timeout 2 tail -s 0.02 --pid="$RUN" -f /dev/null
	status=0
	wait "$RUN" || status=$?
	case $status in
	75 | 129 | 130 | 143) ;;
	*) expect_exit 75 ;;
	esac
}

@test "SIGTERM, SIGINT, SIGHUP: an end within two seconds" {
	local signal
	server hang --at "RETR 2" --stall-after 10
	rc_account hang "timeout 100"
	rc_account also "timeout 100"
	for signal in TERM INT HUP; do
		: >"$LOG"
		# A shell has background commands ignore SIGINT.
		perl -e '$SIG{INT} = "DEFAULT"; exec @ARGV' "$POPLAR" \
		    >/dev/null 2>&1 3>&- </dev/null &
		RUN=$!
		pids+=("$RUN")
		both() { [ "$(count_logged 'RETR 2')" -eq 2 ]; }
		eventually both
		stop_soon "$signal"
	done
	[ -z "$(find "$HOME"/*/tmp -type f)" ]
	stop_server
	rm "$HOME/.poplarrc"
	serve
	rc_account hang
	run_poplar
	expect_exit 0
	has_mail hang
}

@test "SIGTERM while the server says nothing at all" {
	server mute --stall-after 0
	rc_account mute "timeout 100"
	start_poplar
	eventually logged connect
	stop_soon TERM
}

@test "SIGTERM while a command has the message" {
	server any
	rc_account any 'delivery mda echo $$ >~/command; exec sleep 99'
	start_poplar
	eventually test -s "$HOME/command"
	stop_soon TERM
	eventually ended "$(cat "$HOME/command")"
}

@test "SIGTERM: accounts that wait for their turn do not begin" {
	server hang --stall-after 10
	rc_account one "timeout 100"
	rc_account two "timeout 100"
	start_poplar -j 1
	eventually logged connect
	stop_soon TERM
	[ "$(count_logged connect)" -eq 1 ]
}

@test "accounts with one state file run one after another" {
	server any --latency 20
	rc_account one "uidls_file ~/shared"
	rc_account two "uidls_file ~/shared"
	rc_account three "uidls_file ~/shared"
	run_poplar -j 3
	expect_exit 0
	has_mail one
	has_mail two
	has_mail three
	[ "$(sed -n 's/^. .*\(connect\|QUIT\).*/\1/p' "$LOG" | xargs)" = \
	    "connect QUIT connect QUIT connect QUIT" ]
}

@test "a reader of standard error that stands still does not keep it running" {
	messages 3
	serve
	rc
	mkfifo "$BATS_TEST_TMPDIR/errors"
	exec 8<>"$BATS_TEST_TMPDIR/errors"
	head -c 65000 /dev/zero >&8
	"$POPLAR" --debug </dev/null 2>&8 3>&- &
	RUN=$!
	pids+=("$RUN")
	eventually logged QUIT
	kill -TERM "$RUN"
	eventually ended "$RUN" || {
		kill_at_once "$RUN"
		return 1
	}
	assert_maildir_equals_box
}

@test "nor does a reader of standard output" {
	messages 3
	serve
	rc
	mkfifo "$BATS_TEST_TMPDIR/results"
	exec 8<>"$BATS_TEST_TMPDIR/results"
	head -c 65536 /dev/zero >&8
	"$POPLAR" --dry-run </dev/null >&8 2>/dev/null 3>&- &
	RUN=$!
	pids+=("$RUN")
	eventually logged QUIT
	kill -TERM "$RUN"
	eventually ended "$RUN" || {
		kill -KILL "$RUN"
		return 1
	}
}

@test "who has nothing to say waits for no reader" {
	messages 3
	serve
	rc
	mkfifo "$BATS_TEST_TMPDIR/results"
	exec 8<>"$BATS_TEST_TMPDIR/results"
	head -c 65536 /dev/zero >&8
	timeout -s KILL 20 "$POPLAR" </dev/null >&8 2>/dev/null 3>&-
	assert_maildir_equals_box
}

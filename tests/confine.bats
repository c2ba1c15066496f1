#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# What a worker may still do, and what nobody may see of it.

load lib

# The worker of the poplar that runs as $1.
worker_of() {
	pgrep -P "$1" -x poplar
}

start_stalled() {
	message m1 one
	serve --at RETR --stall-after 0
	rc "$@"
	"$POPLAR" </dev/null 2>/dev/null 3>&- &
	RUN=$!
	pids+=("$RUN")
	eventually grep -q 'RETR 1' "$LOG"
	WORKER=$(worker_of "$RUN")
}

@test "a worker that delivers to a Maildir is confined" {
	[ -e /proc/self/status ] || skip "no /proc here"
	start_stalled
	run cat "/proc/$WORKER/status"
	assert_line --regexp '^NoNewPrivs:.*1$'
}

@test "a worker may deliver through links, wherever they lead" {
	local away=$BATS_TEST_TMPDIR/away folder
	messages 2
	serve
	for folder in new cur tmp; do
		rm -rf "$HOME/Maildir" "$HOME/.local" "$away"
		mkdir -p "$away" "$HOME/Maildir/new" "$HOME/Maildir/cur" \
		    "$HOME/Maildir/tmp"
		mv "$HOME/Maildir/$folder" "$away"
		ln -s "$away/$folder" "$HOME/Maildir/$folder"
		rc
		run_poplar
		expect_exit 0
		[ "$(ls "$HOME/Maildir/new/" | wc -l)" -eq 2 ]
	done
	rm -rf "$HOME/Maildir" "$HOME/.local" "$away"
	mkdir -p "$away" "$HOME/links"
	: >"$away/mbox"
	ln -s "$away/mbox" "$HOME/links/inner"
	ln -s links/inner "$HOME/mbox"
	rc "delivery mbox ~/mbox"
	run_poplar
	expect_exit 0
	assert_mbox_equals_box "$away/mbox"
}

@test "a worker that runs a command keeps all privileges for it" {
	[ -e /proc/self/status ] || skip "no /proc here"
	messages 1
	serve
	rc "delivery mda grep NoNewPrivs /proc/self/status >~/status; cat >/dev/null"
	run_poplar
	expect_exit 0
	assert_equal "$(tr -d '\t ' <"$HOME/status")" NoNewPrivs:0
}

@test "a setgid command under mda has its group" {
	[ "$(id -u)" -eq 0 ] || skip "only root can make a command setgid"
	command -v setpriv >/dev/null || skip "setpriv is not installed"
	messages 1
	serve
	rc "delivery mda ~/id -g >~/group; cat >/dev/null"
	cp "$(command -v id)" "$HOME/id"
	chown -R nobody "$HOME" "$TMPDIR"
	chgrp mail "$HOME/id"
	chmod 2755 "$HOME/id"
	chmod 755 "$BATS_RUN_TMPDIR" "$BATS_TEST_TMPDIR" || true
	cp "$POPLAR" "$BATS_TEST_TMPDIR/poplar"
	setpriv --reuid=nobody --clear-groups true || skip "setpriv fails here"
	run timeout 30 setpriv --reuid=nobody --regid=nogroup --clear-groups \
	    "$BATS_TEST_TMPDIR/poplar" </dev/null
	assert_success
	assert_equal "$(cat "$HOME/group")" "$(getent group mail | cut -d: -f3)"
}

# Nobody may write it out, or the tests themselves would be what is found.
secret() {
	printf '%s%s' xyz ZY987654321secret
}

# forgets [rc line ...]: the worker of such an account, logged in, has no trace
# of the secret in its memory.
forgets() {
	local pid
	serve --at RETR --stall-after 0
	rc_without_password "$@"
	"$POPLAR" </dev/null 2>/dev/null 3>&- &
	pids+=($!)
	eventually grep -q 'RETR 1' "$LOG"
	grep -q "PASS $(secret)" "$LOG"
	for pid in "${pids[-1]}" "$(worker_of "${pids[-1]}")"; do
		run grep -c "$(secret)" "/proc/$pid/cmdline" "/proc/$pid/environ"
		refute_line --regexp ':[1-9]'
		assert_line "/proc/$pid/environ:0"
	done
	run gcore -o "$BATS_TEST_TMPDIR/core" "$(worker_of "${pids[-1]}")"
	run grep -c "$(secret)" "$BATS_TEST_TMPDIR"/core.*
	assert_output 0
	rm "$BATS_TEST_TMPDIR"/core.*
	kill "${pids[-1]}"
	wait "${pids[-1]}" || true
	stop_server
	: >"$LOG"
}

@test "the password is in no memory of a worker after the login" {
	[ -r /proc/self/mem ] || skip "no /proc/PID/mem here"
	[ "$(id -u)" -eq 0 ] || skip "only root may look"
	command -v gcore >/dev/null || skip "gdb is not installed"
	case $(nm "$POPLAR" 2>/dev/null) in
	*__asan*) skip "AddressSanitizer keeps what is freed" ;;
	esac
	message m1 one
	mkdir "$HOME/bin"
	PATH=$HOME/bin:$PATH
	printf '#!/bin/sh\nprintf "%%s%%s" xyz ZY987654321secret\n' >"$HOME/pw"
	chmod 700 "$HOME/pw"
	forgets "passwordeval $HOME/pw"
	forgets "password $(secret)" "account other : test"
	cp "$HOME/pw" "$HOME/bin/secret-tool"
	forgets
	umask 077
	printf 'machine 127.0.0.1 login alice password %s\n' "$(secret)" \
	    >"$HOME/.netrc"
	forgets
	secret >"$HOME/poplar.test"
	CREDENTIALS_DIRECTORY=$HOME forgets
	exec 7<"$HOME/poplar.test"
	forgets "passwordfd 7"
}

@test "nor is the password of a proxy" {
	[ -r /proc/self/mem ] || skip "no /proc/PID/mem here"
	[ "$(id -u)" -eq 0 ] || skip "only root may look"
	command -v gcore >/dev/null || skip "gdb is not installed"
	command -v microsocks >/dev/null || skip "microsocks is not installed"
	case $(nm "$POPLAR" 2>/dev/null) in
	*__asan*) skip "AddressSanitizer keeps what is freed" ;;
	esac
	local proxy
	proxy=$(free_port)
	microsocks -i 127.0.0.1 -p "$proxy" -u joe -P "$(secret)" \
	    2>/dev/null 3>&- </dev/null &
	pids+=($!)
	eventually listens "$proxy"
	message m1 one
	forgets "password $(secret)" "proxy_host 127.0.0.1" \
	    "proxy_port $proxy" "proxy_user joe" "proxy_password $(secret)"
}

# forgets_by METHOD MECHANISMS: the same after a login by SASL, and in base64.
forgets_by() {
	local form
	serve --at RETR --stall-after 0 --sasl "$2" --user "alice:$(secret)$(secret)"
	rc_without_password "auth $1" "passwordeval $HOME/pw"
	start_poplar
	eventually logged 'RETR 1'
	logged "^1 C: AUTH ${1^^}"
	run gcore -o "$BATS_TEST_TMPDIR/core" "$(worker_of "$RUN")"
	# Who frees memory overwrites its first octets.
	for form in "$(secret)" \
	    "$( (secret; secret) | base64 -w 0 | tail -c +25 | tr -d =)" \
	    "$( (printf '\0alice\0'; secret; secret) | base64 -w 0 |
		tail -c +25 | tr -d =)"; do
		run grep -c "$form" "$BATS_TEST_TMPDIR"/core.*
		assert_output 0
	done
	rm "$BATS_TEST_TMPDIR"/core.*
	kill "$RUN"
	wait "$RUN" || true
	stop_server
	: >"$LOG"
}

@test "nor is it after a login by SASL" {
	[ -r /proc/self/mem ] || skip "no /proc/PID/mem here"
	[ "$(id -u)" -eq 0 ] || skip "only root may look"
	command -v gcore >/dev/null || skip "gdb is not installed"
	"$POPLAR" --version | grep -q 'GNU SASL 2' ||
	    skip "built without GNU SASL"
	case $(nm "$POPLAR" 2>/dev/null) in
	*__asan*) skip "AddressSanitizer keeps what is freed" ;;
	esac
	message m1 one
	printf '#!/bin/sh\nprintf "%%s%%s%%s%%s" xyz ZY987654321secret xyz ZY987654321secret\n' >"$HOME/pw"
	chmod 700 "$HOME/pw"
	for method in plain login cram-md5 digest-md5 scram-sha-1 \
	    scram-sha-256; do
		forgets_by "$method" "${method^^}"
	done
}

@test "no process leaves a core or can be looked into by its user" {
	local pid
	[ -e /proc/self/limits ] || skip "no /proc here"
	start_stalled
	for pid in "$RUN" "$WORKER"; do
		run cat "/proc/$pid/limits"
		assert_line --regexp 'Max core file size +0 +0'
	done
	command -v setpriv >/dev/null || skip "setpriv is not installed"
	[ "$(id -u)" -eq 0 ] || skip "only root can become another"
	setpriv --reuid=nobody --clear-groups true || skip "setpriv fails here"
	stop_server
	chown -R nobody "$HOME" "$TMPDIR"
	chmod 755 "$BATS_RUN_TMPDIR" "$BATS_TEST_TMPDIR" || true
	cp "$POPLAR" "$BATS_TEST_TMPDIR/poplar"
	serve --at RETR --stall-after 0
	sed -i "s/^port .*/port $PORT/" "$HOME/.poplarrc"
	: >"$LOG"
	setpriv --reuid=nobody --regid=nogroup --clear-groups \
	    "$BATS_TEST_TMPDIR/poplar" </dev/null 2>/dev/null 3>&- &
	pids+=($!)
	eventually grep -q 'RETR 1' "$LOG"
	# Not dumpable: its files in /proc belong to root.
	for pid in "${pids[-1]}" "$(worker_of "${pids[-1]}")"; do
		assert_equal "$(stat -c %u "/proc/$pid/environ")" 0
	done
}

@test "the rc file may come from another command" {
	message m1 one
	serve
	rc
	run_poplar -C <(cat "$HOME/.poplarrc")
	expect_exit 0
	assert_maildir_equals_box
}

#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Against the pop3d of GNU Mailutils.  It adds fields to the headers of its
# mbox between sessions, so that sizes are others each time.

load lib.bash

MESSAGES=20

setup() {
	poplar_setup
	POP3D=$(PATH=$PATH:/usr/sbin:/usr/local/sbin command -v pop3d) ||
	    skip "the pop3d of GNU Mailutils is not installed"
	[[ $("$POP3D" --version 2>/dev/null </dev/null) == *Mailutils* ]] ||
	    skip "this pop3d is not that of GNU Mailutils"
	[ "$(id -u)" -eq 0 ] || skip "it changes its group, as only root may"
	id -u nobody >/dev/null 2>&1 || skip "the user nobody is needed"
	OWNER=nobody
	# The user whose mail it is must get there.
	DIR=$(mktemp -d /tmp/poplar-mailutils.XXXXXX)
	chmod 755 "$DIR"
	mkdir "$DIR/passwd" "$DIR/mail"
	SPOOL=$DIR/mail/INBOX
	fill_mailbox
	start_pop3d
}

teardown() {
	poplar_teardown
	[ -z "${DIR:-}" ] || rm -rf "$DIR"
}

# post NUMBER: one more message in the spool, and in $BOX.
post() {
	local name
	name=$(printf 'm%04d' "$1")
	message "$name" "message $1" "$(printf '.dot\r\n.\r\n %d \xe9' "$1")"
	{
		echo "From alice@example.org Sun Nov 22 00:00:00 2026"
		as_delivered "$BOX/$name"
		echo
	} >>"$SPOOL"
}

fill_mailbox() {
	local i
	for ((i = 1; i <= MESSAGES; i++)); do
		post "$i"
	done
	chmod 600 "$SPOOL"
	chown -R "$OWNER" "$DIR/mail"
}

start_pop3d() {
	PORT=$(free_port)
	perl -e 'print join(":", "alice", crypt("sesame", q($6$saltsalt)),
	    @ARGV, "/bin/sh"), "\n"' "$(id -u "$OWNER")" \
	    "$(id -g "$OWNER")" "" "$DIR/mail" >"$DIR/passwd/example.org"
	cat >"$DIR/conf" <<-EOF
		virtdomain {
		  passwd-dir "$DIR/passwd";
		};
		auth {
		  authentication generic:system;
		  authorization virtdomain:system;
		};
		logging {
		  syslog no;
		};
		tcp-wrappers {
		  enable no;
		};
		server 127.0.0.1:$PORT {
		  single-process no;
		};
	EOF
	"$POP3D" --config-file="$DIR/conf" --daemon --foreground \
	    >"$DIR/output" 2>&1 3>&- </dev/null &
	pids+=("$!")
	eventually listens "$PORT" || {
		cat "$DIR/output" >&2
		return 1
	}
}

rc_here() {
	rc "user alice@example.org" "$@"
}

# The fields that it adds make no other message.
assert_same_but_for_its_fields() {
	local f
	for f in "$BOX"/*; do
		as_delivered "$f" | sha256sum
	done | sort >"$BATS_TEST_TMPDIR/expected"
	for f in "$HOME"/Maildir/new/*; do
		sed '1,/^$/{/^\(X-UIDL\|X-UID\|X-IMAPbase\|Status\): /d;}' \
		    "$f" | sha256sum
	done | sort >"$BATS_TEST_TMPDIR/got"
	diff "$BATS_TEST_TMPDIR/expected" "$BATS_TEST_TMPDIR/got"
}

in_spool() {
	grep -c '^Message-ID: ' "$SPOOL" || true
}

@test "mailutils: everything comes, once" {
	rc_here
	run_poplar
	expect_exit 0
	[ -z "$output$stderr" ]
	assert_same_but_for_its_fields
}

@test "mailutils: it rewrites its headers, and still nothing comes twice" {
	local before
	rc_here
	before=$(stat -c %s "$SPOOL")
	run_poplar
	expect_exit 0
	[ "$(stat -c %s "$SPOOL")" -gt "$before" ]
	for _ in 2 3 4; do
		run_poplar -d
		expect_exit 0
		[[ $stderr != *RETR* ]]
	done
	[ "$(delivered)" -eq "$MESSAGES" ]
	run_poplar
	expect_exit 0
	[ -z "$output$stderr" ]
}

@test "mailutils: new messages between the runs come once" {
	rc_here
	run_poplar
	expect_exit 0
	post 21
	run_poplar
	expect_exit 0
	post 22
	run_poplar
	expect_exit 0
	assert_same_but_for_its_fields
}

@test "mailutils: keep off empties the mailbox" {
	rc_here "keep off"
	run_poplar
	expect_exit 0
	[ "$(in_spool)" -eq 0 ]
	assert_same_but_for_its_fields
}

@test "mailutils: what earlier runs delivered goes, though its size is new" {
	rc_here
	run_poplar
	expect_exit 0
	run_poplar
	expect_exit 0
	post 21
	rc_here "keep off"
	run_poplar -v
	expect_exit 0
	[ "$(in_spool)" -eq 0 ]
	[ "$(delivered)" -eq 21 ]
	assert_same_but_for_its_fields
}

@test "mailutils: a wrong password is 77" {
	rc_here "password wrong"
	run_poplar
	expect_exit 77
	[ "$(in_spool)" -eq "$MESSAGES" ]
}

@test "mailutils: without pipelining it is the same" {
	rc_here "pipelining off" "keep off"
	run_poplar
	expect_exit 0
	[ "$(in_spool)" -eq 0 ]
	assert_same_but_for_its_fields
}

#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# What other programs read out of the mailboxes that poplar writes.

load lib.bash

setup() {
	poplar_setup
	messages 3
	printf 'From: =?UTF-8?B?5aSq6YOO?= <taro@example.jp>\r\nTo: bob@example.org\r\nSubject: =?ISO-2022-JP?B?GyRCRnxLXDhsGyhC?=\r\nDate: Sun, 22 Nov 2026 00:00:00 +0000\r\nMessage-ID: <jp@example.jp>\r\n\r\nFrom here\r\n.\r\nto there\r\n' \
	    >"$BOX/m0004"
	serve
}

# Starts mutt on a terminal, which it needs, and has it pipe every message,
# decoded, to the file mutt.out.
read_with_mutt() {
	command -v mutt >/dev/null || skip "mutt is not installed"
	command -v script >/dev/null || skip "script is not installed"
	locale -a 2>/dev/null | grep -qix 'C.utf-\?8' ||
	    skip "there is no locale C.UTF-8"
	OUT=$BATS_TEST_TMPDIR/mutt.out
	cat >"$HOME/muttrc" <<-EOF
		set folder=$HOME
		set charset=utf-8 quit=yes move=no wait_key=no header_cache=""
		set pipe_decode=yes pipe_split=yes sort=mailbox-order
		push "<tag-pattern>~A<enter><tag-prefix><pipe-entry>cat >>$OUT<enter><exit>"
	EOF
	# Somebody sits there and types nothing.
	mkfifo "$HOME/keyboard"
	exec 7<>"$HOME/keyboard"
	TERM=vt100 LC_ALL=C.UTF-8 timeout 30 script -qec \
	    "stty rows 24 columns 80
	    mutt -n -F '$HOME/muttrc' -R -f '$1'" /dev/null <&7 >/dev/null
	exec 7>&-
}

assert_subjects() {
	printf 'Subject: %s\n' "message 1" "message 2" "message 3" 日本語 |
	    sort >"$BATS_TEST_TMPDIR/expected"
	sort "$1" | diff "$BATS_TEST_TMPDIR/expected" -
}

@test "mutt reads the Maildir" {
	rc
	run_poplar
	expect_exit 0
	read_with_mutt "$HOME/Maildir"
	grep '^Subject: ' "$OUT" >"$BATS_TEST_TMPDIR/subjects"
	assert_subjects "$BATS_TEST_TMPDIR/subjects"
	grep -q '^From: 太郎 <taro@example.jp>' "$OUT"
}

@test "mutt reads the mbox" {
	rc "delivery mbox ~/mbox"
	run_poplar
	expect_exit 0
	read_with_mutt "$HOME/mbox"
	grep '^Subject: ' "$OUT" >"$BATS_TEST_TMPDIR/subjects"
	assert_subjects "$BATS_TEST_TMPDIR/subjects"
}

@test "mutt reads an mbox of two runs, the second after an unended one" {
	rc "delivery mbox ~/mbox" "max_messages 2"
	run_poplar
	expect_exit 0
	truncate -s -2 "$HOME/mbox"
	run_poplar
	expect_exit 0
	read_with_mutt "$HOME/mbox"
	grep '^Subject: ' "$OUT" >"$BATS_TEST_TMPDIR/subjects"
	assert_subjects "$BATS_TEST_TMPDIR/subjects"
}

@test "mblaze reads the Maildir" {
	command -v mscan >/dev/null || skip "mblaze is not installed"
	rc
	run_poplar
	expect_exit 0
	mlist "$HOME/Maildir" >"$BATS_TEST_TMPDIR/list"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/list")" -eq 4 ]
	mlist -N "$HOME/Maildir" | wc -l | grep -qx ' *4'
	LC_ALL=C.UTF-8 mscan -f 'Subject: %s' <"$BATS_TEST_TMPDIR/list" \
	    >"$BATS_TEST_TMPDIR/subjects"
	assert_subjects "$BATS_TEST_TMPDIR/subjects"
}

@test "mblaze takes the mbox apart into the same messages" {
	command -v mdeliver >/dev/null || skip "mblaze is not installed"
	rc "delivery mbox ~/mbox"
	run_poplar
	expect_exit 0
	mkdir -p "$HOME/Maildir/new" "$HOME/Maildir/cur" "$HOME/Maildir/tmp"
	mdeliver -M "$HOME/Maildir" <"$HOME/mbox"
	# It takes the empty line between two messages along.
	find "$HOME/Maildir/new" -type f -exec truncate -s -1 {} +
	assert_maildir_equals_box
}

@test "mutt's change of a Maildir does not make poplar fetch again" {
	local file
	rc
	run_poplar
	expect_exit 0
	for file in "$HOME"/Maildir/new/*; do
		mv "$file" "$HOME/Maildir/cur/${file##*/}:2,S"
	done
	rm "$(find "$HOME/Maildir/cur" -type f | head -n 1)"
	run_poplar
	expect_exit 0
	[ "$(count_logged 'RETR')" -eq 4 ]
	[ "$(delivered)" -eq 3 ]
}

#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Against Dovecot's pop3d, started here as whoever runs the test.

load lib
load dovecot

MESSAGES=300

setup() {
	poplar_setup
	find_dovecot
	fill_mailbox
	start_dovecot "plain apop"
}

teardown() {
	stop_dovecot
}

# The same for all tests: as it is on the wire, and as Dovecot keeps it.
setup_file() {
	mkdir "$BATS_FILE_TMPDIR/box" "$BATS_FILE_TMPDIR/new"
	perl -e 'for my $i (1 .. $ARGV[0]) {
		my $text = "Subject: message $i\nMessage-ID: <$i\@example.org>\n"
		    . "\n.dots $i\n.\nFrom there\n\xe9\n";
		my $name = sprintf("%s/new/%d.m%d.host", $ARGV[1],
		    1700000000 + $i, $i);
		open(my $out, ">:raw", $name) or die "$name: $!";
		print $out $text;
		$name = sprintf("%s/box/m%04d", $ARGV[1], $i);
		open($out, ">:raw", $name) or die "$name: $!";
		print $out $text =~ s/\n/\r\n/gr;
	}' "$MESSAGES" "$BATS_FILE_TMPDIR"
}

fill_mailbox() {
	mkdir -p "$DIR/mail/cur" "$DIR/mail/tmp"
	cp -r "$BATS_FILE_TMPDIR/new" "$DIR/mail"
	cp "$BATS_FILE_TMPDIR"/box/* "$BOX"
	[ "$(id -u)" -ne 0 ] || chown -R "$OWNER" "$DIR/mail"
}

on_server() {
	find "$DIR/mail/new" "$DIR/mail/cur" -type f | wc -l
}

@test "dovecot: everything comes once, byte for byte" {
	rc
	run_poplar
	expect_exit 0
	[ -z "$output$stderr" ]
	assert_maildir_equals_box
	run_poplar -d
	expect_exit 0
	[[ $stderr != *RETR* ]]
	[ "$(delivered)" -eq "$MESSAGES" ]
	[ "$(on_server)" -eq "$MESSAGES" ]
}

@test "dovecot: CAPA is understood, and commands go ahead of replies" {
	rc
	run_poplar -d
	expect_exit 0
	[[ $stderr == *PIPELINING* ]]
	[[ $stderr == *"RETR $MESSAGES"* ]]
	[[ $stderr != *sesame* ]]
}

@test "dovecot: without pipelining it is the same" {
	rc "pipelining off" "max_messages 50"
	run_poplar
	expect_exit 0
	[ "$(delivered)" -eq 50 ]
	rc "pipelining off"
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
}

@test "dovecot: STLS" {
	rc "tls on" "tls_starttls on" "tls_trust_file $DIR/certs/ca.pem" \
	    "auth on"
	run_poplar -v
	expect_exit 0
	[[ $stderr == *TLS1* ]]
	assert_maildir_equals_box
}

@test "dovecot: TLS from the first byte" {
	PORT=$TLS_PORT
	rc "tls on" "tls_trust_file $DIR/certs/ca.pem" "auth on"
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
	rc "tls on"
	run_poplar
	expect_exit 76
}

@test "dovecot: APOP" {
	rc "auth apop"
	run_poplar -d
	expect_exit 0
	[[ $stderr == *APOP* ]]
	[[ $stderr != *PASS* ]]
	assert_maildir_equals_box
}

@test "dovecot: keep off empties the mailbox" {
	rc "keep off"
	run_poplar
	expect_exit 0
	[ "$(on_server)" -eq 0 ]
	assert_maildir_equals_box
	run_poplar -v
	expect_exit 0
	[[ $output == *"nothing new, 0 on the server"* ]]
}

@test "dovecot: what an earlier run fetched goes under keep off, unfetched" {
	rc
	run_poplar
	expect_exit 0
	rc "keep off"
	run_poplar -d
	expect_exit 0
	[[ $stderr != *RETR* ]]
	[ "$(on_server)" -eq 0 ]
	[ "$(delivered)" -eq "$MESSAGES" ]
}

@test "dovecot: a new message among old ones, an old one gone" {
	rc
	run_poplar
	expect_exit 0
	rm "$DIR"/mail/*/1700000007.*
	message m9999 "the new one"
	as_delivered "$BOX/m9999" >"$DIR/mail/new/1800000000.new.host"
	[ "$(id -u)" -ne 0 ] || chown "$OWNER" "$DIR"/mail/new/*.new.host
	run_poplar -v
	expect_exit 0
	[[ $output == "test: 1 new message "*", $MESSAGES on the server" ]]
	assert_maildir_equals_box
}

@test "dovecot: a wrong password is 77, and nothing is delivered" {
	rc "password wrong"
	run_poplar
	expect_exit 77
	[ "$(delivered)" -eq 0 ]
	[[ $stderr == *login* ]]
}

@test "dovecot: its cache and index lost, nothing comes twice" {
	rc
	run_poplar
	expect_exit 0
	rm -f "$DIR"/mail/dovecot.index*
	run_poplar
	expect_exit 0
	[ "$(delivered)" -eq "$MESSAGES" ]
}

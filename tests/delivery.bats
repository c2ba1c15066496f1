#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# What lands is what the server sent: Maildir, mbox and mda.

load lib.bash

# Messages that tempt a fetcher to change, cut or split them.
hostile_messages() {
	local head='Subject: hostile\r\n\r\n'
	printf "$head"'.\r\n..\r\n...\r\n.a\r\n. \r\nend\r\n' >"$BOX/01-dots"
	printf "$head"'.\r\n' >"$BOX/02-lone-dot"
	printf '.\r\n.Subject: dots first\r\n\r\n' >"$BOX/03-dot-first"
	printf "$head"'a\0b\r\n\0\0\r\n\0' >"$BOX/04-nul"
	printf "$head"'a\rb\r\r\n\r.\r\n\r\r\r\nc\r' >"$BOX/05-bare-cr"
	printf "$head"'a\nb\n.\nc\n.\r\nd\r\n\n.\r\n\n' >"$BOX/06-bare-lf"
	perl -e 'print "X: \xff\xfe\r\n\r\n", map { chr } 0 .. 255' \
	    >"$BOX/07-8-bit"
	printf "$head" >"$BOX/08-empty-body"
	printf 'Subject: header only\r\n' >"$BOX/09-header-only"
	: >"$BOX/10-zero-length"
	printf "$head"'no line end' >"$BOX/11-no-newline"
	printf "$head"'From me\r\n>From me\r\n>>From me\r\n From me\r\n>>>From\r\n\nFrom me\n>From me\n>>x\r\nFrom \r\n' \
	    >"$BOX/12-from"
	printf 'From alice Thu Jan  1 00:00:00 1970\r\n'"$head"'x\r\n' \
	    >"$BOX/13-from-first"
	printf '\r\n' >"$BOX/14-empty-line"
	printf '\r\n\r\n\r\nFrom x\r\n\r\n\r\n' >"$BOX/15-empty-lines"
	printf "$head"'\r\r\r.\r\r\n..\r\n\r\n.\r.\n.\r\n' >"$BOX/16-mixed"
	printf 'From: =?x?=\r\n cont\r\n\t.\r\n\r\n>From\r\n' >"$BOX/17-folded"
}

large_messages() {
	perl -e 'print "Subject: long\r\n\r\n", "x" x 1048576, "\r\n.",
	    "y" x 1048576, "\r\n", "." x 70000, "\r\nend\r\n"' >"$BOX/20-long"
	perl -e 'print "Subject: ", "x" x 1048576, "\r\n\r\n"' \
	    >"$BOX/21-long-header"
	perl -e 'print "Subject: dots\r\n\r\n", ".\r\n" x 100000' \
	    >"$BOX/22-many-dots"
	perl -e 'print "Subject: from\r\n\r\n", "From x\r\n" x 50000' \
	    >"$BOX/23-many-from"
	perl -e 'print "Subject: noise\r\n\r\n"; srand 1;
	    print map { chr int rand 256 } 1 .. 300000' >"$BOX/24-noise"
}

certificates() {
	CERTS=$BATS_TEST_TMPDIR/certs
	"$POPD" cert "$CERTS"
}

# Each message is what the command made of it.
assert_files_equal_box() {
	local f
	for f in "$BOX"/*; do
		as_delivered "$f" | cmp - "$1/${f##*/}"
	done
	[ "$(find "$1" -type f | wc -l)" -eq "$(find "$BOX" -type f | wc -l)" ]
}

# Holds the fcntl lock on FILE until a line comes; then prints the length that
# the file still had, unlocks it, and stays until a second one.
hold_fcntl_lock() {
	perl -MFcntl=:DEFAULT -e '
		$| = 1;
		open(my $f, "+<", $ARGV[0]) or die "$!";
		my $lock = pack("s s x![q] q q i x4", F_WRLCK, 0, 0, 0, 0);
		fcntl($f, F_SETLK, $lock) or die "$!";
		print "locked\n";
		<STDIN>;
		print -s $f, "\n";
		close($f);
		<STDIN>;' "$1"
}

# Not even within a second.
assert_still_running() {
	! timeout 1 tail -s 0.02 --pid="$1" -f /dev/null
}

@test "maildir: hostile messages land byte for byte" {
	hostile_messages
	large_messages
	serve
	rc
	run_poplar
	expect_exit 0
	[ -z "$output$stderr" ]
	assert_maildir_equals_box
}

@test "mbox: hostile messages land byte for byte, once unquoted" {
	hostile_messages
	large_messages
	serve
	rc "delivery mbox ~/mbox"
	run_poplar
	expect_exit 0
	[ -z "$output$stderr" ]
	assert_mbox_equals_box "$HOME/mbox"
}

@test "mda: hostile messages land byte for byte" {
	mkdir "$HOME/out"
	hostile_messages
	large_messages
	serve
	rc 'delivery mda cat >"$HOME/out/$POPLAR_UID"'
	run_poplar
	expect_exit 0
	[ -z "$output$stderr" ]
	assert_files_equal_box "$HOME/out"
}

@test "maildir: nothing depends on where the stream is split" {
	local chunk
	hostile_messages
	for chunk in 1 2 3 4 5 7 64; do
		serve --chunk "$chunk"
		rc
		rm -rf "$HOME/Maildir" "$HOME/.local"
		run_poplar
		expect_exit 0
		assert_maildir_equals_box
		stop_server
	done
}

@test "mbox: nothing depends on where the stream is split" {
	local chunk
	hostile_messages
	for chunk in 1 2 3 4 5 7; do
		serve --chunk "$chunk"
		rc "delivery mbox ~/mbox" "pipelining off"
		rm -rf "$HOME/mbox" "$HOME/.local"
		run_poplar
		expect_exit 0
		assert_mbox_equals_box "$HOME/mbox"
		stop_server
	done
}

@test "maildir: nothing depends on where TLS records are split" {
	local chunk
	certificates
	hostile_messages
	for chunk in 1 2 3 5; do
		serve --chunk "$chunk" --tls implicit \
		    --tls-cert "$CERTS/server.pem" \
		    --tls-key "$CERTS/server.key"
		rc "tls on" "tls_starttls off" "tls_trust_file $CERTS/ca.pem"
		rm -rf "$HOME/Maildir" "$HOME/.local"
		run_poplar
		expect_exit 0
		assert_maildir_equals_box
		stop_server
	done
}

@test "maildir: large messages pass through TLS" {
	certificates
	large_messages
	serve --tls implicit --tls-cert "$CERTS/server.pem" \
	    --tls-key "$CERTS/server.key"
	rc "tls on" "tls_starttls off" "tls_trust_file $CERTS/ca.pem"
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
}

@test "a message of 200 MB passes without being held in memory" {
	perl -e 'print "Subject: huge\r\n\r\n"; my $l = "x" x 998 . "\r\n";
	    my $m = $l x 1000; print $m for 1 .. 200; print "end\r\n"' \
	    >"$BOX/huge"
	serve
	rc
	# A program with sanitizers needs more than any limit allows.
	if (ulimit -v 100000 && "$POPLAR" --version >/dev/null 2>&1); then
		run --separate-stderr bash -c 'ulimit -v 100000
		    exec timeout 100 "$0" </dev/null' "$POPLAR"
	else
		run --separate-stderr timeout 100 "$POPLAR"
	fi
	expect_exit 0
	[ "$(delivered)" -eq 1 ]
	sed 's/\r$//' "$BOX/huge" | cmp - "$HOME"/Maildir/new/*
	rm -rf "$BOX" "$HOME/Maildir"
}

@test "maildir: it is made for its owner alone, whatever the umask" {
	messages 3
	serve
	rc
	umask 0
	run_poplar
	expect_exit 0
	[ "$(stat -c %a "$HOME/Maildir")" = 700 ]
	[ "$(find "$HOME/Maildir" -type d -perm 700 | wc -l)" -eq 4 ]
	[ "$(find "$HOME/Maildir" -type f -perm 600 | wc -l)" -eq 3 ]
}

@test "maildir: a name ends in the true sizes, here and on the wire" {
	local f name
	hostile_messages
	serve
	rc
	run_poplar
	expect_exit 0
	for f in "$HOME"/Maildir/new/*; do
		[[ $f =~ ,S=([0-9]+),W=([0-9]+)$ ]]
		[ "${BASH_REMATCH[1]}" -eq "$(stat -c %s "$f")" ]
		echo "${BASH_REMATCH[1]} ${BASH_REMATCH[2]}"
	done | sort >"$BATS_TEST_TMPDIR/got"
	for f in "$BOX"/*; do
		name=$(as_delivered "$f" | wc -c)
		echo "$name $(perl -0777 -ne 'if (length) {
		    $_ .= "\r\n" unless /\r\n\z/; print }' "$f" | wc -c)"
	done | sort >"$BATS_TEST_TMPDIR/expected"
	diff "$BATS_TEST_TMPDIR/expected" "$BATS_TEST_TMPDIR/got"
}

@test "maildir: a missing parent is 73, and nothing is made or fetched" {
	messages 2
	serve
	rc "delivery maildir ~/no/such/Maildir"
	run_poplar
	expect_exit 73
	[[ $stderr == *"$HOME/no/such"* ]]
	[ ! -e "$HOME/no" ]
	not logged connect
}

@test "maildir: one that was there before and is gone is 73 with the date" {
	local today
	messages 2
	serve
	rc
	today=$(date +%F)
	run_poplar
	expect_exit 0
	mv "$HOME/Maildir" "$HOME/unmounted"
	message m0003 "message 3"
	run_poplar
	expect_exit 73
	[[ $stderr == *"$HOME/Maildir"*"$today"*mounted* ]]
	[ ! -e "$HOME/Maildir" ]
	mv "$HOME/unmounted" "$HOME/Maildir"
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
}

@test "maildir: a file, or a directory of other things, is refused" {
	messages 1
	serve
	rc
	echo mine >"$HOME/Maildir"
	run_poplar
	expect_exit 73
	[ "$(cat "$HOME/Maildir")" = mine ]
	rm "$HOME/Maildir"
	mkdir "$HOME/Maildir"
	echo mine >"$HOME/Maildir/letter"
	run_poplar
	expect_exit 73
	[ "$(ls "$HOME/Maildir")" = letter ]
}

@test "maildir: leftovers in tmp go when their process is gone, others stay" {
	local name dead live
	messages 1
	serve
	rc
	run_poplar
	expect_exit 0
	name=$(basename "$HOME"/Maildir/new/*)
	name=${name%%,*}
	(exit 0) &
	dead=$!
	wait "$dead"
	dead=$(perl -pe "s/P\d+Q/P${dead}Q/" <<<"$name")
	live=$(perl -pe "s/P\d+Q/P$$""Q/" <<<"$name")
	touch "$HOME/Maildir/tmp/$dead" "$HOME/Maildir/tmp/$live" \
	    "$HOME/Maildir/tmp/1234.other.host"
	message m0002 "message 2"
	run_poplar
	expect_exit 0
	[ ! -e "$HOME/Maildir/tmp/$dead" ]
	[ -e "$HOME/Maildir/tmp/$live" ]
	[ -e "$HOME/Maildir/tmp/1234.other.host" ]
	[ "$(delivered)" -eq 2 ]
	touch "$HOME/Maildir/tmp/$dead"
	run_poplar --dry-run
	[ -e "$HOME/Maildir/tmp/$dead" ]
	run_poplar
	expect_exit 0
	[ ! -e "$HOME/Maildir/tmp/$dead" ]
	[ -e "$HOME/Maildir/tmp/$live" ]
}

# A message of which so much is here that it is locked.
in_tmp() {
	FILE=$(find "$HOME/Maildir/tmp" -type f -size +64k)
	[ -n "$FILE" ]
}

@test "maildir: what another container receives into tmp stays" {
	command -v flock >/dev/null || skip "flock is not installed"
	message m1 large "$(yes "a line" | head -n 30000)"
	serve --at 'RETR 1' --stall-after 200000
	rc
	start_poplar
	eventually in_tmp
	eventually not flock -n "$FILE" true
	kill_at_once "$RUN"
	stop_server
	serve
	rc
	exec 9<"$FILE"
	flock -n 9
	run_poplar
	expect_exit 0
	[ -e "$FILE" ]
	exec 9<&-
	run_poplar
	expect_exit 0
	[ ! -e "$FILE" ]
	[ "$(delivered)" -eq 1 ]
}

@test "a full disk ends the account with 74 and loses nothing" {
	local disk=$BATS_TEST_TMPDIR/disk kind
	mkdir "$disk"
	mount -t tmpfs -o size=256k none "$disk" 2>/dev/null ||
	    skip "cannot mount a small file system here"
	mkdir "$disk/home"
	messages 3
	perl -e 'print "Subject: large\r\n\r\n", "x\r\n" x 300000' >"$BOX/m0002"
	serve
	for kind in "maildir $disk/Maildir" "mbox $disk/mbox"; do
		rc "delivery $kind" "keep off"
		run_poplar
		[ "$status" -eq 74 ] || {
			umount "$disk"
			expect_exit 74
		}
	done
	run find "$disk" -size +200k
	umount "$disk"
	[ -z "$output" ]
	[ -e "$BOX/m0002" ]
	[ -e "$BOX/m0003" ]
}

# limited LIMIT VALUE: a run under that limit of bash's ulimit.
limited() {
	run --separate-stderr bash -c 'exec </dev/null 3>&- 4>&-
	    ulimit "$1" "$2"
	    exec timeout -k 5 60 "$0"' "$POPLAR" "$@"
}

@test "a limit on the size of files is a full disk: 74, and nothing is lost" {
	local copy=$BATS_TEST_TMPDIR/copy kind
	messages 3
	perl -e 'print "Subject: large\r\n\r\n", "x\r\n" x 100000' >"$BOX/m0002"
	cp -r "$BOX" "$copy"
	for kind in "maildir ~/Maildir" "mbox ~/mbox" \
	    'mda cat >"$HOME/out/$POPLAR_UID"'; do
		rm -rf "$BOX" "$HOME"
		mkdir -p "$HOME/out"
		cp -r "$copy" "$BOX"
		serve
		rc "delivery $kind" "keep off"
		: >"$LOG"
		limited -f 64
		expect_exit 74
		says "File too large" "$BATS_TEST_TMPDIR"
		# The server need not wait for a client that is gone.
		logged 'C: QUIT'
		[ -e "$BOX/m0002" ]
		[ ! -e "$HOME/mbox" ] || not grep -q '^Subject: large' "$HOME/mbox"
		run_poplar
		expect_exit 0
		[ -z "$(ls "$BOX")$(ls "$TMPDIR")" ]
		(
			BOX=$copy
			case $kind in
			maildir*) assert_maildir_equals_box ;;
			mbox*) assert_mbox_equals_box "$HOME/mbox" ;;
			mda*) assert_files_equal_box "$HOME/out" ;;
			esac
		)
		stop_server
	done
}

@test "few open files are enough for many messages" {
	start_popd mailbox --synthetic 200:1000
	rc
	limited -n 20
	expect_exit 0
	assert_equal "$(delivered)" 200
}

@test "a limit on open files: which file and why, 73 or 74, nothing is lost" {
	local n kind
	messages 3
	serve
	for kind in "maildir ~/Maildir" "mbox ~/mbox"; do
		for n in 5 6 7 8 9 10 11; do
			rc "delivery $kind"
			rm -rf "$HOME/Maildir" "$HOME/mbox" "$HOME/.local"
			limited -n "$n"
			case $status in
			0) ;;
			71) says connect ;; # no socket
			*)
				[ "$status" -eq 73 ] || expect_exit 74
				says "Too many open files" "$HOME"
				;;
			esac
			run_poplar
			expect_exit 0
			[ "$kind" != "maildir ~/Maildir" ] ||
			    assert_maildir_equals_box
			[ ! -e "$HOME/mbox" ] || assert_mbox_equals_box "$HOME/mbox"
		done
	done
}

@test "mbox: a new one is for its owner alone, an old one keeps its mode" {
	messages 1
	serve
	rc "delivery mbox ~/mbox"
	umask 0
	run_poplar
	expect_exit 0
	[ "$(stat -c %a "$HOME/mbox")" = 600 ]
	chmod 640 "$HOME/mbox"
	message m0002 "message 2"
	run_poplar
	expect_exit 0
	[ "$(stat -c %a "$HOME/mbox")" = 640 ]
	assert_mbox_equals_box "$HOME/mbox"
	[ "$(find "$HOME" -name 'mbox*')" = "$HOME/mbox" ]
}

@test "mbox: anything but a regular file or a link to one is 73 (CVE-2004-0880)" {
	local place
	messages 1
	serve
	mkdir "$HOME/directory"
	mkfifo "$HOME/fifo"
	ln -s nowhere "$HOME/dangling"
	for place in directory fifo dangling; do
		rc "delivery mbox ~/$place" "keep off"
		run_poplar
		expect_exit 73
		[[ $stderr == *"$HOME/$place"* ]]
	done
	ln -s /dev/null "$HOME/device"
	for place in /dev/null "$HOME/device"; do
		rc "delivery mbox $place" "keep off"
		run_poplar
		expect_exit 73
		[[ $stderr == *": $place is not"* ]]
	done
	[ ! -e "$HOME/nowhere" ]
	[ -e "$BOX/m0001" ]
	: >"$HOME/target"
	ln -s target "$HOME/link"
	rc "delivery mbox ~/link"
	run_poplar
	expect_exit 0
	[ -L "$HOME/link" ]
	assert_mbox_equals_box "$HOME/target"
}

@test "mbox: a link in the place of its lock file is not followed (CVE-2004-0880)" {
	local dead target
	messages 1
	(exit 0) &
	dead=$!
	wait "$dead"
	# Followed, it were a stale lock; and one that can be made.
	echo "$dead" >"$HOME/victim"
	for target in victim nothing; do
		rm -rf "$HOME/mbox" "$HOME/.local"
		: >"$LOG"
		ln -s "$target" "$HOME/mbox.lock"
		serve
		rc "delivery mbox ~/mbox"
		start_poplar
		eventually logged "RETR 1"
		assert_still_running "$RUN"
		[ -L "$HOME/mbox.lock" ]
		[ ! -s "$HOME/mbox" ]
		rm "$HOME/mbox.lock"
		finish_poplar
		expect_exit 0
		assert_mbox_equals_box "$HOME/mbox"
		assert_equal "$(cat "$HOME/victim")" "$dead"
		[ ! -e "$HOME/nothing" ]
	done
}

@test "mbox: one that a mail reader has removed is made anew" {
	messages 1
	serve
	rc "delivery mbox ~/mbox"
	run_poplar
	expect_exit 0
	rm "$HOME/mbox" "$BOX/m0001"
	message m0002 "message 2"
	run_poplar
	expect_exit 0
	[ "$(stat -c %a "$HOME/mbox")" = 600 ]
	assert_mbox_equals_box "$HOME/mbox"
}

@test "mbox: a missing final newline is made up for" {
	message m1 "message 1"
	printf 'From me Sun Nov 22 00:00:00 2026\nSubject: old\n\nunended' \
	    >"$HOME/mbox"
	serve
	rc "delivery mbox ~/mbox"
	run_poplar
	expect_exit 0
	head -n 5 "$HOME/mbox" >"$BATS_TEST_TMPDIR/got"
	printf 'From me Sun Nov 22 00:00:00 2026\nSubject: old\n\nunended\n\n' |
	    cmp - "$BATS_TEST_TMPDIR/got"
	split_mbox "$HOME/mbox" "$BATS_TEST_TMPDIR/parts"
	as_delivered "$BOX/m1" | cmp - "$BATS_TEST_TMPDIR/parts/0002"
}

@test "mbox: the From_ line has the envelope sender and the time in UTC" {
	local before after line
	printf 'Return-Path: <rp@example.org>\r\nFrom: a@example.org\r\n\r\n' \
	    >"$BOX/1"
	printf 'From: "B, b" <b@example.org>\r\n\r\n' >"$BOX/2"
	printf 'Return-Path: <>\r\nFrom: c@example.org\r\n\r\n' >"$BOX/3"
	printf 'Subject: nobody\r\n\r\n' >"$BOX/4"
	printf 'From: two words <a b\x01@x>\r\n\r\n' >"$BOX/5"
	serve
	rc "delivery mbox ~/mbox"
	before=$(date -u +%s)
	TZ=Asia/Tokyo run_poplar
	after=$(date -u +%s)
	expect_exit 0
	grep '^From ' "$HOME/mbox" >"$BATS_TEST_TMPDIR/lines"
	cut -d ' ' -f 2 "$BATS_TEST_TMPDIR/lines" | head -n 4 | xargs |
	    grep -Fx 'rp@example.org b@example.org MAILER-DAEMON MAILER-DAEMON'
	while read -r line; do
		[[ $line =~ ^From\ [!-~]+\ ([A-Z].{23})$ ]]
		line=$(date -u -d "${BASH_REMATCH[1]}" +%s)
		[ "$line" -ge "$before" ]
		[ "$line" -le "$after" ]
	done <"$BATS_TEST_TMPDIR/lines"
}

@test "mbox: nothing is written while another process has the fcntl lock" {
	local length now
	[ "$(uname -s)" = Linux ] || skip "the helper knows Linux only"
	messages 2
	printf 'From me Sun Nov 22 00:00:00 2026\n\n' >"$HOME/mbox"
	length=$(stat -c %s "$HOME/mbox")
	coproc HOLDER { hold_fcntl_lock "$HOME/mbox" 3>&-; }
	pids+=("$HOLDER_PID")
	read -r -t 10 -u "${HOLDER[0]}" now
	[ "$now" = locked ]
	serve
	rc "delivery mbox ~/mbox"
	start_poplar
	eventually logged "RETR 2"
	assert_still_running "$RUN"
	echo >&"${HOLDER[1]}"
	read -r -t 10 -u "${HOLDER[0]}" now
	[ "$now" -eq "$length" ]
	finish_poplar
	echo >&"${HOLDER[1]}"
	expect_exit 0
	[ "$(grep -c '^Message-ID' "$HOME/mbox")" -eq 2 ]
	[ "$(find "$HOME" -name 'mbox*')" = "$HOME/mbox" ]
}

@test "mbox: a dotlock of a living process is waited for" {
	messages 1
	echo "$$" >"$HOME/mbox.lock"
	serve
	rc "delivery mbox ~/mbox"
	start_poplar
	eventually logged "RETR 1"
	assert_still_running "$RUN"
	[ ! -s "$HOME/mbox" ]
	[ "$(cat "$HOME/mbox.lock")" = "$$" ]
	rm "$HOME/mbox.lock"
	finish_poplar
	expect_exit 0
	[ ! -e "$HOME/mbox.lock" ]
	assert_mbox_equals_box "$HOME/mbox"
}

@test "mbox: a dotlock of a dead process is none" {
	local dead
	messages 1
	(exit 0) &
	dead=$!
	wait "$dead"
	echo "$dead" >"$HOME/mbox.lock"
	serve
	rc "delivery mbox ~/mbox"
	run timeout 10 "$POPLAR"
	expect_exit 0
	[ ! -e "$HOME/mbox.lock" ]
	assert_mbox_equals_box "$HOME/mbox"
}

@test "what may not be used is 73, by name and before any connection" {
	local place
	messages 1
	serve
	for place in Maildir Maildir/new Maildir/cur Maildir/tmp mbox state; do
		rm -rf "$HOME/Maildir"
		mkdir -p "$HOME/Maildir/new" "$HOME/Maildir/cur" \
		    "$HOME/Maildir/tmp"
		: >"$HOME/mbox"
		: >"$HOME/state"
		chmod 0 "$HOME/$place"
		rc "uidls_file ~/state"
		[ "$place" != mbox ] || rc "uidls_file ~/state" "delivery mbox ~/mbox"
		run_mortal
		chmod 700 "$HOME/$place"
		expect_exit 73
		says "$HOME/$place" "Permission denied"
	done
	not logged connect
}

@test "mbox: a stale dotlock that cannot be removed is said at once" {
	local dead
	messages 1
	(exit 0) &
	dead=$!
	wait "$dead"
	mkdir "$HOME/spool"
	: >"$HOME/spool/mbox"
	echo "$dead" >"$HOME/spool/mbox.lock"
	chmod 555 "$HOME/spool"
	serve
	rc "delivery mbox ~/spool/mbox" "keep off"
	run_mortal
	chmod 755 "$HOME/spool"
	expect_exit 73
	says "$HOME/spool/mbox.lock" "Permission denied"
	run_poplar
	expect_exit 0
	[ -z "$(ls "$BOX")" ]
}

@test "mbox: where no dotlock can be made, the fcntl lock has to do" {
	messages 1
	mkdir "$HOME/spool"
	: >"$HOME/spool/mbox"
	chmod 555 "$HOME/spool"
	serve
	rc "delivery mbox ~/spool/mbox"
	run_mortal -v
	chmod 755 "$HOME/spool"
	expect_exit 0
	[[ $stderr == *lock* ]]
	assert_mbox_equals_box "$HOME/spool/mbox"
}

@test "mda: the environment says what the message is" {
	message m1 "message 1"
	echo 'm1 a%20b%25' >"$BOX/.uids"
	serve
	rc_account box "user bob%x" \
	    'delivery mda env | grep ^POPLAR_ | sort >~/env; cat >/dev/null'
	run_poplar
	expect_exit 0
	grep -Fx "POPLAR_ACCOUNT=box" "$HOME/env"
	grep -Fx "POPLAR_HOST=127.0.0.1" "$HOME/env"
	grep -Fx "POPLAR_USER=bob%x" "$HOME/env"
	grep -Fx "POPLAR_SENDER=alice@example.org" "$HOME/env"
	grep -Fx "POPLAR_SIZE=$(as_delivered "$BOX/m1" | wc -c)" "$HOME/env"
	grep -Fx "POPLAR_UID=a%20b%25" "$HOME/env"
}

@test "mda: the sender in a command is harmless, whatever it was" {
	printf 'Return-Path: <a"; touch ~/pwned;$(touch ~/pwned)`touch ~/pwned`|&'"'"'>\r\n\r\n' >"$BOX/1"
	printf 'Return-Path: <joe+x_1-2/3.4@Ex-ample.org>\r\n\r\n' >"$BOX/2"
	printf 'Return-Path: <>\r\n\r\n' >"$BOX/3"
	printf 'From: \xc3\xa9\x1b\n%%H\\x@example.org\r\n\r\n' >"$BOX/4"
	printf 'From: a@b.c%%F%%Fx\r\n\r\n' >"$BOX/5"
	serve
	rc 'delivery mda printf "[%s] " %F >>~/senders; echo "%F" >>~/senders'
	run_poplar
	expect_exit 0
	[ ! -e "$HOME/pwned" ]
	cat "$HOME/senders"
	[ "$(wc -l <"$HOME/senders")" -eq 5 ]
	grep -Fx '[joe+x_1-2/3.4@Ex-ample.org] joe+x_1-2/3.4@Ex-ample.org' \
	    "$HOME/senders"
	grep -Fx '[MAILER-DAEMON] MAILER-DAEMON' "$HOME/senders"
	grep -Fx '[a@b.c_F_Fx] a@b.c_F_Fx' "$HOME/senders"
	not grep -v '^\[[A-Za-z0-9.@_+/-]*\] [A-Za-z0-9.@_+/-]*$' "$HOME/senders"
}

@test "mda: any other percent sign stands for itself" {
	messages 1
	serve
	rc 'delivery mda echo "%H %% %S %" >~/line'
	run_poplar
	expect_exit 0
	[ "$(cat "$HOME/line")" = "%H %% %S %" ]
}

@test "mda: only exit 0 is delivered, and the others stop nothing (CVE-2006-5974, CVE-2007-4565)" {
	local subject
	messages 8
	cat >"$HOME/mda" <<-'EOF'
		subject=$(sed -n 's/^Subject: //p')
		echo "$subject" >>~/tries
		case $subject in
		*2) exit 1 ;;
		*3) exit 75 ;;
		*4) kill -KILL $$ ;;
		*5) sleep 30 ;;
		*6) exit 127 ;;
		*7) kill -SEGV $$ ;;
		*) echo "$subject" >>~/taken ;;
		esac
	EOF
	serve
	rc 'delivery mda exec sh ~/mda' "mda_timeout 1" "keep off"
	run_poplar
	expect_exit 75
	[ "$(xargs <"$HOME/taken")" = "message 1 message 8" ]
	[ "$(ls "$BOX" | xargs)" = "m0002 m0003 m0004 m0005 m0006 m0007" ]
	for subject in 2 3 4 5 6 7; do
		grep "^poplar: test: .*message $subject: " <<<"$stderr"
	done
	[ "$(grep -c '^poplar: test: .*message [0-9]*: ' <<<"$stderr")" -eq 6 ]
	[[ $stderr == *"message 2: "*" 1"* ]]
	[[ $stderr == *"message 4: "*KILL* ]]
	rm "$HOME/taken" "$HOME/tries"
	rc 'delivery mda echo $POPLAR_UID >>~/taken' "keep off"
	run_poplar
	expect_exit 0
	[ "$(xargs <"$HOME/taken")" = "m0002 m0003 m0004 m0005 m0006 m0007" ]
	[ -z "$(ls "$BOX")" ]
}

@test "mda: one that fails is tried again, one that succeeded is not" {
	messages 2
	serve
	rc 'delivery mda echo $POPLAR_UID >>~/tries; test $POPLAR_UID = m0001'
	run_poplar
	expect_exit 75
	run_poplar
	expect_exit 75
	[ "$(xargs <"$HOME/tries")" = "m0001 m0002 m0002" ]
}

@test "mda: at its timeout all that the command started ends" {
	local child
	messages 1
	serve
	rc 'delivery mda trap "" TERM; sleep 97 & echo $! >~/child; wait; sleep 98' \
	    "mda_timeout 1"
	run_poplar
	expect_exit 75
	child=$(cat "$HOME/child")
	eventually ended "$child"
	[ -e "$BOX/m0001" ]
	# Also what does not end with the command.
	rc 'delivery mda sh -c "trap : TERM; echo \$\$ >~/child; sleep 98; sleep 97" & wait' \
	    "mda_timeout 1"
	run_poplar
	expect_exit 75
	child=$(cat "$HOME/child")
	eventually ended "$child"
}

@test "mda: mda_timeout off is no limit" {
	messages 1
	serve
	rc 'delivery mda read -r line; cat >/dev/null; echo ok >~/done' \
	    "mda_timeout off"
	run_poplar
	expect_exit 0
	[ -e "$HOME/done" ]
}

@test "mda: on a full disk of the state no command runs in vain" {
	local disk=$BATS_TEST_TMPDIR/disk i
	mkdir "$disk"
	mount -t tmpfs -o size=64k none "$disk" 2>/dev/null ||
	    skip "cannot mount a small file system here"
	messages 40
	serve
	rc 'delivery mda echo $POPLAR_UID >>~/taken' "uidls_file $disk/state"
	: >"$disk/state"
	dd if=/dev/zero of="$disk/filler" bs=4k count=14 status=none
	for i in 1 2 3; do
		run_poplar
		echo "$status ${stderr%%$'\n'*}" >>"$HOME/runs"
	done
	rm "$disk/filler"
	run_poplar
	umount "$disk"
	expect_exit 0
	grep -q "^74 poplar: test: .*$disk/state.*: No space left" "$HOME/runs"
	[ "$(wc -l <"$HOME/taken")" -eq 40 ]
	[ "$(sort -u "$HOME/taken" | wc -l)" -eq 40 ]
}

@test "mda: on a state at its size limit no command runs in vain" {
	messages 40
	serve
	rc 'delivery mda echo $POPLAR_UID >>~/taken' "uidls_file ~/state"
	limited -f 4
	expect_exit 74
	says "$HOME/state" "File too large"
	run_poplar
	expect_exit 0
	[ "$(wc -l <"$HOME/taken")" -eq 40 ]
	[ "$(sort -u "$HOME/taken" | wc -l)" -eq 40 ]
}

@test "mda: a command need not read" {
	large_messages
	serve
	rc 'delivery mda echo $POPLAR_UID >>~/taken'
	run_poplar
	expect_exit 0
	[ "$(wc -l <"$HOME/taken")" -eq 5 ]
}

@test "mda: it does not start before the whole message is here" {
	message m1 "message 1" "$(printf '%5000s' x)"
	serve --at "RETR 1" --cut-after 4000 --on-connection 1
	rc 'delivery mda cat >>~/started'
	run_poplar
	expect_exit 75
	[ ! -e "$HOME/started" ]
	run_poplar
	expect_exit 0
	as_delivered "$BOX/m1" | cmp - "$HOME/started"
}

@test "mda: what it printed is shown, made harmless" {
	messages 1
	serve
	rc 'delivery mda printf "mailbox\033[2J full\n" >&2; exit 1'
	run_poplar
	expect_exit 75
	[[ $stderr == *mailbox*full* ]]
	[[ $stderr != *$'\033'* ]]
	rc 'delivery mda echo stored in box 7'
	run_poplar -v
	expect_exit 0
	[[ $output$stderr == *"stored in box 7"* ]]
}

@test "mda: descriptors, signals and process group are as for a shell" {
	[ -r /proc/self/status ] || skip "no /proc here"
	messages 1
	serve
	cat >"$HOME/mda" <<-'EOF'
		for fd in /proc/$$/fd/[0-9]; do
			test ! -e "$fd" || echo "${fd##*/}"
		done >~/fds
		grep -E '^Sig(Blk|Ign)' /proc/self/status >~/signals
		read -r pid name state parent group rest </proc/$PPID/stat
		read -r pid name state parent own rest </proc/$$/stat
		test "$group" != "$own" || echo "group of poplar" >~/group
	EOF
	rc 'delivery mda exec sh ~/mda'
	(
		trap '' PIPE USR1
		exec 8<"$HOME/.poplarrc" 9</dev/null
		poplar
	)
	# The shell has its script open itself, as 10 or 255.
	[ "$(xargs <"$HOME/fds")" = "0 1 2" ]
	cat "$HOME/signals"
	# But for the two that belong to the C library.
	not grep -v '[08]0000000$' "$HOME/signals"
	[ ! -e "$HOME/group" ]
}

@test "mda: no copy of the message stays behind" {
	messages 3
	serve
	rc 'delivery mda test $POPLAR_UID != m0002'
	run_poplar
	expect_exit 75
	[ -z "$(ls -A "$TMPDIR")" ]
}

@test "mda: no room for the temporary file ends the account, not the run" {
	messages 2
	serve
	TMPDIR=$HOME/no/such/place
	rc 'delivery mda cat >>~/taken'
	run_poplar
	case $status in
	0) [ "$(grep -c '^Message-ID' "$HOME/taken")" -eq 2 ] ;;
	73 | 74) [ ! -e "$HOME/taken" ] ;;
	*) expect_exit 74 ;;
	esac
}

@test "mda: procmail takes the mail" {
	command -v procmail >/dev/null || skip "procmail is not installed"
	hostile_messages
	rm "$BOX"/0[35]-* "$BOX"/06-* "$BOX"/07-* "$BOX"/1*-*
	messages 3
	serve
	# Its HOME is that of the password file.
	printf '%s\n' "MAILDIR=$HOME" "DEFAULT=$HOME/Maildir/" \
	    "LOGFILE=$HOME/procmail.log" >"$HOME/procmailrc"
	chmod 600 "$HOME/procmailrc"
	mkdir -p "$HOME/Maildir/new" "$HOME/Maildir/cur" "$HOME/Maildir/tmp"
	rc 'delivery mda procmail -f %F -m ~/procmailrc'
	run_poplar
	expect_exit 0
	[ "$(delivered)" -eq "$(ls "$BOX" | wc -l)" ]
	[ "$(grep -rhc '^Message-ID' "$HOME/Maildir/new" | sort | xargs)" = \
	    "0 0 0 0 0 1 1 1" ]
}

@test "mda: maildrop takes the mail" {
	command -v maildrop >/dev/null || skip "maildrop is not installed"
	messages 3
	serve
	mkdir -p "$HOME/Maildir/new" "$HOME/Maildir/cur" "$HOME/Maildir/tmp"
	echo "to \"$HOME/Maildir\"" >"$HOME/filter"
	chmod 600 "$HOME/filter"
	rc 'delivery mda maildrop ~/filter'
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
}

@test "session_timeout bounds the commands, too" {
	messages 3
	serve
	rc "delivery mda sleep 30" "session_timeout 2"
	SECONDS=0
	run_poplar
	expect_exit 75
	[ "$SECONDS" -lt 20 ]
	says "message 1: command ran" "the time for the whole session is up"
}

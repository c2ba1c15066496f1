#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# What poplar remembers from run to run, and what it makes of a state that is
# locked, torn, damaged, lost or somebody else's.

load lib.bash

retrieved() {
	sed -n "s/^${1:-[0-9]*} C: RETR //p" "$LOG" | xargs
}

# Is there a state, and does every line of it end in a checksum?
assert_state_is_sound() {
	local state
	state=$(state_file)
	[ -s "$state" ]
	not grep -vE ' \*[0-9a-f]{8}$' "$state"
	[ -z "$(tail -c 1 "$state" | tr -d '\n')" ]
}

@test "a second run fetches nothing and says nothing" {
	messages 5
	serve
	rc
	run_poplar
	expect_exit 0
	run_poplar
	expect_exit 0
	[ -z "$output$stderr" ]
	logged '^2 C: UIDL'
	[ -z "$(retrieved 2)" ]
	message m0006 "message 6"
	run_poplar
	expect_exit 0
	[ "$(retrieved 3)" = 6 ]
	assert_maildir_equals_box
	assert_state_is_sound
}

@test "a second run fetches nothing: mbox and mda" {
	messages 3
	serve
	rc "delivery mbox ~/mbox"
	run_poplar
	run_poplar
	expect_exit 0
	[ -z "$(retrieved 2)" ]
	rc 'delivery mda echo $POPLAR_UID >>~/taken' "uidls_file ~/other"
	run_poplar
	run_poplar
	expect_exit 0
	[ -z "$(retrieved 4)" ]
	[ "$(wc -l <"$HOME/taken")" -eq 3 ]
}

@test "messages that left the server are not missed, new ones are found" {
	messages 4
	serve
	rc
	run_poplar
	rm "$BOX/m0001" "$BOX/m0003"
	message a0000 "before the others"
	run_poplar
	expect_exit 0
	[ "$(retrieved 2)" = 1 ]
	[ "$(delivered)" -eq 5 ]
}

@test "equal unique-ids are as many messages as were delivered" {
	messages 3
	printf 'm000%d same\n' 1 2 3 >"$BOX/.uids"
	serve
	rc
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
	run_poplar
	expect_exit 0
	[ -z "$(retrieved 2)" ]
	message m0004 "message 4"
	echo "m0004 same" >>"$BOX/.uids"
	run_poplar
	expect_exit 0
	[ "$(retrieved 3)" = 4 ]
	assert_maildir_equals_box
}

@test "a known unique-id with another size and header is a new message" {
	messages 3
	serve
	rc
	run_poplar
	message m0002 "altogether another one"
	rc "keep off"
	run_poplar
	expect_exit 0
	[ "$(retrieved 2)" = 2 ]
	[ "$(delivered)" -eq 4 ]
	grep -rq "Subject: altogether another one" "$HOME/Maildir"
	[ -z "$(ls "$BOX")" ]
}

@test "the state is for its owner alone, whatever the umask" {
	messages 1
	serve
	rc
	umask 0
	run_poplar
	expect_exit 0
	[ "$(state_file)" = "$HOME/.local/state/poplar/alice_at_127.0.0.1:$PORT" ]
	[ "$(stat -c %a "$(state_file)")" = 600 ]
	[ "$(stat -c %a "$HOME/.local/state/poplar")" = 700 ]
	export XDG_STATE_HOME=$HOME/elsewhere
	run_poplar
	expect_exit 0
	[ "$(stat -c %a "$XDG_STATE_HOME/poplar/alice_at_127.0.0.1:$PORT")" = 600 ]
}

@test "a second run at the same time leaves with 75, silently" {
	messages 3
	serve --at "RETR 2" --stall-after 10 --on-connection 1
	rc "timeout 100"
	start_poplar
	eventually logged "RETR 2"
	run_poplar
	expect_exit 75
	[ -z "$output$stderr" ]
	run_poplar -v
	expect_exit 75
	[[ $stderr == "poplar: test: "*lock* ]]
	run_poplar -d
	expect_exit 75
	[[ $stderr == "poplar: test: "*lock* ]]
	run_poplar --dry-run
	expect_exit 75
	[ "$(count_logged ' connect$')" -eq 1 ]
	kill_at_once "$RUN"
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
}

@test "killed at any message: afterwards each one is there once" {
	local n
	messages 12
	for n in 1 2 7 12; do
		serve --at "RETR $n" --stall-after 100 --on-connection 1
		: >"$LOG"
		rc "timeout 100" "pipelining off"
		rm -rf "$HOME/Maildir" "$HOME/.local"
		start_poplar
		eventually logged "RETR $n"
		kill_at_once "$RUN"
		run_poplar
		expect_exit 0
		assert_maildir_equals_box
		assert_state_is_sound
		run_poplar
		expect_exit 0
		[ -z "$(retrieved 3)" ]
		stop_server
	done
}

@test "killed under keep off: nothing is lost and nothing comes twice" {
	local n copy=$BATS_TEST_TMPDIR/copy
	messages 12
	cp -r "$BOX" "$copy"
	for n in "RETR 12" "DELE 1" "DELE 7" QUIT; do
		rm -rf "$HOME/Maildir" "$HOME/.local" "$BOX"
		cp -r "$copy" "$BOX"
		serve --at "$n" --stall-after 1 --on-connection 1
		: >"$LOG"
		rc "timeout 100" "keep off" "pipelining off"
		start_poplar
		eventually logged "$n"
		kill_at_once "$RUN"
		run_poplar
		expect_exit 0
		[ -z "$(ls "$BOX")" ]
		(
			BOX=$copy
			assert_maildir_equals_box
		)
		stop_server
	done
}

@test "killed with an mbox: afterwards each message is there once" {
	local n
	messages 12
	for n in 1 7 12; do
		serve --at "RETR $n" --stall-after 100 --on-connection 1
		: >"$LOG"
		rc "timeout 100" "delivery mbox ~/mbox"
		rm -rf "$HOME/mbox" "$HOME/.local"
		start_poplar
		eventually logged "RETR $n"
		kill_at_once "$RUN"
		run_poplar
		expect_exit 0
		assert_mbox_holds_box "$HOME/mbox"
		stop_server
	done
}

@test "killed while a message comes slowly: what was there before stays" {
	messages 20
	serve --rate 4000
	rc
	start_poplar
	eventually logged "RETR 20"
	eventually compgen -G "$HOME/Maildir/tmp/*" >/dev/null
	kill_at_once "$RUN"
	stop_server
	serve
	rc "uidls_file $(state_file)"
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
}

@test "a worker whose parent is gone ends by itself" {
	local child
	messages 3
	serve --at "RETR 2" --stall-after 10 --on-connection 1
	rc "timeout 100"
	start_poplar
	eventually logged "RETR 2"
	command -v pgrep >/dev/null || skip "pgrep is not installed"
	child=$(pgrep -P "$RUN")
	kill -KILL "$RUN"
	eventually ended "$child"
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
}

@test "a crash before the publication was recorded makes nothing twice" {
	local state file
	messages 4
	serve
	rc
	run_poplar
	expect_exit 0
	state=$(state_file)
	sed -i '/^published/,$d' "$state"
	# One was not moved yet, one is gone altogether, one was read.
	mv "$HOME"/Maildir/new/*Q1U* "$HOME/Maildir/tmp"
	for file in "$HOME"/Maildir/tmp/*; do
		mv "$file" "${file%%,*}"
	done
	rm "$HOME"/Maildir/new/*Q2U*
	file=$(echo "$HOME"/Maildir/new/*Q3U*)
	mv "$file" "$HOME/Maildir/cur/${file##*/}:2,S"
	run_poplar -v
	expect_exit 0
	[ "$(retrieved 2)" = 2 ]
	assert_maildir_equals_box
}

some_delivered() {
	[ "$(delivered)" -gt 0 ]
}

@test "what a run delivered before it was killed may be moved elsewhere" {
	local n
	messages 520
	serve --at "RETR 520" --stall-after 10 --on-connection 1
	rc "timeout 100"
	start_poplar
	eventually some_delivered
	eventually grep -q '^published' "$(state_file)"
	kill_at_once "$RUN"
	n=$(delivered)
	mkdir "$HOME/archive"
	mv "$HOME"/Maildir/new/* "$HOME/archive"
	run_poplar
	expect_exit 0
	[ "$(delivered)" -eq $((520 - n)) ]
}

@test "a writable state in a directory that is not: fetched all the same" {
	messages 2
	serve
	mkdir "$HOME/closed"
	: >"$HOME/closed/state"
	chmod 555 "$HOME/closed"
	rc "uidls_file ~/closed/state"
	run_mortal
	expect_exit 0
	sed -i '2i garbage' "$HOME/closed/state"
	run_mortal
	chmod 755 "$HOME/closed"
	expect_exit 0
	[[ $stderr == *"closed/state:2: "* ]]
	assert_maildir_equals_box
}

@test "a torn last line is normal, at whatever octet" {
	local state n
	messages 3
	serve
	rc
	run_poplar
	expect_exit 0
	state=$(state_file)
	for n in 1 2 5 9; do
		truncate -s -"$n" "$state"
		run_poplar
		expect_exit 0
		[ -z "$output$stderr" ]
		assert_state_is_sound
	done
	printf 'got m9' >>"$state"
	run_poplar
	expect_exit 0
	[ -z "$output$stderr" ]
	assert_state_is_sound
	printf '\0\0\0\0' >>"$state"
	run_poplar
	expect_exit 0
	[ "$(retrieved)" = "1 2 3" ]
	assert_state_is_sound
}

@test "garbage in the state is named by its line, and costs nothing" {
	local state
	messages 5
	serve
	rc
	run_poplar
	expect_exit 0
	state=$(state_file)
	sed -i '3i this is garbage' "$state"
	rc "keep off"
	message m0006 "message 6"
	run_poplar
	expect_exit 0
	[[ $stderr == *"$state:3: "* ]]
	[ "$(retrieved 2)" = 6 ]
	[ "$(delivered)" -eq 6 ]
	run_poplar
	expect_exit 0
	sed -i '1i this is garbage, too' "$state"
	run_poplar
	expect_exit 0
	[[ $stderr == *"$state:1: "* ]]
	[ "$(delivered)" -eq 6 ]
	[[ $(head -n 1 "$state") == "poplar-state 1 "* ]]
	run_poplar
	expect_exit 0
	[ -z "$stderr" ]
}

@test "garbage in the state that was a record costs that message only" {
	local state
	messages 5
	serve
	rc
	run_poplar
	expect_exit 0
	state=$(state_file)
	sed -i 's/^got m0003 ./&0/' "$state"
	run_poplar
	expect_exit 0
	[[ $stderr == *"$state:6: "* ]]
	case $(retrieved 2) in
	'' | 3) ;;
	*) false ;;
	esac
}

@test "a state of a newer version is left untouched: 78" {
	local state before
	messages 1
	serve
	rc "uidls_file ~/state"
	run_poplar
	sed -i '1s/.*/poplar-state 2 *00000000/' "$HOME/state"
	before=$(sha256sum "$HOME/state")
	run_poplar
	expect_exit 78
	[[ $stderr == *"$HOME/state"*newer* ]]
	[ "$(sha256sum "$HOME/state")" = "$before" ]
	[ "$(count_logged ' connect$')" -eq 1 ]
}

@test "a file that is no state is left untouched: 78" {
	messages 1
	serve
	rc "uidls_file ~/letter"
	echo "Dear poplar," >"$HOME/letter"
	run_poplar
	expect_exit 78
	[ "$(cat "$HOME/letter")" = "Dear poplar," ]
	not logged connect
}

@test "anything but a regular file or a link to one as the state is 73" {
	local place
	messages 1
	serve
	mkdir "$HOME/directory"
	mkfifo "$HOME/fifo"
	ln -s nowhere "$HOME/dangling"
	for place in "$HOME"/{directory,fifo,dangling} /dev/null; do
		rc "uidls_file $place"
		run_poplar
		expect_exit 73
		[[ $stderr == *"$place"* ]]
	done
	not logged connect
	[ ! -e "$HOME/nowhere" ]
	ln -s state "$HOME/link"
	: >"$HOME/state"
	rc "uidls_file ~/link"
	run_poplar
	expect_exit 0
	run_poplar
	[ -L "$HOME/link" ]
	[ -s "$HOME/state" ]
	[ "$(delivered)" -eq 1 ]
}

@test "a state in a place that cannot be is 73, before any login" {
	messages 1
	serve
	: >"$HOME/file"
	rc "uidls_file ~/file/state"
	run_poplar
	expect_exit 73
	not logged connect
}

@test "a list of mpop's is taken over and left untouched: without times" {
	local before
	messages 4
	cat >"$HOME/list" <<-EOF
		# This file was generated by mpop version 1.4.18.
		#
		# Lines starting with a space begin a new UID list and have
		# the following format: " number-of-uids hostname user".
		#
		 1 127.0.0.1 somebody
		m0001
		 2 127.0.0.1 alice
		m0002
		m0004
		 1 other.example.org alice
		m0003
	EOF
	before=$(sha256sum "$HOME/list"; stat -c %Y%Z "$HOME/list")
	serve
	rc "uidls_file ~/list"
	run_poplar -v
	expect_exit 0
	[ "$(retrieved 1)" = "1 3" ]
	[[ $stderr == *"$HOME/list"* ]]
	[ "$(sha256sum "$HOME/list"; stat -c %Y%Z "$HOME/list")" = "$before" ]
	run_poplar
	expect_exit 0
	[ -z "$(retrieved 2)" ]
	[ -s "$HOME/list.poplar" ]
}

@test "a list of mpop's is taken over and left untouched: with times" {
	local before
	messages 3
	printf ' 2 127.0.0.1 alice\nm0001 1700000000\nm0002 1700000000\n' \
	    >"$HOME/list"
	before=$(sha256sum "$HOME/list")
	serve
	rc "uidls_file ~/list"
	run_poplar
	expect_exit 0
	[ "$(retrieved)" = 3 ]
	[ "$(sha256sum "$HOME/list")" = "$before" ]
}

@test "a list of mpop's is removed one day: what is known stays known" {
	messages 2
	printf ' 1 127.0.0.1 alice\nm0001\n' >"$HOME/list"
	serve
	rc "uidls_file ~/list" "delivery mbox ~/mbox"
	run_poplar
	expect_exit 0
	[ "$(retrieved 1)" = 2 ]
	rm "$HOME/list"
	message m0003 "message 3"
	run_poplar
	expect_exit 0
	[ "$(retrieved 2)" = 3 ]
	[ ! -e "$HOME/list" ]
}

@test "mpop's own list of the same user and host is found at first use" {
	messages 3
	mkdir "$HOME/.mpop_uidls"
	printf '# This file was generated by mpop version 1.4.18.\n 2 127.0.0.1 alice\nm0001\nm0003\n' \
	    >"$HOME/.mpop_uidls/alice_at_127.0.0.1"
	serve
	rc
	run_poplar -v
	expect_exit 0
	[ "$(retrieved 1)" = 2 ]
	[[ $stderr == *mpop_uidls* ]]
	echo " 1 127.0.0.1 alice" >"$HOME/.mpop_uidls/alice_at_127.0.0.1"
	run_poplar -v
	expect_exit 0
	[ -z "$(retrieved 2)" ]
	[[ $stderr != *mpop_uidls* ]]
}

@test "what the real mpop fetched is known" {
	command -v mpop >/dev/null || skip "mpop is not installed"
	messages 3
	serve
	rc "uidls_file ~/list" "delivery mda cat >/dev/null" "keep on"
	run timeout 20 mpop -q -C "$HOME/.poplarrc" test </dev/null
	[ "$status" -eq 0 ]
	message m0004 "message 4"
	rc "uidls_file ~/list"
	run_poplar
	expect_exit 0
	[ "$(retrieved 2)" = 4 ]
}

@test "a damaged list of mpop's stops the account, and is not used in part" {
	messages 3
	printf ' 3 127.0.0.1 alice\nm0001\n' >"$HOME/list"
	serve
	rc "uidls_file ~/list"
	run_poplar
	[ "$status" -ne 0 ]
	[[ $stderr == *"$HOME/list"* ]]
	not logged RETR
}

@test "accounts may share a state file; each has its own records" {
	messages 3
	serve
	rc_account alice "uidls_file ~/shared"
	rc_account bob "uidls_file ~/shared"
	run_poplar -a
	expect_exit 0
	[ "$(find "$HOME/alice/new" -type f | wc -l)" -eq 3 ]
	[ "$(find "$HOME/bob/new" -type f | wc -l)" -eq 3 ]
	: >"$LOG"
	message m0004 "message 4"
	run_poplar -a
	expect_exit 0
	[ "$(retrieved)" = "4 4" ]
	: >"$LOG"
	run_poplar -a
	expect_exit 0
	[ -z "$(retrieved)" ]
	[ -z "$stderr" ]
}

@test "a state file is shared by whatever path the accounts name it" {
	local path
	messages 3
	serve
	ln -s . "$HOME/here"
	: >"$HOME/real"
	ln -s real "$HOME/link"
	for path in "$HOME/./shared" "$HOME/here/shared"; do
		rm -rf "$HOME/.poplarrc" "$HOME/alice" "$HOME/bob" "$HOME/shared"
		rc_account alice "uidls_file ~/shared"
		rc_account bob "uidls_file $path"
		run_poplar -a
		expect_exit 0
		[ "$(find "$HOME/bob/new" -type f | wc -l)" -eq 3 ]
	done
	rm "$HOME/.poplarrc"
	rc_account alice "uidls_file ~/real"
	rc_account bob "uidls_file ~/link"
	run_poplar -a
	expect_exit 0
}

@test "a shared state: damage to a record is left to the account that lost it" {
	messages 3
	serve
	rc_account alice "uidls_file ~/shared"
	rc_account bob "uidls_file ~/shared"
	run_poplar -a
	expect_exit 0
	perl -0pi -e 's/(owner bob.*?got m0002 )./${1}0/s' "$HOME/shared"
	run_poplar alice
	expect_exit 0
	[ -z "$stderr" ]
	run_poplar bob
	expect_exit 0
	[[ $stderr == *bob*"garbage in the state"* ]]
	[ "$(find "$HOME/bob/new" -type f | wc -l)" -eq 3 ]
	run_poplar -a
	expect_exit 0
	[ -z "$stderr" ]
}

@test "accounts that are the same to the state share what is known" {
	messages 3
	serve
	rc_account one "user alice" "uidls_file ~/shared" "delivery maildir ~/m"
	rc_account two "user alice" "uidls_file ~/shared" "delivery maildir ~/m"
	run_poplar -a
	expect_exit 0
	[ -z "$stderr" ]
	[ "$(retrieved)" = "1 2 3" ]
}

@test "a shared state with different deliveries gets a warning" {
	messages 3
	serve
	rc_account one "user alice" "uidls_file ~/shared"
	rc_account two "user alice" "uidls_file ~/shared"
	run_poplar -a
	expect_exit 0
	[[ $stderr == *one*two* || $stderr == *two*one* ]]
	[ "$(retrieved)" = "1 2 3" ]
}

@test "require_state: a missing state is refused, an empty one is a start" {
	messages 2
	serve
	rc "require_state on" "uidls_file ~/state"
	run_poplar
	expect_exit 78
	[[ $stderr == *"$HOME/state"* ]]
	[ ! -e "$HOME/state" ]
	[ ! -e "$HOME/Maildir" ]
	not logged connect
	: >"$HOME/state"
	run_poplar
	expect_exit 0
	run_poplar
	expect_exit 0
	[ "$(delivered)" -eq 2 ]
}

@test "a lost state is rebuilt from the Maildir, with a word" {
	local file flags
	messages 4
	serve
	rc
	run_poplar
	expect_exit 0
	for flags in 1:2,RS '2;2,S' '3!2,S' 4,U=7:2,; do
		file=$(echo "$HOME/Maildir/new/"*"Q${flags:0:1}U"*)
		mv "$file" "$HOME/Maildir/cur/${file##*/}${flags:1}"
	done
	rm "$(state_file)"
	message m0005 "message 5"
	run_poplar
	expect_exit 0
	[ "$(retrieved 2)" = 5 ]
	[[ $stderr == *" 4 "*"$HOME/Maildir"* ]]
	run_poplar
	expect_exit 0
	[ -z "$(retrieved 3)" ]
	[ -z "$output$stderr" ]
}

@test "a state that was cut or damaged lacks nothing that the Maildir has" {
	local state size n
	messages 5
	serve
	rc "uidls_file ~/state"
	run_poplar
	size=$(stat -c %s "$HOME/state")
	for ((n = 0; n < size; n += 29)); do
		rm -rf "$HOME/Maildir" "$HOME/state"
		run_poplar
		expect_exit 0
		truncate -s "$n" "$HOME/state"
		: >"$LOG"
		run_poplar
		expect_exit 0
		[ -z "$(retrieved)" ]
		assert_maildir_equals_box
		run_poplar
		[ -z "$output$stderr" ]
	done
	sed -i 's/^got m0002 ./&0/; s/^published/bublished/' "$HOME/state"
	rc "uidls_file ~/state" "keep off"
	cp -r "$BOX" "$BATS_TEST_TMPDIR/copy"
	run_poplar
	expect_exit 0
	[ -z "$(retrieved)" ]
	[ -z "$(ls "$BOX")" ]
	BOX=$BATS_TEST_TMPDIR/copy
	assert_maildir_equals_box
}

@test "a cut state: what was forgotten, or is one more, is another message" {
	messages 3
	printf 'm000%d same\n' 1 2 3 >"$BOX/.uids"
	cp "$BOX/m0001" "$BOX/m0002"
	cp "$BOX/m0001" "$BOX/m0003"
	serve
	rc "uidls_file ~/state"
	run_poplar
	truncate -s -1 "$HOME/state"
	cp "$BOX/m0001" "$BOX/m0004"
	echo "m0004 same" >>"$BOX/.uids"
	run_poplar
	expect_exit 0
	[ "$(retrieved 2)" = 4 ]
	# The same id and size as one that the state has lost, another header.
	sed -i '/^got/d' "$HOME/state"
	truncate -s -1 "$HOME/state"
	message m0001 "massage 1"
	run_poplar
	expect_exit 0
	[ "$(retrieved 3)" = 1 ]
}

@test "a cut state without TOP: RETR says what the Maildir has" {
	messages 3
	serve --no-top
	rc "uidls_file ~/state"
	run_poplar
	sed -i '/^got m000[23]/d' "$HOME/state"
	truncate -s -1 "$HOME/state"
	run_poplar
	expect_exit 0
	[ "$(retrieved 2)" = "2 3" ]
	assert_maildir_equals_box
	run_poplar
	[ -z "$(retrieved 3)" ]
	[ -z "$output$stderr" ]
	# The same id and size as one that the state has lost, another header.
	sed -i '/ m0001 /d' "$HOME/state"
	truncate -s -1 "$HOME/state"
	message m0001 "massage 1"
	run_poplar
	expect_exit 0
	[ "$(delivered)" -eq 4 ]
	# RETR has confirmed the others: they may go.
	rc "uidls_file ~/state" "keep off"
	run_poplar
	expect_exit 0
	[ -z "$(ls "$BOX")" ]
	[ "$(delivered)" -eq 4 ]
}

# cut_state: the state lacks m0001 and its end; the server has another message
# of its size under that unique-id.
cut_state() {
	sed -i '/ m0001 /d' "$HOME/state"
	truncate -s -1 "$HOME/state"
	message m0001 "massage 1"
}

@test "a cut state: what no header has confirmed yet is not known" {
	messages 3
	serve --no-top
	rc "uidls_file ~/state"
	run_poplar
	# The line breaks before RETR can tell.
	cut_state
	message m0000 "new"
	stop_server
	serve --port "$PORT" --no-top --at 'RETR 2' --cut-after 0 \
	    --on-connection 1
	run_poplar
	expect_exit 75
	[ "$(delivered)" -eq 4 ]
	run_poplar
	expect_exit 0
	[ "$(delivered)" -eq 5 ]
	# There is not enough room in the session for it, nor for others.
	sed -i '/ m0003 /d' "$HOME/state"
	cut_state
	message m0001 "mistake 1"
	message m0000 "newer"
	rc "uidls_file ~/state" "max_messages 1"
	run_poplar
	[ "$(delivered)" -eq 6 ]
	run_poplar
	[ "$(delivered)" -eq 7 ]
	grep -rq mistake "$HOME/Maildir/new"
	run_poplar
	expect_exit 0
	run_poplar
	expect_exit 0
	[ -z "$output$stderr" ]
	[ "$(delivered)" -eq 7 ]
	rc "uidls_file ~/state" "keep off"
	run_poplar
	expect_exit 0
	[ -z "$(ls "$BOX")" ]
	[ "$(delivered)" -eq 7 ]
}

@test "a cut state, and TOP is refused: RETR tells" {
	messages 3
	serve --resp 'TOP=-ERR no'
	rc "uidls_file ~/state"
	run_poplar
	sed -i '/ m0002 /d' "$HOME/state"
	cut_state
	run_poplar
	expect_exit 0
	[ "$(delivered)" -eq 4 ]
	grep -rq massage "$HOME/Maildir/new"
	run_poplar
	expect_exit 0
	[ -z "$output$stderr" ]
	[ "$(delivered)" -eq 4 ]
}

@test "a lost state: a message of another size is not taken for known" {
	messages 2
	serve
	rc
	run_poplar
	expect_exit 0
	rm "$(state_file)"
	message m0001 "another message"
	run_poplar
	expect_exit 0
	[ "$(retrieved 2)" = 1 ]
}

@test "a lost state under keep off: what has the same header goes at once" {
	messages 3
	serve
	rc
	run_poplar
	expect_exit 0
	rm "$(state_file)"
	rc "keep off"
	run_poplar
	expect_exit 0
	[ -z "$(retrieved 2)" ]
	[ -z "$(ls "$BOX")" ]
	[ "$(delivered)" -eq 3 ]
}

@test "a lost state under keep off: another header is another message" {
	local file
	messages 3
	serve
	rc
	run_poplar
	expect_exit 0
	rm "$(state_file)"
	file=$(echo "$HOME"/Maildir/new/*Q2U*)
	perl -i -pe 's/message 2/massage 2/' "$file"
	rc "keep off"
	run_poplar
	expect_exit 0
	[ "$(retrieved 2)" = 2 ]
	[ "$(delivered)" -eq 4 ]
	[ "$(grep -rl 'Subject: message 2' "$HOME/Maildir" | wc -l)" -eq 1 ]
}

@test "the state was never there: a Maildir of others is no matter" {
	messages 2
	mkdir -p "$HOME/Maildir/new" "$HOME/Maildir/cur" "$HOME/Maildir/tmp"
	echo "old" >"$HOME/Maildir/cur/1234.5678.host:2,S"
	serve
	rc
	run_poplar
	expect_exit 0
	[ -z "$stderr" ]
	[ "$(delivered)" -eq 3 ]
}

@test "a state that cannot be written fails before anything is delivered" {
	messages 2
	serve
	mkdir "$HOME/dir"
	chmod 500 "$HOME/dir"
	rc "uidls_file ~/dir/state"
	run_mortal
	expect_exit 73
	[ "$(delivered)" -eq 0 ]
}

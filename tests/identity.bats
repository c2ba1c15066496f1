#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Who is who: unique-ids that lie, servers that renumber, forged replies.

load lib

# again [popd option ...]: another server in its place, with the same state.
again() {
	stop_server
	serve --port "$PORT" "$@"
}

# A message whose header says $2 and whose size is that of all others.
same_size() {
	message "$1" "$2" "$(printf '%.*s' $((200 - ${#2})) "$(printf 'x%.0s' {1..200})")"
}

runs() {
	run_poplar "$@"
	expect_exit 0
}

@test "a unique-id used again after a deletion is a new message" {
	same_size m1 one
	serve
	rc "keep off"
	runs
	[ -z "$(ls "$BOX")" ]
	same_size m1 two
	runs
	[ "$(delivered)" -eq 2 ]
	grep -qr 'Subject: two' "$HOME/Maildir/new"
	[ -z "$(ls "$BOX")" ]
}

@test "a unique-id used again with the same header and another size is new" {
	message m1 alarm "the first"
	serve
	rc "keep off"
	runs
	message m1 alarm "the second one"
	runs
	[ "$(delivered)" -eq 2 ]
	grep -qr 'the second one' "$HOME/Maildir/new"
	[ -z "$(ls "$BOX")" ]
}

@test "the same after a lost state" {
	message m1 alarm "the first"
	serve
	rc
	runs
	rm -r "$HOME/.local"
	run_poplar
	expect_exit 0
	rc "keep off"
	runs
	[ -z "$(ls "$BOX")" ]
	message m1 alarm "the second one"
	runs
	[ "$(delivered)" -eq 2 ]
}

@test "another message of the same size under a known unique-id is not deleted unread" {
	same_size m1 one
	serve
	rc
	runs
	same_size m1 two
	rc "keep off"
	runs
	[ "$(delivered)" -eq 2 ]
	grep -qr 'Subject: two' "$HOME/Maildir/new"
}

@test "what is to be deleted is looked at, and goes when it is the same" {
	messages 3
	serve
	rc
	runs
	rc "keep off"
	runs
	[ -z "$(ls "$BOX")" ]
	[ "$(delivered)" -eq 3 ]
	[ "$(grep -c 'C: TOP' "$LOG")" -eq 3 ]
	[ "$(grep -c 'C: RETR' "$LOG")" -eq 3 ]
}

@test "where TOP is refused for the moment nothing is deleted by its size" {
	same_size m1 one
	serve
	rc
	runs
	same_size m1 two
	again --resp 'TOP=-ERR [SYS/TEMP] later'
	rc "keep off"
	run_poplar
	expect_exit 75
	says "message 1: left for a later run"
	[ "$(ls "$BOX")" = m1 ]
	again
	runs
	[ "$(delivered)" -eq 2 ]
	[ -z "$(ls "$BOX")" ]
}

@test "nor is what was absent known by its size then" {
	same_size m1 one
	same_size m2 same
	serve
	rc
	runs
	mv "$BOX/m2" "$BATS_TEST_TMPDIR"
	rm "$BOX/m1"
	runs
	mv "$BATS_TEST_TMPDIR/m2" "$BOX"
	same_size m1 two
	again --resp 'TOP=-ERR [SYS/TEMP] later'
	runs
	[ "$(delivered)" -eq 3 ]
	grep -qr 'Subject: two' "$HOME/Maildir/new"
}

@test "a number with two unique-ids is not deleted on the word of one" {
	same_size m1 one
	serve
	rc
	runs
	same_size m1 two
	again --resp 'UIDL=+OK\r\n1 m1\r\n1 n1\r\n.'
	rc "keep off"
	run_poplar
	expect_exit 76
	[ "$(delivered)" -eq 2 ]
}

@test "a message that forges its end and a reply: nothing wrong is published" {
	local i
	printf 'Subject: bad\r\n\r\n.\r\n+OK fake\r\nSubject: forged\r\n\r\nx\r\n' >"$BOX/m1"
	for i in 2 3 4 5; do
		same_size "m$i" "good $i"
	done
	serve --no-stuff
	rc "keep off"
	run_poplar
	expect_exit 76
	[ "$(delivered)" -eq 0 ]
	# Now it goes last, and the others are safe before it comes.
	run_poplar
	expect_exit 76
	[ "$(delivered)" -eq 4 ]
	[ "$(ls "$BOX" | wc -l)" -eq 5 ]
	run grep -rl forged "$HOME/Maildir/new"
	assert_output ''
	run_poplar
	expect_exit 76
	rm "$BOX/m1"
	runs
	[ "$(delivered)" -eq 4 ]
}

@test "the same without pipelining" {
	local i
	printf 'Subject: bad\r\n\r\n.\r\n+OK fake\r\nSubject: forged\r\n\r\nx\r\n' >"$BOX/m1"
	for i in 2 3 4 5; do
		same_size "m$i" "good $i"
	done
	serve --no-stuff --no-pipelining
	rc "keep off"
	run_poplar
	expect_exit 76
	[ "$(delivered)" -eq 0 ]
	[ "$(ls "$BOX" | wc -l)" -eq 5 ]
}

# as_reply FILE: the answer to a RETR for it, as --resp wants it.
as_reply() {
	printf '+OK %s octets\\r\\n' "$(wc -c <"$BOX/$1")"
	sed 's/\r$/\\r\\n/' "$BOX/$1" | tr -d '\n'
	printf '.'
}

# delivers_once LINE ...: with a server of five messages and the answers in
# $lie, which it gives in the first run only, each comes once in two.
delivers_once() {
	rm -rf "$HOME/Maildir" "$HOME/.local"
	mkdir -p "$HOME/Maildir/new" "$HOME/Maildir/cur" "$HOME/Maildir/tmp"
	serve "${lie[@]}"
	rc "$@"
	run_poplar
	[[ $status == 7[56] ]]
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
	stop_server
}

@test "a reply too many, or none: nothing wrong is kept, nothing comes twice" {
	local i n extra how way
	local mda='delivery mda cat >"$(mktemp "$HOME/Maildir/new/XXXXXX")"'
	for i in 1 2 3 4 5; do
		same_size "m$i" "good $i"
	done
	n=$(($(cat "$BOX"/* | wc -c)))
	for how in "pipelining on" "pipelining off"; do
		for way in "delivery maildir ~/Maildir" "$mda"; do
			for extra in '-ERR no' '+OK' '+OK 12 octets'; do
				lie=(--resp "RETR 3#1=$extra\\r\\n$(as_reply m3)")
				delivers_once "$how" "$way"
				lie=(--resp "RETR 3#1=$(as_reply m3)\\r\\n$extra")
				delivers_once "$how" "$way"
			done
		done
	done
	# The third one's reply is missing.
	lie=(--resp "RETR 3#1=$(as_reply m4)" --resp "RETR 4#1=$(as_reply m5)"
	    --resp "RETR 5#1=+OK 5 $n")
	delivers_once "pipelining on"
	lie=(--resp "RETR 3#1=+OK 5 $n")
	delivers_once "pipelining on" "$mda"
	# So is its text.
	lie=(--resp "RETR 3#1=+OK")
	delivers_once "pipelining on"
	delivers_once "pipelining on" "$mda"
}

@test "without pipelining a reply that comes late is noticed, too" {
	local i
	for i in 1 2 3 4 5; do
		same_size "m$i" "good $i"
	done
	lie=(--resp "RETR 3#1=-ERR no\\r\\n$(as_reply m3)" --drip 1)
	delivers_once "pipelining off"
}

@test "a message whose answer never fits does not stop the others" {
	local i how lie all=$BATS_TEST_TMPDIR/all
	mkdir "$all"
	for i in 1 2 3 4 5; do
		same_size "m$i" "good $i"
	done
	cp "$BOX"/* "$all"
	for lie in "-ERR no\\r\\n$(as_reply m3)" "+OK\\r\\n$(as_reply m3)" \
	    "$(as_reply m3)\\r\\n+OK" '+OK' 'garbage'; do
		for how in "pipelining on" "pipelining off"; do
			rm -rf "$HOME/Maildir" "$HOME/.local"
			cp "$all"/* "$BOX"
			serve --resp "RETR 3=$lie"
			rc "$how" "keep off" "timeout 1"
			for i in 1 2 3 4 5; do
				run_poplar
			done
			stop_server
			# In the end it is the first, and no lie any more.
			assert_equal "$(ls "$BOX" | grep -v m3)" ""
			for i in 1 2 4 5; do
				assert_equal "$(grep -rlc "good $i" \
				    "$HOME/Maildir/new" | wc -l)" 1
			done
		done
	done
}

@test "a forged answer to STAT that only counts right is none" {
	local i how forged
	for i in 1 2 4 5; do
		same_size "m$i" "good $i"
	done
	for forged in '+OK 5 octets\r\nSubject: forged\r\n\r\nx' '+OK 5 800'; do
		printf 'Subject: bad\r\n\r\nx\r\n.\r\n'"$forged"'\r\n' >"$BOX/m3"
		for how in "pipelining on" "pipelining off"; do
			rm -rf "$HOME/Maildir" "$HOME/.local"
			serve --no-stuff
			rc "$how" "keep off"
			run_poplar
			[[ $status == 7[56] ]]
			run grep -rlE 'forged|bad' "$HOME/Maildir/new"
			assert_output ''
			assert_equal "$(ls "$BOX" | wc -l)" 5
			stop_server
		done
	done
}

@test "a server that counts its octets anew for the listing is in step" {
	messages 3
	serve --resp 'STAT#1=+OK 3 96'
	rc "pipelining on" "keep off"
	run_poplar
	expect_exit 0
	[ -z "$stderr" ]
	[ "$(delivered)" -eq 3 ]
	[ -z "$(ls "$BOX")" ]
}

# forged_answer: one to RETR, whose message has the size of those of same_size.
forged_answer() {
	printf '+OK\r\n'
	(
		BOX=$BATS_TEST_TMPDIR
		same_size mX forged
		cat "$BOX/mX"
	)
	printf '.\r\n'
}

@test "a message that brings all answers until the end forges nothing" {
	local how i row
	for i in 1 2 4 5; do
		same_size "m$i" "good $i"
	done
	row=$(printf '+OK 5 9999\\r\\n%.0s' {1..17})
	# Those in flight, a proof by itself, and the rest once more.
	{
		printf 'Subject: bad\r\n\r\nx\r\n.\r\n'
		forged_answer
		forged_answer
		printf "$row${row:0:126}"
		forged_answer
		forged_answer
		printf "$row"
	} >"$BOX/m3"
	for how in "pipelining on" "pipelining off"; do
		rm -rf "$HOME/Maildir" "$HOME/.local"
		serve --no-stuff
		rc "$how" "keep off"
		for _ in 1 2; do
			run_poplar
			expect_exit 76
			run grep -rlE 'forged|bad' "$HOME/Maildir/new"
			assert_output ''
			assert_equal "$(ls "$BOX" | wc -l)" 5
		done
		assert_equal "$(delivered)" 4
		stop_server
	done
}

# Five messages of 8 octets, but for the third of 100.
listing_of_five() {
	printf '%s\n' 'S: +OK' 'C: CAPA' 'S: -ERR' 'C: USER alice'
	[ "$1" = on ] || echo 'S: +OK'
	printf '%s\n' 'C: PASS sesame'
	[ "$1" = on ] || echo 'S: +OK'
	printf '%s\n' 'C: STAT'
	[ "$1" = on ] || echo 'S: +OK 5 132'
	printf '%s\n' 'C: UIDL'
	[ "$1" = on ] || printf '%s\n' 'S: +OK' 'REPEAT 5 S: %d u%d' 'S: .'
	printf '%s\n' 'C: LIST'
	[ "$1" != on ] || printf '%s\n' 'S: +OK' 'S: +OK' 'S: +OK 5 132' \
	    'S: +OK' 'REPEAT 5 S: %d u%d' 'S: .'
	printf '%s\n' 'S: +OK' 'S: 1 8' 'S: 2 8' 'S: 3 100' 'S: 4 8' 'S: 5 8' \
	    'S: .'
}

# Some message, as an answer to RETR.
answer_of() {
	printf 'S: %s\n' '+OK' "$1" '.'
}

# guessed N: a guess at the answers to N questions, as $guesses has them by
# turns, and the last one.
guessed() {
	local i
	for ((i = 0; i < $1; i++)); do
		[ -z "${2:-}" ] || echo "$2"
		printf 'S: %s\n' "${guesses[i % ${#guesses[@]}]}"
	done
	[ -z "${2:-}" ] || echo "$2"
	printf 'S: %s\n' '+OK 5 132'
}

forged_in_window() {
	listing_of_five on
	printf '%s\n' 'C: RETR 1' 'REPEAT 9 QUESTION' 'C: RETR 2' 'C: RETR 3' \
	    'C: RETR 4' 'C: RETR 5' 'REPEAT 17 QUESTION'
	answer_of whole1
	echo 'REPEAT 9 ANSWER +OK 5 132'
	answer_of whole2
	# From here on it is all in the third message.
	answer_of bad
	answer_of forged
	answer_of forged
	guessed 16
	printf '%s\n' FLUSH 'REPEAT 9 QUESTION'
	guessed 8
	printf '%s\n' 'C: RETR 4' 'C: RETR 5' 'REPEAT 17 QUESTION'
	answer_of forged
	answer_of forged
	guessed 16
	printf '%s\n' 'C: QUIT' 'S: +OK'
}

forged_one_by_one() {
	listing_of_five off
	printf '%s\n' 'C: RETR 1'
	answer_of whole1
	echo 'C: RETR 2'
	answer_of whole2
	echo 'C: RETR 3'
	answer_of bad
	guessed 3 QUESTION
	echo 'C: RETR 4'
	answer_of forged
	echo 'C: RETR 5'
	answer_of forged
	printf '%s\n' 'C: QUIT' 'S: +OK'
}

# refused HOW: is what plays not believed?
refused() {
	rm -rf "$HOME/Maildir" "$HOME/.local"
	rc "pipelining $1"
	run_poplar
	stop_server
	[ "$status" -eq 76 ] && [ "$(delivered)" -eq 0 ]
}

@test "nor does one whose pieces come just in time" {
	local guess guesses
	for guess in '+OK 5 132' '+OK' '+OK 5 132:+OK' '+OK:+OK 5 132'; do
		IFS=: read -r -a guesses <<<"$guess"
		play < <(forged_in_window)
		refused on
		# Between a question and its answer nothing of a message comes;
		# if it did, one guess in eight would do, but not each time.
		for _ in {1..10}; do
			play < <(forged_one_by_one)
			refused off && continue 2
		done
		return 1
	done
}

@test "without pipelining, sizes that lie cost few round trips" {
	messages 20
	serve --size-off 10
	rc "pipelining off"
	runs
	assert_maildir_equals_box
	[ "$(grep -cE 'C: (STAT|NOOP)' "$LOG")" -eq 9 ]
}

@test "sizes that lie by habit are no way around the proof" {
	local i tail
	for i in 1 2 4 5; do
		same_size "m$i" "good $i"
	done
	for tail in 'garbage' '-ERR [SYS/TEMP] later'; do
		{
			printf 'Subject: bad\r\n\r\nx\r\n.\r\n'
			forged_answer
			printf '%s\r\n' "$tail"
		} >"$BOX/m3"
		rm -rf "$HOME/Maildir" "$HOME/.local"
		serve --no-stuff --size-off 100
		rc "pipelining on" "keep off"
		for i in 1 2 3; do
			run_poplar
			expect_exit 76
			run grep -rl forged "$HOME/Maildir/new"
			assert_output ''
			assert_equal "$(ls "$BOX" | wc -l)" 5
		done
		assert_equal "$(grep -rl good "$HOME/Maildir/new" | wc -l)" 4
		stop_server
	done
}

@test "where sizes lie, what no proof stands behind is not kept" {
	local i
	for i in 1 2 3 4 5; do
		same_size "m$i" "good $i"
	done
	# The third one's reply is missing, and then the line breaks.
	serve --size-off 100 --resp "RETR 3#1=$(as_reply m4)" \
	    --resp "RETR 4#1=$(as_reply m5)" \
	    --at "RETR 5" --cut-after 100 --on-connection 1
	rc "pipelining on"
	run_poplar
	expect_exit 75
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
}

@test "an answer too many behind a proof, or a word that is none: 76" {
	local how
	play < <(
		printf '%s\n' 'S: +OK' 'C: CAPA' 'S: -ERR' 'C: USER alice' \
		    'C: PASS sesame' 'C: STAT' 'C: UIDL' 'C: LIST' 'S: +OK' \
		    'S: +OK' 'S: +OK 1 8' 'S: +OK' 'S: 1 u1' 'S: .' 'S: +OK' \
		    'S: 1 8' 'S: .' 'C: RETR 1' 'REPEAT 9 QUESTION'
		answer_of forged
		printf '%s\n' 'REPEAT 9 ANSWER +OK 1 8' 'S: +OK' DRAIN
	)
	rc "pipelining on" "delivery mda cat >>~/taken"
	run_poplar
	expect_exit 76
	assert_played
	[ ! -e "$HOME/taken" ]
	messages 3
	for how in "pipelining on" "pipelining off"; do
		serve --size-off 10 --resp 'STAT#1=+OK 3 800' --resp 'STAT=what'
		rc "$how" "keep off"
		run_poplar
		expect_exit 76
		says "retrieval: the answer to STAT is no reply: what"
		assert_equal "$(delivered)" 0
		assert_equal "$(ls "$BOX" | wc -l)" 3
		stop_server
	done
}

@test "without a pipeline, what no proof came for is fetched again" {
	local i
	play < <(
		echo 'S: +OK'
		login_steps
		printf '%s\n' 'C: STAT' 'S: +OK 4 36' 'C: UIDL' 'S: +OK' \
		    'REPEAT 4 S: %d u%d' 'S: .' 'C: LIST' 'S: +OK' \
		    'REPEAT 4 S: %d 9' 'S: .' 'C: RETR 1'
		answer_of whole1
		printf '%s\n' 'REPEAT 4' QUESTION 'ANSWER +OK 4 36' END
		for i in 2 3 4; do
			echo "C: RETR $i"
			answer_of "whole$i"
		done
		# The commands have taken two when one reply too many comes.
		printf '%s\n' QUESTION 'S: +OK' 'REPEAT 3' QUESTION \
		    'ANSWER +OK 4 36' END DRAIN
	)
	rc "pipelining off" "delivery mda cat >>~/taken"
	run_poplar
	expect_exit 76
	says "2 messages of this session cannot be trusted"
	stop_server
	for i in 1 2 3 4; do
		printf 'whole%s\r\n' "$i" >"$BOX/u$i"
	done
	serve --port "$PORT"
	run_poplar
	expect_exit 0
	assert_equal "$(sort "$HOME/taken" | uniq -c | xargs)" \
	    "1 whole1 2 whole2 2 whole3 1 whole4"
}

@test "the octets of STAT may change with each message, its count may not" {
	local how octets resp=()
	messages 5
	for octets in {1000..1060}; do
		resp+=(--resp "STAT#1=+OK 5 $octets")
	done
	for how in "pipelining on" "pipelining off"; do
		rm -rf "$HOME/Maildir" "$HOME/.local"
		serve --size-off 10 "${resp[@]}"
		rc "$how"
		run_poplar
		expect_exit 0
		[ -z "$stderr" ]
		assert_maildir_equals_box
		stop_server
		rm -rf "$HOME/Maildir" "$HOME/.local"
		serve --size-off 10 --resp "STAT#1=+OK 5 1000" \
		    --resp 'STAT=+OK 4 800'
		run_poplar --port="$PORT"
		expect_exit 76
		says "answers do not fit"
		stop_server
	done
}

@test "a server that does not know NOOP, or says much to it, is in step" {
	local answer
	messages 3
	for answer in '-ERR unknown command' '+OK nothing done, 3 10'; do
		rm -rf "$HOME/Maildir" "$HOME/.local"
		serve --resp "NOOP=$answer"
		rc "pipelining on"
		run_poplar
		expect_exit 0
		[ -z "$stderr" ]
		assert_maildir_equals_box
		logged 'C: NOOP'
		stop_server
	done
}

@test "what a command took before a forged reply does not come twice" {
	local i
	for i in 1 2 4 5; do
		same_size "m$i" "good $i"
	done
	printf 'Subject: bad\r\n\r\nx\r\n.\r\n-ERR\r\nx\r\n' >"$BOX/m3"
	mkdir -p "$HOME/Maildir/new" "$HOME/Maildir/tmp"
	serve --no-stuff
	rc "pipelining off" \
	    'delivery mda cat >"$(mktemp "$HOME/Maildir/new/XXXXXX")"'
	run_poplar
	expect_exit 76
	assert_equal "$(delivered)" 2
	for i in 1 2 3; do
		run_poplar
	done
	assert_equal "$(grep -rl good "$HOME/Maildir/new" | wc -l)" 4
}

@test "a listing with each line twice lists each message once" {
	messages 3
	serve --resp 'UIDL=+OK\r\n1 m0001\r\n1 m0001\r\n2 m0002\r\n3 m0003\r\n3 m0003\r\n.'
	rc
	for _ in 1 2 3; do
		runs
		assert_maildir_equals_box
	done
	rc "keep off"
	runs
	[ -z "$(ls "$BOX")" ]
}

@test "a number with two unique-ids, one of them known and absent: no harm" {
	messages 2
	serve
	rc
	runs
	rm "$BOX/m0002"
	runs
	again --resp 'UIDL=+OK\r\n1 m0001\r\n1 m0002\r\n.'
	run_poplar
	expect_exit 76
	[ "$(delivered)" -eq 2 ]
}

@test "a listing with each line twice takes no two messages for one" {
	printf 'Subject: alarm\r\n\r\nfirst\r\n' >"$BOX/m1"
	printf 'Subject: alarm\r\n\r\nother\r\n' >"$BOX/m2"
	serve --no-uidl
	rc
	runs
	again --no-uidl --resp 'LIST=+OK\r\n1 25\r\n1 25\r\n2 25\r\n2 25\r\n.'
	runs
	[ "$(delivered)" -eq 2 ]
	[ "$(count_logged TOP)" -eq 4 ]
}

@test "a message without a unique-id does not come again when it has one" {
	messages 3
	serve --resp 'UIDL#1=+OK\r\n1 m0001\r\n2 x\r\n2 y\r\n3 m0003\r\n.'
	rc
	run_poplar
	[ "$(delivered)" -eq 3 ]
	message m0004 "message 4"
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
	# Its name is the unique-id from now on.
	: >"$LOG"
	message m0005 "message 5"
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
	not logged TOP
}

@test "a message that begins as a reply does is a message" {
	printf '+OK\r\nSubject: x\r\n\r\n+OK\r\n' >"$BOX/m1"
	printf -- '-ERR what: x\r\n\r\nbody\r\n' >"$BOX/m2"
	message m3 three
	serve
	rc
	runs
	assert_maildir_equals_box
}

@test "sizes that are all too large are a habit of the server, no forgery" {
	messages 5
	serve --size-off 100
	rc "keep off"
	mkdir "$BATS_TEST_TMPDIR/all"
	cp "$BOX"/* "$BATS_TEST_TMPDIR/all"
	runs
	[ -z "$(ls "$BOX")" ]
	BOX=$BATS_TEST_TMPDIR/all
	assert_maildir_equals_box
}

@test "inexact sizes and one reply without sense: nothing comes twice" {
	messages 6
	serve --size-off 3 --resp 'RETR 5=garbage'
	rc
	run_poplar
	expect_exit 76
	run_poplar
	expect_exit 76
	[ "$(find "$HOME/Maildir/new" -type f -exec sha256sum {} + | cut -d' ' -f1 |
	    sort | uniq -d | wc -l)" -eq 0 ]
}

@test "the whole message before one that breaks the line is kept" {
	messages 4
	serve --at 'RETR 3' --cut-after 0
	rc
	run_poplar
	expect_exit 75
	[ "$(delivered)" -eq 2 ]
}

@test "a known message with another size and the same header stays known" {
	message m1 one
	serve
	rc
	runs
	# As Mailutils does: a Status line, and another size each time.
	sed -i 's/^Subject/Status: RO\r\nSubject/' "$BOX/m1"
	runs
	sed -i 's/^Status: RO/Status: ROX/' "$BOX/m1"
	runs
	runs
	[ "$(delivered)" -eq 1 ]
	[ "$(grep -c 'C: RETR' "$LOG")" -eq 1 ]
}

@test "a known unique-id with another message is fetched once, not each run" {
	message m1 one
	serve
	rc
	runs
	message m1 "two, and longer"
	runs
	runs
	runs
	[ "$(delivered)" -eq 2 ]
}

@test "the same without TOP" {
	message m1 one
	serve --no-top
	rc
	runs
	message m1 "two, and longer"
	run_poplar
	run_poplar
	run_poplar
	[ "$(delivered)" -eq 2 ]
}

@test "what was fetched without LIST is known by the octets that came" {
	message m1 one "the first"
	serve --resp 'LIST=-ERR what?'
	rc
	runs
	message m1 two "the second one"
	again
	runs
	[ "$(delivered)" -eq 2 ]
	runs
	[ "$(delivered)" -eq 2 ]
}

@test "a TOP that shows another header than RETR makes nothing come twice" {
	messages 2
	cp -r "$BOX" "$BATS_TEST_TMPDIR/all"
	serve --resp 'TOP=+OK\r\nX-Top: yes\r\n\r\n.' --no-delete
	rc
	runs
	rc "keep off"
	runs
	assert_maildir_equals_box
	runs
	assert_maildir_equals_box
	again --resp 'TOP=+OK\r\nX-Top: yes\r\n\r\n.'
	runs
	[ -z "$(ls "$BOX")" ]
	BOX=$BATS_TEST_TMPDIR/all
	assert_maildir_equals_box
}

@test "nor does it with a lost or a torn state" {
	local how
	mkdir "$BATS_TEST_TMPDIR/all"
	for how in lost torn; do
		rm -rf "$HOME/Maildir" "$HOME/.local"
		messages 2
		cp "$BOX"/* "$BATS_TEST_TMPDIR/all"
		serve --resp 'TOP=+OK\r\nX-Top: yes\r\n\r\n.'
		rc
		runs
		[ "$how" = torn ] || rm -r "$HOME/.local"
		[ "$how" = lost ] || sed -i '4,$d' "$(state_file)"
		rc "keep off"
		runs
		[ "$(delivered)" -eq 2 ]
		runs
		[ "$(delivered)" -eq 2 ]
		[ -z "$(ls "$BOX")" ]
		stop_server
	done
}

# m1 is delivered, and is a longer one now; $old is what it was, as a reply.
one_that_grows() {
	rm -rf "$HOME/Maildir" "$HOME/.local"
	message m1 old
	serve
	rc "pipelining $how"
	runs
	old=$(as_reply m1)
	message m1 "new, and longer"
}

@test "what no proof stands behind makes no message known" {
	local how old
	for how in on off; do
		one_that_grows
		again --resp "RETR 1#1=$old\r\n+OK"
		run_poplar
		expect_exit 76
		runs
		[ "$(delivered)" -eq 2 ]
		assert_equal "$(grep -rl longer "$HOME/Maildir/new" | wc -l)" 1
		stop_server
	done
}

@test "nor is what follows a known message in another size, and the line breaks" {
	local old forged
	same_size m2 old
	serve --no-top
	rc "pipelining on"
	runs
	old=$(as_reply m2)
	same_size m3 "forged"
	forged=$(as_reply m3)
	same_size m1 "good 1"
	message m2 "new, and of another size"
	same_size m3 "good 3"
	same_size m4 "good 4"
	again --no-top --resp "RETR 2#1=$old\r\n$forged" \
	    --at "RETR 3" --cut-after 0 --on-connection 1
	run_poplar
	expect_exit 75
	run_poplar
	expect_exit 0
	[ "$(delivered)" -eq 5 ]
	[ "$(grep -rl 'Subject: good' "$HOME/Maildir/new" | wc -l)" -eq 3 ]
}

@test "nor do answers to TOP that are one too many" {
	local how old
	for how in on off; do
		one_that_grows
		again --resp "TOP 1 0#1=$old\r\n+OK"
		run_poplar
		expect_exit 76
		says "top: the server's answers do not fit"
		runs
		[ "$(delivered)" -eq 2 ]
		stop_server
	done
}

@test "without TOP what has another size and the same header stays known" {
	message m1 one
	serve --no-top
	rc
	runs
	sed -i 's/^Subject/Status: RO\r\nSubject/' "$BOX/m1"
	run_poplar
	expect_exit 0
	[ "$(delivered)" -eq 1 ]
	: >"$LOG"
	runs
	not logged RETR
	rc "keep off"
	runs
	[ -z "$(ls "$BOX")" ]
	[ "$(delivered)" -eq 1 ]
}

@test "without TOP another size is fetched, and not deleted in that session" {
	messages 3
	message m1 one
	serve --no-top
	rc
	runs
	message m1 "two, and longer"
	rc "keep off"
	runs
	says "known by this unique-id cannot be told"
	[ "$(delivered)" -eq 5 ]
	[ "$(ls "$BOX")" = m1 ]
	runs
	[ "$(delivered)" -eq 5 ]
	[ -z "$(ls "$BOX")" ]
}

@test "without TOP new unique-ids are fetched, and not deleted in that session" {
	messages 3
	serve --no-top
	rc
	runs
	printf 'm000%s new%s\n' 1 1 2 2 3 3 >"$BOX/.uids"
	rc "keep off"
	runs
	says "whether 3 others are the same cannot be told"
	[ "$(ls "$BOX" | wc -l)" -eq 3 ]
	runs
	[ -z "$(ls "$BOX")" ]
}

@test "of two messages with one unique-id, the first leaves: none comes again" {
	message m1 one
	message m2 "two, and longer"
	printf 'm1 same\nm2 same\n' >"$BOX/.uids"
	serve
	rc
	runs
	[ "$(delivered)" -eq 2 ]
	rm "$BOX/m1"
	runs
	runs
	[ "$(delivered)" -eq 2 ]
}

@test "a known unique-id at a new message before the old one: both come once" {
	messages 3
	message m5 old
	serve
	rc
	runs
	message m1 "new, and longer"
	printf 'm1 m5\n' >"$BOX/.uids"
	runs
	runs
	assert_maildir_equals_box
}

# The hash that stands in the names lies between those of the others.
@test "a lost state: another message of that size in the Maildir is not it" {
	local i
	message m3 "the first"
	for i in 1 2 4 5 6; do
		same_size "m$i" "number $i"
	done
	serve
	rc
	runs
	rm -r "$HOME/.local"
	same_size m3 another
	runs
	[ "$(delivered)" -eq 7 ]
	grep -qr 'Subject: another' "$HOME/Maildir/new"
}

@test "a lost state under keep off, without TOP: nothing comes again" {
	messages 3
	serve --no-top
	rc
	runs
	rm -rf "$HOME/.local"
	rc "keep off"
	run_poplar
	run_poplar
	[ "$(delivered)" -eq 3 ]
}

@test "a lost state without UIDL is rebuilt from the Maildir, too" {
	messages 3
	serve --no-uidl
	rc
	runs
	rm -rf "$HOME/.local"
	runs
	[ "$(delivered)" -eq 3 ]
}

@test "without UIDL a new message with the header of a deleted one is fetched" {
	printf 'Subject: alarm\r\n\r\nfirst\r\n' >"$BOX/m1"
	serve --no-uidl
	rc "keep off"
	runs
	printf 'Subject: alarm\r\n\r\nthe second\r\n' >"$BOX/m2"
	runs
	[ "$(delivered)" -eq 2 ]
	[ -z "$(ls "$BOX")" ]
}

@test "without UIDL and LIST what was deleted and is back is known" {
	messages 2
	serve --no-uidl --no-delete
	rc "keep off"
	runs
	again --no-uidl --no-delete --resp 'LIST=-ERR what?'
	runs
	[ "$(delivered)" -eq 2 ]
	[ "$(grep -c 'C: RETR' "$LOG")" -eq 2 ]
}

@test "without UIDL and TOP one of two with a header was deleted: none comes again" {
	printf 'Subject: alarm\r\n\r\nfirst\r\n' >"$BOX/m1"
	printf 'Subject: alarm\r\n\r\nthe second\r\n' >"$BOX/m2"
	serve --no-uidl --no-top --resp 'DELE 2#1=-ERR no'
	rc "keep off"
	run_poplar
	expect_exit 75
	[ "$(ls "$BOX")" = m2 ]
	run_poplar
	[ "$(delivered)" -eq 2 ]
	[ -z "$(ls "$BOX")" ]
}

@test "a few messages with new or each other's unique-ids do not come again" {
	local how
	for how in 'm0002 n2\nm0005 n5' 'm0002 m0005\nm0005 m0002'; do
		rm -rf "$HOME/Maildir" "$HOME/.local" "$BOX"/* "$BOX/.uids"
		messages 6
		message m0005 "another size"
		serve
		rc
		runs
		printf "$how\n" >"$BOX/.uids"
		message m0007 "new"
		run_poplar
		expect_exit 0
		says "2 were recognised"
		assert_maildir_equals_box
		runs
		assert_maildir_equals_box
		[ "$(count_logged RETR)" -eq 7 ]
		stop_server
		: >"$LOG"
	done
}

@test "all absent for a session, and back with new unique-ids: recognised" {
	messages 3
	printf 'Subject: cron\r\n\r\none\r\n' >"$BOX/m9"
	serve
	rc
	runs
	mkdir "$BATS_TEST_TMPDIR/away"
	mv "$BOX"/* "$BATS_TEST_TMPDIR/away"
	runs
	mv "$BATS_TEST_TMPDIR/away"/m0* "$BOX"
	# Which may well be the next one that has no Message-ID.
	printf 'Subject: cron\r\n\r\ntwo\r\n' >"$BOX/m9"
	again --uid-prefix moved-
	runs
	says "3 were recognised"
	[ "$(delivered)" -eq 5 ]
	grep -qr '^two' "$HOME/Maildir/new"
	: >"$LOG"
	runs
	[ -z "$stderr" ]
	[ "$(delivered)" -eq 5 ]
	not logged TOP
}

@test "some absent for a session, then all have new unique-ids: recognised" {
	messages 4
	serve
	rc
	runs
	mv "$BOX/m0001" "$BATS_TEST_TMPDIR"
	runs
	mv "$BATS_TEST_TMPDIR/m0001" "$BOX"
	again --uid-prefix moved-
	runs
	says "4 were recognised"
	[ "$(delivered)" -eq 4 ]
}

@test "unique-ids at last: one that left before is not the next one like it" {
	messages 2
	printf 'Subject: cron\r\n\r\none\r\n' >"$BOX/m9"
	serve --no-uidl
	rc
	runs
	rm "$BOX/m9"
	runs
	again
	runs
	says "2 were recognised"
	printf 'Subject: cron\r\n\r\ntwo\r\n' >"$BOX/m9"
	runs
	[ "$(delivered)" -eq 4 ]
	grep -qr '^two' "$HOME/Maildir/new"
}

@test "a torn state, and a unique-id that was used twice: nothing comes again" {
	local how
	for how in "" --no-top; do
		rm -rf "$HOME/Maildir" "$HOME/.local"
		same_size m1 one
		# shellcheck disable=SC2086
		serve $how
		rc
		runs
		rm "$BOX/m1"
		runs
		message m1 "two, and longer"
		runs
		[ "$(delivered)" -eq 2 ]
		# Of the second one nothing is on record any more.
		sed -i '5q' "$(state_file)"
		sed -i '/^session/,$d' "$(state_file)"
		run_poplar
		expect_exit 0
		[ "$(delivered)" -eq 2 ]
		runs
		[ "$(delivered)" -eq 2 ]
		stop_server
	done
}

@test "a lost state, and a unique-id that was used twice: the newer one is it" {
	same_size m1 one
	serve
	rc
	runs
	rm "$BOX/m1"
	runs
	same_size m1 two
	runs
	[ "$(delivered)" -eq 2 ]
	# In whatever order the Maildir shows them.
	for subject in one two; do
		mv "$HOME"/Maildir/cur/* "$HOME/Maildir/new" 2>/dev/null || true
		mv "$(grep -lr "Subject: $subject" "$HOME/Maildir/new")" \
		    "$HOME/Maildir/cur"
		rm -r "$HOME/.local"
		rc
		runs
		rc "keep off"
		again --no-delete
		runs
		[ "$(delivered)" -eq 2 ]
		[ "$(count_logged DELE)" -eq 1 ]
		: >"$LOG"
	done
}

@test "what cannot be settled stays so, whatever else is unknown" {
	messages 4
	serve --no-top --resp 'UIDL#1=+OK\r\n1 m0001\r\n2 x\r\n2 y\r\n3 m0003\r\n4 m0004\r\n.'
	rc
	run_poplar
	expect_exit 76
	rm "$BOX/m0002"
	message m0001 "two, and longer"
	rc "keep off"
	runs
	says "cannot be told"
	[ "$(delivered)" -eq 5 ]
	[ "$(ls "$BOX")" = m0001 ]
	runs
	[ "$(delivered)" -eq 5 ]
	[ -z "$(ls "$BOX")" ]
}

@test "a message with the size of one that left is fetched" {
	same_size m1 one
	same_size m2 two
	same_size m3 three
	serve
	rc
	runs
	rm "$BOX/m2"
	same_size m4 four
	runs
	[ "$(delivered)" -eq 4 ]
	[ "$(count_logged TOP)" -eq 1 ]
}

@test "the header of one that left says nothing without a Message-ID" {
	messages 3
	printf 'Subject: cron\r\n\r\none\r\n' >"$BOX/m9"
	serve
	rc
	runs
	rm "$BOX/m9"
	printf 'Subject: cron\r\n\r\ntwo\r\n' >"$BOX/new"
	runs
	[ "$(delivered)" -eq 5 ]
}

@test "UIDL refused for the moment does not make everything new" {
	messages 3
	serve
	rc
	runs
	again --resp 'UIDL=-ERR [SYS/TEMP] later'
	run_poplar
	expect_exit 75
	again --no-top --uidl-err
	run_poplar
	expect_exit 75
	[ "$(delivered)" -eq 3 ]
}

@test "nor where the last message of the state had none" {
	messages 3
	serve --resp 'UIDL#1=+OK\r\n1 m0001\r\n2 m0002\r\n3 x\r\n3 y\r\n.'
	rc
	run_poplar
	expect_exit 76
	again --no-top --uidl-err
	run_poplar
	expect_exit 75
	[ "$(delivered)" -eq 3 ]
}

@test "a listing that is empty where STAT counts messages is 76" {
	messages 3
	serve
	rc
	runs
	again --resp 'UIDL=+OK\r\n.' --resp 'LIST=+OK\r\n.'
	run_poplar
	expect_exit 76
	again
	runs
	[ "$(delivered)" -eq 3 ]
}

@test "a message cut while it is found too large: 75, and no nonsense said" {
	message m1 one "$(head -c 100000 /dev/zero | tr '\0' x)"
	serve --resp 'LIST=+OK\r\n1 10\r\n.' --at 'RETR 1' --cut-after 50000
	rc "skipsize 1k"
	run_poplar
	expect_exit 75
	[[ $stderr == *"message 1: "?* ]]
	[ "$(delivered)" -eq 0 ]
}

@test "all unique-ids are new: recognised by their headers, and said so" {
	messages 4
	serve
	rc
	runs
	again --uid-prefix moved-
	runs
	[[ $stderr == *"new unique-ids; 4 were recognised"* ]]
	runs
	[ -z "$stderr" ]
	[ "$(delivered)" -eq 4 ]
}

@test "two of two unique-ids are new: recognised as well" {
	messages 2
	serve
	rc
	runs
	again --uid-prefix moved-
	runs
	[ "$(delivered)" -eq 2 ]
}

@test "all unique-ids are new, and sizes as well: recognised by their headers" {
	messages 3
	serve
	rc
	runs
	sed -i 's/^Subject/Status: RO\r\nSubject/' "$BOX"/*
	again --uid-prefix moved-
	runs
	says "3 were recognised"
	[ "$(delivered)" -eq 3 ]
}

@test "a header that does not end is no reason to give up the account" {
	messages 2
	printf 'Subject: long\r\nX-Long: %s\r\n\r\nbody\r\n' \
	    "$(head -c 1100000 /dev/zero | tr '\0' y)" >"$BOX/m3"
	serve --no-uidl
	rc
	run_poplar
	[ "$(delivered)" -eq 3 ]
}

@test "an empty listing for one day makes nothing new" {
	messages 3
	serve
	rc
	runs
	mkdir "$BATS_TEST_TMPDIR/away"
	mv "$BOX"/* "$BATS_TEST_TMPDIR/away"
	runs
	mv "$BATS_TEST_TMPDIR/away"/* "$BOX"
	runs
	[ "$(delivered)" -eq 3 ]
	[ "$(grep -c 'C: RETR' "$LOG")" -eq 3 ]
}

# large N [popd option ...]: a server with N messages, all of one size, in the
# place of the one before.
large() {
	local n=$1
	shift
	: >"$LOG"
	[ -z "${SERVER:-}" ] || set -- --port "$PORT" "$@"
	[ -z "${SERVER:-}" ] || stop_server
	start_popd mailbox --log "$LOG" --synthetic "$n:256" "$@"
}

# mpop's list of the first N of them.
large_list() {
	local i
	printf ' %d 127.0.0.1 alice\n' "$1"
	for ((i = 0; i < $1; i++)); do
		printf '%08x%08x\n' "$i" $((i * 0x9e3779b1 & 0xffffffff))
	done
}

# All of them are known, all but one by an import, and there was a good session
# with them.
large_and_known() {
	large_list 9999 >"$HOME/list"
	large 10000
	rc "uidls_file ~/list"
	runs
	: >"$LOG"
}

@test "a large mailbox that is as it was is listed without LIST" {
	large_and_known
	runs
	logged "C: UIDL"
	not logged "C: LIST"
	large 10001
	runs
	logged "C: LIST"
	[ "$(delivered)" -eq 2 ]
	: >"$LOG"
	runs
	not logged "C: LIST"
}

@test "a large mailbox that was just imported is listed without LIST" {
	large_list 10000 >"$HOME/list"
	large 10000
	rc "uidls_file ~/list"
	runs
	not logged "C: LIST"
	large 10001
	runs
	logged "C: LIST"
	[ "$(delivered)" -eq 1 ]
	large 10000
	runs
	logged "C: LIST"
}

@test "the same number of messages, but not of octets: LIST is asked for" {
	large_and_known
	large 10000 --resp 'STAT=+OK 10000 2560001'
	runs
	logged "C: LIST"
}

@test "STAT is as it was, but a message is new: LIST is asked for" {
	large_and_known
	large 10001 --resp 'STAT=+OK 10000 2560000'
	runs
	logged "C: LIST"
	[ "$(delivered)" -eq 2 ]
}

@test "STAT is as it was, but a message is missing: LIST is asked for" {
	large_and_known
	large 9999 --resp 'STAT=+OK 10000 2560000'
	runs
	logged "C: LIST"
}

@test "STAT is as it was, but messages are due: LIST is asked for" {
	large_and_known
	rc "uidls_file ~/list" "keep off"
	runs
	logged "C: LIST"
	[ "$(count_logged "C: DELE")" -eq 10000 ]
}

# More of them: make check-long.
@test "random histories of a mailbox: nothing is lost, damaged or comes twice" {
	command -v python3 >/dev/null || skip "no python3"
	POPLAR=$POPLAR python3 -B "$BATS_TEST_DIRNAME/identity/run.py" \
	    --seeds 1-150
}

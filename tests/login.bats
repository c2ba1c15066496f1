#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Who logs in how, what a refusal means, and where passwords never are.

load lib

setup() {
	poplar_setup
	message m1 one
}

assert_logged() {
	grep -qxF "1 C: $1" "$LOG" || {
		cat "$LOG" >&2
		return 1
	}
}

# The server saw a connection, but no login.
assert_no_login() {
	grep -q connect "$LOG"
	run grep -E 'C: (USER|PASS|APOP|AUTH)|sesame' "$LOG"
	assert_failure
}

# No trace of the password, in clear or as base64, in what was printed.
assert_masked() {
	local secret=${1:-sesame}
	for secret in "$secret" "$(printf %s "$secret" | base64 -w 0)"; do
		[[ $output$stderr != *"$secret"* ]] || {
			printf 'leaked: %s\n%s\n' "$secret" "$stderr" >&2
			return 1
		}
	done
}

# refusal CODE COMMAND=ANSWER: that answer to the login means that exit code.
refusal() {
	serve --resp "$2"
	rc
	run_poplar
	expect_exit "$1"
	says "login: server says no to ${2%%=*}: ${2#*-ERR }"
	assert_masked
	stop_server
}

# The greeting's token is none that APOP can use: nothing may be sent.
hostile() {
	serve --apop --greeting "$1"
	rc "auth on"
	run_poplar
	expect_exit 69
	rc "auth apop"
	run_poplar
	expect_exit 69
	stop_server
	assert_no_login
}

# without_terminal COMMAND ...
without_terminal() {
	command -v setsid >/dev/null || skip "setsid is not installed"
	run --separate-stderr setsid -w timeout -k 5 60 "$@" </dev/null
}

# on_terminal < expect-script, with $env(POPLAR) to spawn
on_terminal() {
	command -v expect >/dev/null || skip "expect is not installed"
	cat >"$BATS_TEST_TMPDIR/dialogue"
	POPLAR=$POPLAR run timeout -k 5 60 expect -f \
	    "$BATS_TEST_TMPDIR/dialogue"
}

# poplar_after DURATION [option ...]: a run so much later.
poplar_after() {
	run_poplar_at "+$1" "${@:2}"
}

rfc1939="<1896.697170952@dbc.mtview.ca.us>"

@test "USER and PASS" {
	serve --user alice:sesame
	rc
	run_poplar
	expect_exit 0
	assert_logged "USER alice"
	assert_logged "PASS sesame"
	assert_maildir_equals_box
}

@test "a password may hold blanks, quotes, backslashes and 8-bit octets" {
	serve
	rc 'password  a "b" \c ü#d '
	run_poplar -d
	expect_exit 0
	assert_logged 'PASS a "b" \\c \xc3\xbc#d'
	assert_masked 'a "b" \c ü#d'
}

@test "APOP, with the example of RFC 1939" {
	serve --apop --user mrose:tanstaaf --greeting "POP3 $rfc1939"
	rc "auth apop" "user mrose" "password tanstaaf"
	run_poplar
	expect_exit 0
	assert_logged "APOP mrose c4c9334bac560ecc979e58001b3e22fb"
	assert_maildir_equals_box
}

@test "APOP's token may stand anywhere in the greeting" {
	for greeting in "$rfc1939" "POP3 ($rfc1939) server ready" \
	    "<3 mail> and <b@d@t> first $rfc1939." \
	    "[XMAIL 1.27 POP3 Server] $rfc1939 service ready; Sun, 22 Nov" \
	    "tight:$rfc1939:tight"; do
		serve --greeting "$greeting" --resp 'APOP=-ERR seen'
		rc "auth apop" "user mrose" "password tanstaaf"
		run_poplar
		expect_exit 77
		assert_logged "APOP mrose c4c9334bac560ecc979e58001b3e22fb"
		stop_server
		: >"$LOG"
	done
}

@test "hostile tokens are refused before anything is sent (CVE-2007-1558)" {
	hostile '<a\x80b@example.org>'
	hostile '<1.2@ex\xffample.org>'
	hostile '<1\x002@example.org>'
	hostile '<1\x012@example.org>'
	hostile '<1 2@example.org>'
	hostile '<1@2@example.org>'
}

@test "what is no token is none" {
	hostile 'no brackets'
	hostile '<>'
	hostile '<@>'
	hostile '<example.org>'
	hostile '<1.2@>'
	hostile '<@example.org>'
	hostile '<1.2@example.org'
	hostile '<1..2@example.org>'
}

@test "auth on: without TLS APOP, if the server can" {
	serve --apop --user alice:sesame
	rc "auth on"
	run_poplar
	expect_exit 0
	grep -q 'C: APOP alice ' "$LOG"
	run grep -E 'C: (USER|PASS)' "$LOG"
	assert_failure
}

@test "auth on: without TLS and APOP refused before any secret, with a hint" {
	serve
	rc "auth on"
	run_poplar
	expect_exit 69
	says "login: no method is safe" "hint: "
	assert_no_login
}

@test "auth on is the default" {
	serve
	rc
	sed -i '/^auth/d' "$HOME/.poplarrc"
	run_poplar
	expect_exit 69
	assert_no_login
}

@test "auth on: USER under TLS, never APOP" {
	tls_as server
	serve --tls implicit "${TLS[@]}" --apop --user alice:sesame
	rc "tls on" "tls_trust_file $(certs)/ca.pem" "auth on"
	run_poplar
	expect_exit 0
	assert_logged "PASS sesame"
	run grep 'C: APOP' "$LOG"
	assert_failure
}

@test "auth apop under TLS is APOP" {
	tls_as server
	serve --tls implicit "${TLS[@]}" --apop --user alice:sesame
	rc "tls on" "tls_trust_file $(certs)/ca.pem" "auth apop"
	run_poplar
	expect_exit 0
	grep -q 'C: APOP alice ' "$LOG"
	run grep 'C: PASS' "$LOG"
	assert_failure
}

@test "auth apop where the server cannot: 69, nothing else is tried" {
	serve
	rc "auth apop"
	run_poplar
	expect_exit 69
	says "login: the greeting has no timestamp"
	assert_no_login
}

@test "UTF8 is asked for where it is offered, before the login" {
	serve --capa UTF8 --resp 'UTF8=+OK'
	rc
	run_poplar
	expect_exit 0
	[ "$(grep -nm 1 'C: UTF8' "$LOG" | cut -d : -f 1)" -lt \
	    "$(grep -nm 1 'C: PASS' "$LOG" | cut -d : -f 1)" ]
}

@test "UTF8 refused is no reason not to log in" {
	serve --capa UTF8 --resp 'UTF8=-ERR not for you'
	rc
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
}

@test "UTF8 before AUTH, and its refusal is none of the login" {
	for answer in '+OK' '-ERR not for you'; do
		play <<-X
			S: +OK
			C: CAPA
			S: +OK
			S: SASL PLAIN
			S: TOP
			S: UIDL
			S: UTF8
			S: .
			C: UTF8
			S: $answer
			C: AUTH PLAIN $(printf '\0alice\0sesame' | base64)
			S: +OK
			C: CAPA
			S: -ERR
			$(empty_steps)
		X
		rc "auth plain"
		run_poplar
		expect_exit 0
		assert_played
	done
}

@test "a wrong password: 77, and where to look" {
	serve --user alice:other
	rc
	run_poplar
	expect_exit 77
	says "login: server says no to PASS: [AUTH] wrong user or password" \
	    "hint: check user and password of account test" \
	    "$HOME/.poplarrc:1"
	[ "$(grep -c 'C: PASS' "$LOG")" -eq 1 ]
	assert_equal "$(delivered)" 0
}

@test "a wrong APOP digest: 77" {
	serve --apop --user alice:other
	rc "auth apop"
	run_poplar
	expect_exit 77
	says "login: server says no to APOP"
}

@test "a refusal without code, or with an unknown one: 77" {
	refusal 77 'PASS=-ERR no'
	refusal 77 'PASS=-ERR [AUTH] no'
	refusal 77 'PASS=-ERR [FROBNICATE] no'
	refusal 77 'PASS=-ERR [SYS/TEMP no'
	refusal 77 'USER=-ERR no such user'
}

@test "a refusal without a word is a refusal" {
	serve --resp 'PASS=-ERR'
	rc
	run_poplar
	expect_exit 77
	says "server says no to PASS without a reason"
}

@test "+ERR is a refusal too" {
	serve --resp 'PASS=+ERR no'
	rc
	run_poplar
	expect_exit 77
}

@test "[IN-USE] [LOGIN-DELAY] [SYS/TEMP]: 75" {
	refusal 75 'PASS=-ERR [IN-USE] somebody is here'
	refusal 75 'PASS=-ERR [LOGIN-DELAY] too soon'
	refusal 75 'PASS=-ERR [SYS/TEMP] later'
	refusal 75 'PASS=-ERR [sys/temp/disk] later'
	refusal 75 'USER=-ERR [IN-USE] somebody is here'
}

@test "[SYS/PERM]: 69" {
	refusal 69 'PASS=-ERR [SYS/PERM] closed for good'
	refusal 69 'PASS=-ERR [SYS/PERM/ACCOUNT] closed for good'
}

@test "[AUTH] is a refused login wherever it is said" {
	refusal 77 'PASS=-ERR [AUTH] too many connections'
	serve --resp 'STAT=-ERR [AUTH] who are you?'
	rc
	run_poplar
	expect_exit 77
	says "listing: server says no to STAT: [AUTH] who are you?"
}

# unwelcome CODE REPLY: that greeting means that exit code.
unwelcome() {
	play <<-X
		S: $2
		DRAIN
	X
	rc
	run_poplar
	expect_exit "$1"
	says "greeting: server says no to the connection: ${2#*-ERR }"
	stop_server
}

@test "response codes in a greeting" {
	unwelcome 75 '-ERR come back later'
	unwelcome 75 '-ERR [IN-USE] by others'
	unwelcome 75 '-ERR [SYS/TEMP] later'
	unwelcome 75 '-ERR [LOGIN-DELAY] later'
	unwelcome 69 '-ERR [SYS/PERM] closed for good'
	unwelcome 77 '-ERR [AUTH] not you'
}

@test "response codes to STLS" {
	tls_as server
	for answer in '75 [SYS/TEMP] later' '69 [SYS/PERM] never' '69 no'; do
		serve --tls stls "${TLS[@]}" --resp "STLS=-ERR ${answer#* }"
		rc "tls on" "tls_starttls on" "tls_trust_file $(certs)/ca.pem"
		run_poplar
		expect_exit "${answer%% *}"
		says "stls: server says no to STLS: ${answer#* }"
		assert_no_login
		stop_server
	done
}

@test "response codes to APOP, STAT and UIDL" {
	serve --apop --resp 'APOP=-ERR [SYS/PERM] never'
	rc "auth apop"
	run_poplar
	expect_exit 69
	stop_server
	for command in STAT UIDL; do
		serve --resp "$command=-ERR [SYS/TEMP] later"
		rc
		run_poplar
		expect_exit 75
		says "listing: server says no to $command: [SYS/TEMP] later"
		stop_server
	done
}

@test "response codes to RETR: the message comes in a later run" {
	messages 2
	for code in SYS/TEMP IN-USE SYS/PERM; do
		rm -rf "$HOME/Maildir" "$HOME/.local"
		serve --resp "RETR#1=-ERR [$code] disk on fire"
		rc
		run_poplar
		expect_exit 75
		says "message 1: server says no to RETR 1: [$code] disk on fire"
		assert_equal "$(delivered)" 2
		run_poplar
		expect_exit 0
		assert_maildir_equals_box
		stop_server
	done
}

@test "response codes to DELE: the message goes in a later run" {
	serve --resp 'DELE#1=-ERR [SYS/TEMP] disk on fire'
	rc "keep off"
	run_poplar
	expect_exit 75
	says "message 1: server says no to DELE 1: [SYS/TEMP] disk on fire"
	run_poplar
	expect_exit 0
	assert_equal "$(delivered)" 1
	[ ! -e "$BOX/m1" ]
}

@test "a well-known reply: what helps, and the class where no code says it" {
	refusal 75 'PASS=-ERR maildrop already locked'
	[[ $stderr == *"hint: another program or phone"* ]]
	refusal 75 'PASS=-ERR too many connections'
	refusal 77 'PASS=-ERR [AUTH] Web login required: http://x.example/78754'
	[[ $stderr == *"hint: log in by a web browser"* ]]
	refusal 77 'PASS=-ERR please use an app password'
	[[ $stderr == *"hint: "*"app password"* ]]
	# What a code says counts before what the text seems to.
	refusal 77 'PASS=-ERR [AUTH] rate limit'
	refusal 69 'PASS=-ERR [SYS/PERM] Your account is not enabled for POP'
	[[ $stderr == *"hint: POP3 has to be switched on"* ]]
	serve --resp 'STAT=-ERR [SYS/PERM] Your account is not enabled for POP'
	rc
	run_poplar
	expect_exit 69
	[[ $stderr == *"hint: POP3 has to be switched on"* ]]
}

@test "who sends no password is not told which one the provider wants" {
	PORT=110
	for provider in outlook.office365.com pop.gmail.com pop.fastmail.com; do
		printf '%s\n' 'S: +OK' 'C: CAPA' 'S: -ERR' 'C: AUTH XOAUTH2' \
		    'S: + ' ANY 'S: -ERR [AUTH] no' DRAIN >"$TMPDIR/xoauth2"
		rc "host $provider" "auth xoauth2" \
		    "tunnel $POPD script --stdio $TMPDIR/xoauth2"
		run_poplar
		expect_exit 77
		says "hint: is the token of account test ("
		printf '%s\n' 'S: +OK' 'C: CAPA' 'S: -ERR' 'C: AUTH EXTERNAL' \
		    'S: + ' ANY 'S: -ERR [AUTH] no' DRAIN >"$TMPDIR/external"
		rc "host $provider" "auth external" \
		    "tunnel $POPD script --stdio $TMPDIR/external"
		run_poplar
		expect_exit 77
		says "hint: AUTH EXTERNAL takes a certificate: tls_cert_file"
	done
}

@test "Chinese in GBK is escaped, and understood" {
	serve --resp 'PASS=-ERR \xc7\xeb\xca\xb9\xd3\xc3\xca\xda\xc8\xa8\xc2\xeb'
	rc
	run_poplar
	expect_exit 77
	says 'login: server says no to PASS: \xc7\xeb' \
	    "authorization code"
}

@test "Download exceed: the rest stays, and how to get it" {
	messages 3
	serve --resp 'RETR 2=-ERR Download exceed' \
	    --resp 'RETR 4=-ERR Download exceed'
	rc
	run_poplar
	expect_exit 75
	says "message 2: server says no to RETR 2: Download exceed" \
	    "hint: " max_messages "message 4: "
	[ "$(grep -c 'hint: ' <<<"$stderr")" -eq 1 ]
	assert_equal "$(delivered)" 2
}

exchange_says="Logon failure: unknown user name or bad password."

# exchange_after_login REPLY: the server let this user in once, and now says
# so.
exchange_after_login() {
	serve
	rc "uidls_file ~/state"
	run_poplar
	expect_exit 0
	stop_server
	serve --resp "PASS=-ERR $1"
	rc "uidls_file ~/state"
}

@test "a busy Exchange: not taken for a wrong password while it was right" {
	exchange_after_login "$exchange_says"
	run_poplar
	expect_exit 75
	says "login: server says no to PASS: $exchange_says" \
	    "hint: such a server says so when it is busy"
	exchange_after_login "[AUTH] $exchange_says"
	run_poplar
	expect_exit 77
}

@test "Exchange's refusal is one, for whom it never let in or not lately" {
	refusal 77 "PASS=-ERR $exchange_says"
	[[ $stderr == *"hint: Exchange says so"* ]]
	exchange_after_login "$exchange_says"
	poplar_after 23h
	expect_exit 75
	poplar_after 25h
	expect_exit 77
}

# delayed [popd option ...]: the server has refused a login as too early.
delayed() {
	serve --resp 'PASS#1=-ERR [LOGIN-DELAY] not so fast' "$@"
	rc "passwordeval touch ~/asked; echo sesame"
	sed -i '/^password /d' "$HOME/.poplarrc"
	run_poplar
	expect_exit 75
	says "login: server says no to PASS: [LOGIN-DELAY] not so fast" \
	    "hint: until 20"
	: >"$LOG"
	rm "$HOME/asked"
}

# A run in vain, of which nobody hears anything, not even the server.
assert_waits() {
	expect_exit 75
	[ -z "$output$stderr" ]
	[ ! -s "$LOG" ]
	[ ! -e "$HOME/asked" ]
}

@test "[LOGIN-DELAY]: the next run waits for as long as the server says" {
	delayed --capa 'LOGIN-DELAY 900'
	run_poplar
	assert_waits
	poplar_after 890s
	assert_waits
	poplar_after 890s --dry-run
	assert_waits
	poplar_after 890s -v
	expect_exit 75
	says "login: the server has refused one as too early; the next is due"
	[ ! -s "$LOG" ]
	poplar_after 901s
	expect_exit 0
	assert_maildir_equals_box
}

@test "[LOGIN-DELAY]: 5 minutes if the server says no number" {
	delayed
	poplar_after 290s
	assert_waits
	poplar_after 301s
	expect_exit 0
	assert_maildir_equals_box
}

@test "[LOGIN-DELAY]: a day at most" {
	delayed --capa 'LOGIN-DELAY 99999999'
	poplar_after 23h
	assert_waits
	poplar_after 86401s
	expect_exit 0
}

@test "[LOGIN-DELAY]: other words for it, and in the greeting" {
	play <<-'X'
		S: -ERR too many login attempts, wait
		DRAIN
	X
	rc
	run_poplar
	expect_exit 75
	says "greeting: server says no to the connection: too many login"
	stop_server
	run_poplar
	expect_exit 75
	[ -z "$output$stderr" ]
}

@test "[LOGIN-DELAY]: other accounts do not wait" {
	delayed
	rc "account second : test" "user bob"
	run_poplar
	expect_exit 75
	[ -z "$output$stderr" ]
	grep -q 'C: USER bob' "$LOG"
	run grep 'C: USER alice' "$LOG"
	assert_failure
}

@test "[LOGIN-DELAY]: who sits at a terminal may try, and success ends it" {
	delayed --capa 'LOGIN-DELAY 900'
	on_terminal <<-'X'
		set timeout 20
		spawn $env(POPLAR)
		expect eof
		exit [lindex [wait] 3]
	X
	expect_exit 0
	assert_maildir_equals_box
	run_poplar
	expect_exit 0
}

@test "[LOGIN-DELAY]: a lost state is still rebuilt afterwards" {
	serve
	rc "uidls_file ~/state"
	run_poplar
	expect_exit 0
	stop_server
	rm "$HOME/state"
	serve --resp 'PASS#1=-ERR [LOGIN-DELAY] not so fast'
	rc "uidls_file ~/state"
	run_poplar
	expect_exit 75
	poplar_after 301s
	expect_exit 0
	assert_maildir_equals_box
}

@test "LOGIN-DELAY announced, and nobody refused: nothing changes" {
	serve --capa 'LOGIN-DELAY 900'
	rc
	run_poplar
	expect_exit 0
	run_poplar
	expect_exit 0
	[ -z "$stderr" ]
	[ "$(grep -c 'C: PASS' "$LOG")" -eq 2 ]
}

# expires KEEP EXPIRE [WHEN]: what that server's way is said to be; nothing
# without WHEN.
expires() {
	local said=
	[ $# -eq 2 ] || said="poplar: test: keep $1: the server says that it \
deletes messages by itself $3"
	rm -rf "$HOME/Maildir"
	serve --capa "EXPIRE $2"
	rc "keep $1"
	run_poplar
	expect_exit 0
	assert_equal "$stderr" "$said"
	stop_server
}

@test "EXPIRE shorter than keep: a warning" {
	expires 30d 29 "29 days after they have come"
	expires 1d 0 "as soon as they are fetched"
	expires 30d 30
	expires 30d NEVER
	expires 30d frob
	expires on 1
	expires off 1
}

@test "EXPIRE under keep on is a note" {
	serve --capa "EXPIRE 30"
	rc
	run_poplar -v
	expect_exit 0
	[[ $stderr == *"keep on: the server says that it deletes messages"* ]]
}

# quits N: so many of the sessions since the last time have come to QUIT.
quits() {
	assert_equal "$(grep -c 'C: QUIT' "$LOG")" "$1"
	: >"$LOG"
}

@test "EXPIRE 0: no QUIT where something that was given out was not kept" {
	rm "$BOX/m1"
	messages 3
	serve --capa "EXPIRE 0"
	rc 'delivery mda test $POPLAR_UID != m0002 && cat >>~/got'
	run_poplar -v
	expect_exit 75
	[[ $stderr == *"no QUIT: with EXPIRE 0 the server would delete"* ]]
	quits 0
	rc 'delivery mda test $POPLAR_UID = m0002 && cat >>~/got'
	run_poplar -v
	expect_exit 0
	[[ $stderr != *"no QUIT"* ]]
	quits 1
	[ "$(grep -c '^Subject' "$HOME/got")" -eq 3 ]
	stop_server
	# Elsewhere it has to be said, or no deletion would ever act.
	message m0004 four
	serve --capa "EXPIRE 1"
	rc 'delivery mda exit 75'
	run_poplar
	expect_exit 75
	quits 1
}

@test "EXPIRE 0: no QUIT at the end of a run that was stopped" {
	messages 3
	serve --capa "EXPIRE 0"
	rc 'delivery mda cat >>~/got; kill -TERM $PPID'
	run_poplar
	expect_exit 75
	quits 0
}

@test "EXPIRE 0: no QUIT over a message that is left for its size" {
	rm "$BOX/m1"
	messages 2
	message m0002 two "$(head -c 3000 /dev/zero | tr '\0' x)"
	serve --capa "EXPIRE 0" --resp 'LIST=+OK\r\n1 10\r\n2 10\r\n.'
	rc "keep off" "skipsize 2k"
	run_poplar
	expect_exit 0
	says "no QUIT" "deletions wait for a later run"
	assert_equal "$(delivered)" 1
	quits 0
	rc "keep off" "killsize 2k"
	run_poplar
	expect_exit 0
	quits 1
	[ -z "$(ls "$BOX")" ]
}

@test "EXPIRE 0: no QUIT over what may be a reply too many" {
	printf '+OK what?\r\n' >"$BOX/m1"
	serve --no-pipelining --capa "EXPIRE 0" --resp 'LIST=+OK\r\n1 9\r\n.'
	rc
	run_poplar
	expect_exit 75
	quits 0
}

@test "EXPIRE 0: no QUIT over what is refused when it is asked for once more" {
	local sizes
	rm "$BOX/m1"
	messages 4
	sizes=$(stat -c %s "$BOX"/* | awk '{ printf "%d %d\\r\\n", NR, NR == 2 ? 9 : $1 }')
	serve --capa "EXPIRE 0" --capa PIPELINING --resp "LIST=+OK\r\n$sizes." \
	    --resp 'RETR 4#2=-ERR not twice'
	rc
	run_poplar
	expect_exit 75
	assert_equal "$(delivered)" 3
	quits 0
	run_poplar
	expect_exit 0
	assert_equal "$(delivered)" 4
	quits 1
}

@test "EXPIRE n USER: the days of this user are asked for after the login" {
	for day in 31:0 29:1; do
		play <<-X
			S: +OK
			C: CAPA
			S: +OK
			S: PIPELINING
			S: TOP
			S: UIDL
			S: EXPIRE 7 USER
			S: .
			C: USER alice
			C: PASS sesame
			S: +OK
			S: +OK
			C: CAPA
			S: +OK
			S: PIPELINING
			S: TOP
			S: UIDL
			S: EXPIRE ${day%:*}
			S: .
			C: STAT
			C: UIDL
			C: LIST
			S: +OK 0 0
			S: +OK
			S: .
			S: +OK
			S: .
			C: QUIT
			S: +OK
		X
		rc "keep 30d"
		run_poplar
		expect_exit 0
		assert_played
		assert_equal "$(grep -c '29 days' <<<"$stderr")" "${day#*:}"
	done
}

@test "[IN-USE]: the next run gets the mail" {
	serve --resp 'PASS#1=-ERR [IN-USE] somebody is here'
	rc
	run_poplar
	expect_exit 75
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
}

@test "a login refused in a pipeline is 77 all the same" {
	serve --user alice:other
	rc "pipelining on"
	run_poplar
	expect_exit 77
	says "login: server says no to PASS"
}

@test "after USER is refused a server without pipelining gets no PASS" {
	serve --no-pipelining --resp 'USER=-ERR nobody'
	rc
	run_poplar
	expect_exit 77
	run grep 'C: PASS' "$LOG"
	assert_failure
}

@test "a login that is answered with no reply at all: 76" {
	serve --resp 'PASS=hello'
	rc
	run_poplar
	expect_exit 76
	says "login: the answer to PASS is no reply: hello"
}

@test "passwordeval: the first line, without its line end" {
	serve
	rc "passwordeval printf 'sesame\nnext\n'"
	sed -i '/^password /d' "$HOME/.poplarrc"
	run_poplar -d
	expect_exit 0
	assert_logged "PASS sesame"
	assert_masked
}

@test "passwordeval: a line without its end will do" {
	serve
	rc "passwordeval printf sesame"
	sed -i '/^password /d' "$HOME/.poplarrc"
	run_poplar
	expect_exit 0
	assert_logged "PASS sesame"
}

@test "passwordeval: a long token" {
	local token
	token=$(head -c 40000 /dev/zero | tr '\0' t)
	serve
	rc "passwordeval head -c 40000 /dev/zero | tr '\\0' t"
	sed -i '/^password /d' "$HOME/.poplarrc"
	run_poplar -d
	expect_exit 0
	assert_logged "PASS $token"
	[[ $stderr != *tttt* ]]
}

# evaluates COMMAND: it fails, is told, and nobody was called.
evaluates() {
	rc "passwordeval $1"
	sed -i '/^password /d' "$HOME/.poplarrc"
	run_poplar
	expect_exit 78
	says "passwordeval: "
	assert_masked
	run grep connect "$LOG"
	assert_failure
}

@test "passwordeval: its status counts, and what it said is shown" {
	serve
	evaluates "echo sesame; echo no key >&2; exit 3"
	[[ $stderr == *"exited with 3: no key"* ]]
	evaluates 'kill -KILL $$'
	[[ $stderr == *SIGKILL* ]]
	evaluates "printf '\\033[31mred' >&2; false"
	[[ $stderr == *'\x1b[31mred'* ]]
}

@test "passwordeval: no output is an error" {
	serve
	evaluates true
	[[ $stderr == *"is empty"* ]]
	evaluates "echo; echo sesame"
}

@test "passwordeval: half of a secret is never sent" {
	serve
	evaluates "printf 'ses\\0ame\\n'"
	[[ $stderr == *NUL* ]]
	evaluates "head -c 100000 /dev/zero | tr '\\0' s"
}

@test "passwordeval: a secret with CR never goes into a command line" {
	serve
	rc "passwordeval printf 'se\\rDELE 1\\n'"
	sed -i '/^password /d' "$HOME/.poplarrc"
	run_poplar
	expect_exit 78
	run grep -E 'C: (PASS|DELE)|se\\r' "$LOG"
	assert_failure
}

@test "the password is not in the trace, and the conversation is" {
	serve --user alice:sesame
	rc
	run_poplar -d
	expect_exit 0
	[[ $stderr == *"> USER alice"* ]]
	[[ $stderr == *"> PASS ****"* ]]
	[[ $stderr == *"< +OK logged in"* ]]
	[[ $stderr == *"> RETR 1"* ]]
	assert_masked
}

@test "APOP's digest is not in the trace" {
	serve --apop --user mrose:tanstaaf --greeting "POP3 $rfc1939"
	rc "auth apop" "user mrose" "password tanstaaf"
	run_poplar -d
	expect_exit 0
	[[ $stderr == *"> APOP mrose ****"* ]]
	assert_masked tanstaaf
	[[ $stderr != *c4c9334bac560ecc979e58001b3e22fb* ]]
}

@test "a server that echoes the password, or its base64, is masked" {
	serve --greeting "sesame c2VzYW1l" --capa "IMPLEMENTATION sesame" \
	    --resp 'USER=+OK sesame' \
	    --resp 'PASS=-ERR PASS sesame is c2VzYW1l and sesamesesame'
	rc
	for option in -q -v -d; do
		run_poplar "$option"
		expect_exit 77
		says "login: server says no to PASS: PASS **** is ****"
		assert_masked
	done
}

@test "a server that echoes APOP's digest is masked" {
	serve --greeting "$rfc1939" --resp \
	    'APOP=-ERR mrose c4c9334bac560ecc979e58001b3e22fb is wrong'
	rc "auth apop" "user mrose" "password tanstaaf"
	for option in -q -d; do
		run_poplar "$option"
		expect_exit 77
		says "server says no to APOP: mrose **** is wrong"
		[[ $stderr != *c4c9334bac560ecc979e58001b3e22fb* ]]
	done
}

@test "an echo after the login, or where no reply was, is masked" {
	serve --resp 'RETR 1=-ERR sesame'
	rc
	run_poplar -d
	expect_exit 75
	says "message 1: " "****"
	assert_masked
	stop_server
	serve --resp 'STAT=you said sesame'
	rc
	run_poplar -d
	expect_exit 76
	assert_masked
}

@test "an echo with what is escaped is masked as a whole" {
	serve --resp 'PASS=-ERR got se\x1b\\same\xff!'
	rc "passwordeval printf 'se\\033\\134same\\377\\n'"
	sed -i '/^password /d' "$HOME/.poplarrc"
	run_poplar -d
	expect_exit 77
	says "server says no to PASS: got ****!"
	[[ $stderr != *same* ]]
}

@test "no password and no terminal: 77, and nobody was called" {
	serve
	rc
	sed -i '/^password /d' "$HOME/.poplarrc"
	without_terminal "$POPLAR"
	expect_exit 77
	says "login: no password is known and there is no terminal" "hint: "
	run grep connect "$LOG"
	assert_failure
}

@test "no terminal stops only the account that needs one" {
	serve
	rc "account good : test" "password other" \
	    "account bad" "host 127.0.0.1" "port $PORT" "user x" "tls off"
	sed -i '/^password sesame/d' "$HOME/.poplarrc"
	without_terminal "$POPLAR" good bad
	expect_exit 77
	[[ $stderr == *"poplar: bad: login: no password"* ]]
	[[ $stderr != *"poplar: good"* ]]
	assert_maildir_equals_box
}

@test "on a terminal the password is asked for, and not echoed" {
	serve --user alice:sesame
	rc
	sed -i '/^password /d' "$HOME/.poplarrc"
	on_terminal <<-'X'
		set timeout 20
		spawn $env(POPLAR)
		expect {
			"test: password for alice at 127.0.0.1: " {}
			default { exit 99 }
		}
		send "sesame\r"
		expect eof
		exit [lindex [wait] 3]
	X
	expect_exit 0
	[[ $output != *sesame* ]]
	[[ $output == *"test: 1 new message"* ]]
	assert_logged "PASS sesame"
	assert_maildir_equals_box
}

@test "on a terminal a long token is taken whole" {
	local token
	token=$(printf '%01900d' 7)
	serve --user "alice:$token"
	rc
	sed -i '/^password /d' "$HOME/.poplarrc"
	TOKEN=$token on_terminal <<-'X'
		set timeout 20
		spawn $env(POPLAR)
		expect {
			"test: password for alice at 127.0.0.1: " {}
			default { exit 99 }
		}
		send "$env(TOKEN)\r"
		expect eof
		exit [lindex [wait] 3]
	X
	expect_exit 0
	assert_logged "PASS $token"
}

@test "two accounts ask one after the other, each by its name" {
	serve
	rc "account second : test" "user bob" "delivery maildir ~/second"
	sed -i '/^password /d' "$HOME/.poplarrc"
	on_terminal <<-'X'
		set timeout 20
		spawn $env(POPLAR)
		foreach i {1 2} {
			expect {
				"test: password for alice at 127.0.0.1: " {
					send "sesame\r"
				}
				"second: password for bob at 127.0.0.1: " {
					send "other\r"
				}
				default { exit 99 }
			}
		}
		expect eof
		exit [lindex [wait] 3]
	X
	expect_exit 0
	grep -q 'C: PASS sesame' "$LOG"
	grep -q 'C: PASS other' "$LOG"
	assert_maildir_equals_box
}

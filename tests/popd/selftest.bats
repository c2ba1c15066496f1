#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# The test server, tested: both modes, with nothing but bash as the client.
# $POPD is the program; without it, the one in the build tree from its top.

setup() {
	POPD=${POPD:-$PWD/popd}
	cd "$BATS_TEST_TMPDIR" || exit
	mkdir box
	printf 'Subject: one\r\n\r\n.dot\r\n.\r\nend\r\n' >box/1
	printf 'Subject: two\r\n\r\nno newline' >box/2
}

teardown() {
	[ -z "${PID:-}" ] || kill "$PID" 2>/dev/null || :
}

# start MODE [ARG ...]: sets PORT (and PORT2 of --tls both) and PID.
start() {
	local mode=$1
	shift
	coproc SERVER {
		exec "$POPD" "$mode" --until-eof --lifetime 60 --port-file - \
		    "$@" 2>err 3>&-
	}
	PID=$SERVER_PID
	read -r -t 10 -u "${SERVER[0]}" PORT
	case " $* " in
	*" both "*) read -r -t 10 -u "${SERVER[0]}" PORT2 ;;
	esac
}

# The client: sends its standard input at once, prints what comes back.
talk() {
	exec 5<>"/dev/tcp/127.0.0.1/$PORT"
	cat >&5
	timeout 20 cat <&5 || echo "<cut $?>"
	exec 5>&-
}

# Lines as POP3 wants them.
lines() {
	printf '%s\r\n' "$@"
}

# script LINE ...: writes the script s.
script() {
	printf '%s\n' "$@" >"${NAME:-s}"
}

# ended STATUS: the server ends by itself, and so.
ended() {
	local status=0
	wait "$PID" || status=$?
	PID=
	[ "$status" = "$1" ]
}

# ended_by_eof STATUS: the same after the end of its input.
ended_by_eof() {
	local input=${SERVER[1]}
	exec {input}>&-
	ended "$1"
}

@test "mailbox: a session from greeting to QUIT" {
	start mailbox box
	lines 'USER u' 'PASS p' STAT 'LIST 1' UIDL 'RETR 1' QUIT | talk >out
	printf '%s\r\n' '+OK popd ready' +OK '+OK logged in' '+OK 2 58' \
	    '+OK 1 30' '+OK listing follows' '1 1' '2 2' . '+OK 30 octets' \
	    'Subject: one' '' ..dot .. end . '+OK bye' >want
	cmp out want
	ended_by_eof 0
}

@test "mailbox: a missing last CRLF is added and counted" {
	start mailbox box
	lines 'USER u' 'PASS p' 'LIST 2' 'RETR 2' QUIT | talk >out
	grep -q '^+OK 2 28' out
	grep -q '^no newline' out
	[ "$(wc -c <box/2)" = 26 ]
}

@test "mailbox: DELE counts at QUIT only" {
	start mailbox box
	exec 5<>"/dev/tcp/127.0.0.1/$PORT"
	lines 'USER u' 'PASS p' 'DELE 1' >&5
	timeout 10 head -n 4 <&5 >out
	exec 5>&-
	grep -q '^+OK deleted' out
	lines 'USER u' 'PASS p' 'DELE 1' RSET 'DELE 2' QUIT | talk >out
	[ -e box/1 ]
	[ ! -e box/2 ]
}

@test "mailbox: passwords, and APOP with the example of RFC 1939" {
	start mailbox --user mrose:tanstaaf --apop \
	    --greeting 'POP3 <1896.697170952@dbc.mtview.ca.us>' box
	lines 'USER mrose' 'PASS wrong' \
	    'APOP mrose c4c9334bac560ecc979e58001b3e22fb' STAT QUIT |
	    talk >out
	grep -q '^-ERR \[AUTH\]' out
	grep -q '^+OK 2 58' out
}

@test "mailbox: unique-ids from .uids and with a prefix" {
	printf '1 %%20x%%ff\n' >box/.uids
	start mailbox --uid-prefix A- box
	lines 'USER u' 'PASS p' UIDL QUIT | talk >out
	LC_ALL=C grep -q "^1 A- x$(printf '\377')" out
	grep -q '^2 A-2' out
}

@test "mailbox: planned answers, the first so often" {
	start mailbox --resp 'PASS#1=-ERR [IN-USE] busy' \
	    --resp 'RETR 2=-ERR no' box
	lines 'USER u' 'PASS p' 'PASS p' 'RETR 2' 'TOP 1 0' QUIT | talk >out
	[ "$(grep -c '^-ERR' out)" = 2 ]
	grep -q 'IN-USE' out
	grep -q '^Subject: one' out
}

@test "mailbox: one session a user with --lock" {
	start mailbox --lock box
	exec 6<>"/dev/tcp/127.0.0.1/$PORT"
	lines 'USER u' 'PASS p' >&6
	for _ in 1 2 3; do
		read -r -t 10 -u 6 answer
	done
	[[ $answer == '+OK logged in'* ]]
	lines 'USER u' 'PASS p' QUIT | talk >out
	grep -q '^-ERR \[IN-USE\]' out
	lines QUIT >&6
	read -r -t 10 -u 6 answer
	lines 'USER u' 'PASS p' QUIT | talk >out
	grep -q '^+OK logged in' out
	exec 6>&-
}

@test "mailbox: cut after so many octets of one answer" {
	start mailbox --at 'RETR 1' --cut-after 10 --on-connection 2 box
	lines 'USER u' 'PASS p' 'RETR 1' QUIT | talk >out
	[ "$(tail -c 9 out)" = "$(printf '+OK bye\r\n')" ]
	lines 'USER u' 'PASS p' 'RETR 1' QUIT | talk >out
	[ "$(tail -c 10 out)" = '+OK 30 oct' ]
}

@test "mailbox: dripping and latency do not change the words" {
	start mailbox --drip 1 --latency 50 box
	lines 'USER u' 'PASS p' STAT QUIT | talk >out
	[ "$(tail -n 1 out)" = "$(printf '+OK bye\r')" ]
}

@test "mailbox: the log has every line" {
	start mailbox --log log --max-connections 1 box
	printf 'USER u\r\nPASS \001\\\r\nQUIT\r\n' | talk >out
	ended 0
	printf '1 %s\n' connect 'C: USER u' 'C: PASS \x01\\' 'C: QUIT' close \
	    >want
	cmp log want
}

@test "mailbox: messages made up have the size that was asked for" {
	start mailbox --synthetic 3:5000 box || :
	grep -q 'takes no directory' err
	PID=
	start mailbox --synthetic 3:5000
	lines 'USER u' 'PASS p' STAT 'RETR 3' QUIT | talk >out
	grep -q '^+OK 3 15000' out
	sed -n '/^Date/,$p' out | sed '/^\.\r$/,$d; s/^\.\././' >message
	[ "$(wc -c <message)" = 5000 ]
}

@test "mailbox: LF files are sent with CRLF" {
	printf 'Subject: lf\n\n.x\nend' >box/3
	start mailbox --lf box
	lines 'USER u' 'PASS p' 'RETR 3' QUIT | talk >out
	printf '+OK 24 octets\r\nSubject: lf\r\n\r\n..x\r\nend\r\n.\r\n' >want
	tail -n 7 out | head -n 6 | cmp - want
}

@test "mailbox: standard input and output as the connection" {
	lines 'USER u' 'PASS p' STAT QUIT |
	    timeout 10 "$POPD" mailbox --stdio box | cat >out
	grep -q '^+OK 2 58' out
}

@test "mailbox: TLS from the first byte, and by STLS" {
	command -v gnutls-cli >/dev/null || skip 'no gnutls-cli'
	"$POPD" cert certs
	start mailbox --tls both --tls-cert certs/server.pem \
	    --tls-key certs/server.key --log log box
	lines 'USER u' 'PASS p' STAT QUIT | timeout 20 gnutls-cli \
	    --x509cafile certs/ca.pem --verify-hostname localhost \
	    -p "$PORT2" 127.0.0.1 >out
	grep -q '^+OK 2 58' out
	lines 'USER u' 'PASS p' STAT QUIT | timeout 20 gnutls-cli \
	    --x509cafile certs/ca.pem --verify-hostname localhost \
	    --starttls-proto=pop3 -p "$PORT" 127.0.0.1 >out
	grep -q '^+OK 2 58' out
	grep -q '^2 C: STLS' log
	grep -q '^2 tls TLS1' log
}

@test "script: a conversation as written" {
	script '# a comment' '' 'S: +OK hello\x21' 'C: USER alice' 'S: +OK' \
	    'C~ PASS *' 'S- +O' 'S- K\r\n' ANY 'S: bye' EXPECT-EOF
	start script s
	lines 'USER alice' 'PASS x' QUIT >in
	exec 5<>"/dev/tcp/127.0.0.1/$PORT"
	cat in >&5
	timeout 10 head -n 4 <&5 >out
	exec 5>&-
	printf '%s\r\n' '+OK hello!' +OK +OK bye | cmp - out
	ended 0
}

@test "script: what differs is reported with its place" {
	script 'S: +OK' 'C: USER alice'
	start script s
	lines 'USER b\b' | talk >out
	ended 1
	grep -qF 's:2: connection 1: expected "USER alice", got "USER b\\b"' err
}

@test "script: LF alone is no line end" {
	script 'S: +OK' 'C: QUIT'
	start script s
	echo QUIT | talk >out
	ended 1
	grep -q 'without CR' err
}

@test "script: a client that says nothing or goes away is a failure" {
	script 'S: +OK' 'C: QUIT'
	start script --wait 50 s
	exec 5<>"/dev/tcp/127.0.0.1/$PORT"
	ended 1
	exec 5>&-
	grep -q 'nothing came' err
	start script s
	: | timeout 1 bash -c "exec 5<>/dev/tcp/127.0.0.1/$PORT"
	ended 1
	grep -q 'client is gone' err
}

@test "script: a script that nobody came for is a failure" {
	script 'S: +OK'
	start script s
	ended_by_eof 1
	grep -q 's: no connection came' err
}

@test "script: repeats count, and nest" {
	script 'REPEAT 3 S: %d x%d 100%%' 'REPEAT 2' 'C: a%d' \
	    'REPEAT 2 S: b%d' END
	start script s
	lines a1 a2 | talk >out
	lines '1 x1 100%' '2 x2 100%' '3 x3 100%' b1 b2 b1 b2 | cmp - out
	ended 0
}

@test "script: many lines in little time" {
	script 'S: +OK' 'REPEAT 300000 S: %d uid-%d' 'S: .' DRAIN
	start script s
	exec 5<>"/dev/tcp/127.0.0.1/$PORT"
	timeout 20 sed -n '/^\.\r$/q;p' <&5 | wc -l >count
	exec 5>&-
	[ "$(cat count)" -eq 300001 ]
	ended 0
}

@test "script: files, raw and as a message" {
	script 'SEND FILE box/1' 'MESSAGE box/2'
	start script s
	: | talk >out
	{
		cat box/1
		printf 'Subject: two\r\n\r\nno newline\r\n.\r\n'
	} | cmp - out
}

@test "script: one script a connection, the last one for all others" {
	NAME=a script 'S: a'
	NAME=b script 'S: b'
	start script --repeat a b
	for want in a b b b; do
		[ "$(: | talk)" = "$(printf '%s\r' "$want")" ]
	done
	ended_by_eof 0
}

@test "script: reset, cut, stall" {
	script 'S: +OK' RESET
	start script s
	: | talk >out 2>&1
	grep -q '^<cut' out
	ended 0
	script 'S: +OK' 'STALL 50'
	start script s
	: | talk >out
	ended 1
	grep -q 'after 50 ms the client is still there' err
}

@test "script: without end, until the client leaves" {
	script 'S- +OK ' 'ENDLESS x' 'REPEAT 1000000000 S: y'
	start script s
	exec 5<>"/dev/tcp/127.0.0.1/$PORT"
	timeout 10 head -c 100000 <&5 >out
	exec 5>&-
	ended 0
	start script --wait 50 s
	: | talk >out
	ended 1
	grep -q 's:2: .*without end' err
}

@test "script: the example of the manual" {
	sed -n '/^    S: +OK ready/,/^    EXPECT-EOF/p' \
	    "$BATS_TEST_DIRNAME/README" >s
	start script s
	exec 5<>"/dev/tcp/127.0.0.1/$PORT"
	lines CAPA 'USER alice' 'PASS x' STAT UIDL LIST >&5
	timeout 10 head -n 11 <&5 >out
	exec 5>&-
	ended 0
}

@test "script: silence is checked" {
	script 'S: +OK' 'EXPECT-NOTHING 50' 'S: bye'
	start script s
	: | talk >out
	ended 0
	script 'S: +OK' 'EXPECT-NOTHING 10000' 'S: bye'
	start script s
	printf early | talk >out
	ended 1
	grep -q 'expected nothing, got "early"' err
}

@test "script: TLS in the middle, and a handshake that must fail" {
	command -v gnutls-cli >/dev/null || skip 'no gnutls-cli'
	"$POPD" cert certs
	script TLS 'S: +OK' 'C: QUIT' 'S: bye' CLOSE-NOTIFY CUT
	start script --tls-cert certs/server.pem --tls-key certs/server.key s
	lines QUIT | timeout 20 gnutls-cli --x509cafile certs/ca.pem \
	    --verify-hostname localhost -p "$PORT" 127.0.0.1 >out
	ended 0
	grep -q '^bye' out
	script TLS-FAILS
	start script --tls-cert certs/expired.pem \
	    --tls-key certs/expired.key s
	lines QUIT | timeout 20 gnutls-cli --x509cafile certs/ca.pem \
	    --verify-hostname localhost -p "$PORT" 127.0.0.1 >out || :
	ended 0
}

@test "script: errors in a script have file and line" {
	script 'S: ok' 'C: \q'
	run "$POPD" script s
	[ "$status" = 2 ]
	[[ $output == *'s:2: bad escape'* ]]
	script 'FROBNICATE'
	run "$POPD" script s
	[ "$status" = 2 ]
	script 'REPEAT 2'
	run "$POPD" script s
	[ "$status" = 2 ]
}

@test "demo: a dozen messages, CRLF throughout" {
	"$POPD" demo demo
	[ "$(ls demo | wc -l)" = 12 ]
	[ "$(cat demo/* | grep -vc "$(printf '\r')\$")" = 0 ]
	[ "$(tail -c 1 demo/11*)" = p ]
}

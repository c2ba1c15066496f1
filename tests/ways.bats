#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# The ways to a server: sockets, tunnels, proxies, addresses, a second try.

load lib

# rc_way LINE ...: an account without host, port and auth, to be reached so.
rc_way() {
	rc
	sed -i '/^host /d; /^port /d; /^auth /d' "$HOME/.poplarrc"
	printf '%s\n' "$@" >>"$HOME/.poplarrc"
}

# rc_socket [line ...]: the server's unix socket.
rc_socket() {
	rc_way "socket $BATS_TEST_TMPDIR/pop" "$@"
}

# No child of this test's own poplar is left (given by a word of its command).
assert_gone() {
	run pgrep -f -- "$1"
	assert_failure
}

# run_traced CALLS: with these system calls in the file trace.  A leak checker
# is a tracer itself, and gives up where there is one.
run_traced() {
	run --separate-stderr timeout 60 env LSAN_OPTIONS=detect_leaks=0 \
	    strace -f -e "trace=$1" -o "$BATS_TEST_TMPDIR/trace" \
	    "$POPLAR" </dev/null
}

@test "socket: a unix socket needs no host, and a password no TLS" {
	messages 3
	serve --unix "$BATS_TEST_TMPDIR/pop"
	rc_socket
	run_poplar
	expect_exit 0
	[ -z "$output$stderr" ]
	assert_maildir_equals_box
	logged -x '1 C: PASS sesame'
	assert_equal "$(state_file)" "$HOME/.local/state/poplar/test"
}

@test "socket: a second run knows what the first one fetched" {
	messages 3
	serve --unix "$BATS_TEST_TMPDIR/pop"
	rc_socket
	run_poplar
	message m9 new
	run_poplar
	expect_exit 0
	assert_equal "$(count_logged RETR)" 4
	assert_maildir_equals_box
}

@test "socket: with a host, that names the state" {
	messages 1
	serve --unix "$BATS_TEST_TMPDIR/pop"
	rc_socket "host pop.example.org"
	run_poplar
	expect_exit 0
	assert_equal "$(state_file)" \
	    "$HOME/.local/state/poplar/alice_at_pop.example.org"
}

@test "socket: one that is not there is 69, with its name" {
	rc_socket
	run_poplar
	expect_exit 69
	says "connect: cannot connect to socket $BATS_TEST_TMPDIR/pop: No such"
}

@test "socket: a path too long for one is refused by name" {
	rc_way "socket /$(printf 'x%.0s' {1..120})"
	run_poplar
	expect_exit 69
	says "File name too long"
}

@test "socket: TLS through it, the certificate's name given" {
	messages 2
	tls_as server
	serve --unix "$BATS_TEST_TMPDIR/pop" --tls implicit "${TLS[@]}"
	rc_socket "tls on" "tls_trust_file $(certs)/ca.pem" \
	    "tls_host_override localhost"
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
}

@test "socket: TLS without a name to check is a mistake of the rc file" {
	rc_socket "tls on"
	run_poplar
	expect_exit 78
	[[ $stderr == *"nobody knows which name"*"tls_host_override"* ]]
}

@test "socket and tunnel together, or no way at all, are mistakes" {
	rc_socket "tunnel cat"
	run_poplar
	expect_exit 78
	[[ $stderr == *"two ways to one server"* ]]
	rc_way
	run_poplar
	expect_exit 78
	[[ $stderr == *"a host is missing"* ]]
}

@test "tunnel: a server on standard input and output" {
	messages 3
	rc_way "tunnel '$POPD' mailbox --stdio --log '$LOG' '$BOX'"
	run_poplar
	expect_exit 0
	[ -z "$output$stderr" ]
	assert_maildir_equals_box
	logged -x '1 C: PASS sesame'
	assert_gone "mailbox --stdio --log $LOG"
	assert_equal "$(state_file)" "$HOME/.local/state/poplar/test"
}

@test "tunnel: through socat" {
	command -v socat >/dev/null || skip "socat is not installed"
	messages 3
	message big big "$(head -c 300000 /dev/zero | tr '\0' x)"
	serve
	rc_way "tunnel socat STDIO TCP4:127.0.0.1:$PORT"
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
	assert_gone "socat STDIO TCP4:127.0.0.1:$PORT"
}

# start_sshd: on SSH_PORT, for this user, with the key "key".
start_sshd() {
	local sshd=/usr/sbin/sshd
	command -v ssh >/dev/null || skip "ssh is not installed"
	[ -x "$sshd" ] || skip "sshd is not installed"
	[ "$(id -u)" -ne 0 ] || [ -d /run/sshd ] || skip "there is no /run/sshd"
	cd "$BATS_TEST_TMPDIR"
	ssh-keygen -q -t ed25519 -N '' -f hostkey </dev/null
	ssh-keygen -q -t ed25519 -N '' -f key </dev/null
	SSH_PORT=$(free_port)
	"$sshd" -D -e -f /dev/null -p "$SSH_PORT" -h "$PWD/hostkey" \
	    -o ListenAddress=127.0.0.1 -o PidFile=none -o StrictModes=no \
	    -o AuthorizedKeysFile="$PWD/key.pub" 2>sshd.err 3>&- </dev/null &
	pids+=($!)
	eventually listens "$SSH_PORT" || skip "sshd does not run here"
	printf 'ssh -F none -p %s -i %s/key -o BatchMode=yes %s 127.0.0.1' \
	    "$SSH_PORT" "$PWD" "-o UserKnownHostsFile=$PWD/known" >ssh
}

@test "tunnel: through ssh, and what ssh says when it fails" {
	start_sshd
	messages 3
	rc_way "tunnel $(cat ssh) '$POPD' mailbox --stdio '$BOX'"
	run_poplar
	expect_exit 75
	says "the tunnel exited with 255: " "Host key verification failed"
	sed "s/^/[127.0.0.1]:$SSH_PORT /" hostkey.pub >known
	run_poplar
	expect_exit 0
	[ -z "$output$stderr" ]
	assert_maildir_equals_box
}

@test "tunnel: STLS and TLS from the first byte through it" {
	local how
	tls_as server
	for how in stls implicit; do
		rm -rf "$HOME/Maildir" "$HOME/.local"
		messages 2
		rc_way "tunnel '$POPD' mailbox --stdio --tls $how ${TLS[*]} '$BOX'" \
		    "host localhost" "tls on" "tls_trust_file $(certs)/ca.pem" \
		    "tls_starttls $([ $how = stls ] && echo on || echo off)"
		run_poplar
		expect_exit 0
		assert_maildir_equals_box
	done
}

@test "tunnel: what its command said is shown when it fails" {
	rc_way 'tunnel echo "ssh: no route to host" >&2; exit 255'
	run_poplar
	expect_exit 75
	says "greeting: the server closed the connection (the tunnel exited" \
	    "with 255: ssh: no route to host)"
}

@test "tunnel: what it said is escaped, and the end of it shown" {
	rc_way "tunnel printf 'first\n%500s\033[2Jlast\n' x >&2"
	run_poplar
	expect_exit 75
	says '\x1b[2Jlast)'
	not grep -q first <<<"$stderr"
}

@test "tunnel: one that shows what passes through shows no password" {
	local lost="printf '%395s' x >&2"
	for tail in : "$lost"; do
		cat >"$TMPDIR/verbose" <<-X
			printf '+OK\r\n'
			while IFS= read -r line; do
				case \$line in
				CAPA*) printf -- '-ERR\r\n' ;;
				USER*) printf '+OK\r\n' ;;
				PASS*) printf '%s\n' "\$line" >&2; $tail; exit 3 ;;
				esac
			done
		X
		rc_way "tunnel sh $TMPDIR/verbose"
		run_poplar
		expect_exit 75
		says "login: the server closed" "exited with 3: "
		not grep -q same <<<"$output$stderr"
	done
}

@test "tunnel: a command that is not there is 78" {
	rc_way "tunnel /nonexistent/command"
	run_poplar
	expect_exit 78
	says "the tunnel exited with 127: " "not found"
}

@test "tunnel: one that is killed" {
	rc_way 'tunnel kill -KILL $$'
	run_poplar
	expect_exit 75
	says "the tunnel killed by SIGKILL"
}

@test "tunnel: one that says nothing is bounded by timeout, and killed" {
	rc_way "timeout 1" "tunnel echo wait >&2; exec tail -f $HOME/.poplarrc >/dev/null"
	SECONDS=0
	run_poplar
	expect_exit 75
	says "greeting: no answer for 1 second (the tunnel: wait)"
	[ "$SECONDS" -lt 15 ]
	assert_gone "tail -f $HOME/.poplarrc"
}

@test "tunnel: one that ignores SIGTERM is killed with all its children" {
	rc_way "timeout 1" \
	    "tunnel trap '' TERM; tail -f $HOME/.poplarrc >/dev/null & wait; wait"
	SECONDS=0
	run_poplar
	expect_exit 75
	[ "$SECONDS" -lt 15 ]
	assert_gone "tail -f $HOME/.poplarrc"
}

@test "tunnel: one that floods its standard error does not block" {
	messages 2
	rc_way "tunnel head -c 1000000 /dev/zero >&2; exec '$POPD' mailbox --stdio '$BOX'"
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
}

@test "tunnel: SIGTERM ends it and the run" {
	rc_way "tunnel echo there >~/started; exec tail -f $HOME/.poplarrc >/dev/null"
	start_poplar
	eventually test -s "$HOME/started"
	kill -TERM "$RUN"
	SECONDS=0
	finish_poplar
	expect_exit 75
	[ "$SECONDS" -lt 8 ]
	assert_gone "tail -f $HOME/.poplarrc"
}

@test "tunnel: it runs without the terminal and without confinement" {
	[ -e /proc/self/status ] || skip "no /proc here"
	rc_way "tunnel grep NoNewPrivs /proc/self/status >~/status; ps -o tty= -p \$\$ >~/tty; exit 1"
	run_poplar
	expect_exit 75
	assert_equal "$(tr -d '\t ' <"$HOME/status")" NoNewPrivs:0
	assert_equal "$(tr -d ' ' <"$HOME/tty")" '?'
}

@test "source_ip: the address to connect from" {
	messages 1
	serve
	rc "source_ip 127.0.0.9" "tunnel" "host 127.0.0.1"
	command -v strace >/dev/null || skip "strace is not installed"
	run_traced bind
	expect_exit 0
	grep -q 'AF_INET.*127\.0\.0\.9' "$BATS_TEST_TMPDIR/trace"
	assert_maildir_equals_box
}

@test "source_ip: one that is not ours is named" {
	serve
	rc "source_ip 192.0.2.1"
	run_poplar
	expect_exit 69
	says "cannot connect to 127.0.0.1 port $PORT from 192.0.2.1" "Cannot assign"
}

@test "source_ip: the other family, and what is no address" {
	PORT=1
	rc "source_ip ::1"
	run_poplar
	expect_exit 68
	says "no IPv6 address found for 127.0.0.1"
	run_poplar -4
	expect_exit 78
	says "::1 is no IPv4 address to connect from"
	run_poplar --source-ip=localhost
	expect_exit 64
}

# start_proxy [option ...]: microsocks on PROXY, what it says in proxy.err.
start_proxy() {
	command -v microsocks >/dev/null || skip "microsocks is not installed"
	PROXY=$(free_port)
	microsocks -i 127.0.0.1 -p "$PROXY" "$@" 2>"$BATS_TEST_TMPDIR/proxy.err" \
	    3>&- </dev/null &
	pids+=($!)
	eventually listens "$PROXY"
}

# play_proxy < script ...: a scripted proxy, with another script for each
# connection if "--" lines part them.
play_proxy() {
	awk -v f="$BATS_TEST_TMPDIR/proxy." '/^--$/ { n++; next }
	    { print >(f (n + 0)) }'
	start_popd script --wait 5000 "$@" "$BATS_TEST_TMPDIR"/proxy.[0-9]
}

# rc_proxy [line ...]: the account through the proxy on $PORT.
rc_proxy() {
	local port=$PORT
	PORT=995
	rc "host pop.invalid" "proxy_host 127.0.0.1" "proxy_port $port" "$@"
	PORT=$port
}

@test "proxy: through microsocks, the name resolved by it" {
	messages 3
	start_proxy
	serve
	rc "host localhost" "proxy_host 127.0.0.1" "proxy_port $PROXY"
	run_poplar
	expect_exit 0
	[ -z "$output$stderr" ]
	assert_maildir_equals_box
	assert_equal "$(grep -c 'connected to localhost' \
	    "$BATS_TEST_TMPDIR/proxy.err")" 1
}

@test "proxy: TLS and STLS through microsocks" {
	messages 2
	start_proxy
	tls_as server
	serve --tls both "${TLS[@]}"
	rc "host localhost" "proxy_host 127.0.0.1" "proxy_port $PROXY" \
	    "tls on" "tls_trust_file $(certs)/ca.pem" "port $TLS_PORT"
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
	run_poplar --port="$PORT" --tls-starttls=on --only-new=off
	expect_exit 0
	assert_equal "$(count_logged 'tls TLS')" 2
}

@test "proxy: with user and password, and without, and with wrong ones" {
	messages 1
	start_proxy -u joe -P 'p"a ss'
	serve
	rc "proxy_host 127.0.0.1" "proxy_port $PROXY" "proxy_user joe" \
	    'proxy_password p"a ss'
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
	rc "proxy_host 127.0.0.1" "proxy_port $PROXY"
	run_poplar
	expect_exit 77
	says "connect: proxy: it wants a login" "hint: " proxy_user
	rc "proxy_host 127.0.0.1" "proxy_port $PROXY" "proxy_user joe" \
	    "proxy_password wrong"
	run_poplar
	expect_exit 77
	says "proxy: it refused the user and the password"
	not grep -q wrong <<<"$stderr"
}

@test "proxy: a server that it cannot reach, and a proxy that is not there" {
	start_proxy
	PORT=$(free_port)
	rc "proxy_host 127.0.0.1" "proxy_port $PROXY" "connect_timeout 3"
	run_poplar
	expect_exit 69
	says "proxy: it cannot connect to 127.0.0.1 port $PORT: connection refused"
	rc "proxy_host 127.0.0.1" "proxy_port $(free_port)"
	run_poplar
	expect_exit 69
	says "connect: proxy: cannot connect to 127.0.0.1 port" "refused"
}

@test "proxy: no other address is asked for anything" {
	command -v strace >/dev/null || skip "strace is not installed"
	messages 1
	start_proxy
	serve
	rc "host localhost" "proxy_host 127.0.0.1" "proxy_port $PROXY"
	run_traced connect,sendto,sendmsg,sendmmsg,openat
	expect_exit 0
	assert_maildir_equals_box
	grep -q "sin_port=htons($PROXY)" "$BATS_TEST_TMPDIR/trace"
	run grep -E 'connect\(|sa_family|resolv.conf|nsswitch|"/etc/hosts"' \
	    "$BATS_TEST_TMPDIR/trace"
	refute_line --regexp 'resolv|nsswitch|hosts"'
	assert_equal "$(grep -c 'connect(' <<<"$output")" 1
}

@test "proxy: an IDN goes out as the DNS knows it" {
	play_proxy <<-'X'
		C- \x05\x01\x00
		S- \x05\x00
		C- \x05\x01\x00\x03\x15xn--mller-kva.example\x03\xe3
		S- \x05\x04
		EXPECT-EOF
	X
	rc_proxy $'host m\xc3\xbcller.example'
	run_poplar
	expect_exit 69
	says "xn--mller-kva.example port 995: host unreachable"
	assert_played
}

@test "proxy: each reply is named, and has the exit code that it means" {
	local reply=0 row code
	for row in "75 general SOCKS server failure" \
	    "69 connection not allowed by ruleset" "69 network unreachable" \
	    "69 host unreachable" "69 connection refused" "75 TTL expired" \
	    "69 command not supported" "69 address type not supported" \
	    "69 reply 0x09"; do
		reply=$((reply + 1))
		code=${row%% *}
		play_proxy --repeat <<-X
			C- \x05\x01\x00
			S- \x05\x00
			C- \x05\x01\x00\x03\x0bpop.invalid\x03\xe3
			S- \x05\x0$reply\x00\x01\x00\x00\x00\x00\x00\x00
			EXPECT-EOF
		X
		rc_proxy "connect_timeout 1"
		run_poplar
		expect_exit "$code"
		says "connect: proxy: it cannot connect to pop.invalid port 995: ${row#* }"
		assert_played
	done
}

@test "proxy: bad ones are refused, each as what it is" {
	local answer
	for answer in 'HTTP/1.1 400 Bad Request\r\n' '\x04\x5b' '\x05\x07'; do
		play_proxy <<-X
			C- \x05\x01\x00
			S- $answer
			EXPECT-EOF
		X
		rc_proxy
		run_poplar
		expect_exit 76
		says "proxy: this is no SOCKS5 proxy"
		assert_played
	done
}

@test "proxy: one that is slow is bounded by connect_timeout" {
	play_proxy --repeat <<-'X'
		C- \x05\x01\x00
		DRIP 100
		S- \x05\x00\x05\x00\x00\x03\xff
		ENDLESS x
	X
	rc_proxy "connect_timeout 1"
	SECONDS=0
	run_poplar
	expect_exit 75
	says "connect: proxy: no answer in time"
	[ "$SECONDS" -lt 8 ]
}

@test "proxy: an answer cut short" {
	play_proxy --repeat <<-'X'
		C- \x05\x01\x00
		S- \x05\x00\x05\x00\x00\x03\xffabc
		CUT
	X
	rc_proxy "connect_timeout 1"
	run_poplar
	expect_exit 75
	says "connect: proxy: "
}

# The proxy has its reasons ("TTL expired"), which may pass.
refusal_for_now() {
	cat <<-'X'
		C- \x05\x01\x00
		S- \x05\x00
		C- \x05\x01\x00\x03\x0bpop.invalid\x03\xe3
		S- \x05\x06
		EXPECT-EOF
	X
}

@test "a connect that fails for now is tried once more" {
	play_proxy < <(
		cat <<-'X'
			C- \x05\x01\x00
			S- \x05\x00
			C- \x05\x01\x00\x03\x0bpop.invalid\x03\xe3
			S- \x05\x06\x00\x01\x00\x00\x00\x00\x00\x00
			EXPECT-EOF
			--
			C- \x05\x01\x00
			S- \x05\x00
			C- \x05\x01\x00\x03\x0bpop.invalid\x03\xe3
			S- \x05\x00\x00\x01\x00\x00\x00\x00\x00\x00+OK\r\n
		X
		login_steps
		empty_steps
		echo EXPECT-EOF
	)
	rc_proxy "connect_timeout 1"
	run_poplar -v
	expect_exit 0
	says "TTL expired; once more in a moment"
	assert_played
}

@test "but only once, and not if that will not help" {
	play_proxy --repeat < <(refusal_for_now)
	rc_proxy "connect_timeout 1"
	run_poplar -v
	expect_exit 75
	assert_equal "$(grep -c 'once more' <<<"$stderr")" 1
	assert_equal "$(grep -c 'TTL expired' <<<"$stderr")" 3
	PORT=$(free_port)
	rc
	run_poplar -v
	expect_exit 69
	not grep -q 'once more' <<<"$stderr"
}

@test "what a second try finds is no worse than the first failure" {
	play_proxy < <(refusal_for_now)
	rc_proxy "connect_timeout 1"
	run_poplar -v
	expect_exit 75
	says "connect: and then: " "test: connect: proxy:" "TTL expired"
}

@test "at a terminal nobody has to wait for a second try" {
	command -v expect >/dev/null || skip "expect is not installed"
	play_proxy --repeat < <(refusal_for_now)
	rc_proxy "connect_timeout 1"
	run timeout 30 expect -c 'spawn -noecho $env(POPLAR) -v' -c 'expect eof'
	assert_output --partial "TTL expired"
	refute_output --partial "once more"
}

@test "a proxy has no use for half a login, and a socket none for a proxy" {
	serve --unix "$BATS_TEST_TMPDIR/pop"
	rc "proxy_user joe"
	run_poplar
	expect_exit 78
	[[ $stderr == *"of proxy_user and proxy_password one is missing"* ]]
	messages 1
	rc_socket "proxy_host 127.0.0.1" "proxy_port 1"
	run_poplar
	expect_exit 0
	assert_maildir_equals_box
}

@test "what is said of the way is in --pretend" {
	rc_way "tunnel t" "proxy_host p" "proxy_user u" "proxy_password secret"
	run_poplar --pretend
	grep -qx 'proxy_host p' <<<"$output"
	grep -qx 'proxy_port 1080' <<<"$output"
	grep -qx 'proxy_user u' <<<"$output"
	grep -qx 'proxy_password \*' <<<"$output"
	not grep -q secret <<<"$output"
	rc_way "tunnel ssh host nc localhost 110" "source_ip 127.0.0.9"
	run_poplar --pretend
	expect_exit 0
	grep -qx 'tunnel ssh host nc localhost 110' <<<"$output"
	grep -qx 'source_ip 127.0.0.9' <<<"$output"
	not grep -q '^host' <<<"$output"
	rc_socket
	run_poplar --pretend
	grep -qx "socket $BATS_TEST_TMPDIR/pop" <<<"$output"
}

#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# The command line and the rc file, as far as no server is needed for them.

load lib

# Many tests want an rc file and no server behind it.
setup() {
	poplar_setup
	PORT=1
}

# file NAME LINE ...: an rc file, private.
file() {
	local name=$1
	shift
	printf '%s\n' "$@" >"$HOME/$name"
	chmod 600 "$HOME/$name"
}

# two_accounts: one and two, each from the server on $PORT to its own Maildir.
two_accounts() {
	file .poplarrc defaults "host 127.0.0.1" "port $PORT" "tls off" \
	    "auth user" "password sesame" "account ${1:-one}" "user alice" \
	    "delivery maildir ~/one" "account two" "user bob" \
	    "delivery maildir ~/two"
}

# pretends LINE ...: --pretend printed each of these lines.
pretends() {
	local line
	expect_exit 0
	for line; do
		grep -qxF -- "$line" <<<"$output" || {
			printf 'not there: %s\n%s\n' "$line" "$output" >&2
			return 1
		}
	done
}

# The error names all of these, as one line that begins with "poplar: ".
complains() {
	local word
	[ "$(head -n 1 <<<"$stderr" | cut -c 1-8)" = "poplar: " ]
	for word; do
		[[ $stderr == *"$word"* ]] || {
			printf 'not said: %s\n%s\n' "$word" "$stderr" >&2
			return 1
		}
	done
}

count() {
	find "$HOME/$1/new" -type f 2>/dev/null | wc -l | tr -d ' '
}

@test "--help goes to standard output and names every option" {
	run_poplar --help
	expect_exit 0
	[ -z "$stderr" ]
	for option in --all-accounts --file --dry-run --jobs --pretend --quiet \
	    --verbose --debug --help --version -k -4 -6; do
		[[ $output == *"$option"* ]]
	done
}

@test "--version names poplar, the library and its version" {
	run_poplar --version
	expect_exit 0
	[ -z "$stderr" ]
	[[ ${lines[0]} =~ ^poplar\ [0-9] ]]
	[[ $output =~ GnuTLS\ [0-9]+\.[0-9]+ ]]
}

@test "results that cannot be written are no success, unless nobody wants them" {
	[ -w /dev/full ] || skip "no /dev/full"
	file .poplarrc "account a" "host h" "user u"
	for option in --help --version --pretend; do
		run bash -c '"$POPLAR" "$1" 2>&1 >/dev/full' _ "$option"
		assert_equal "$status" 74
		assert_equal "$output" "poplar: standard output cannot be written"
	done
	serve
	rc
	for code in 74 0; do
		message "m$code" one
		if [ "$code" = 74 ]; then
			run bash -c '"$POPLAR" -v 2>/dev/null >/dev/full'
		else
			run bash -c 'set -o pipefail; "$POPLAR" -v 2>&1 | :'
		fi
		assert_equal "$status" "$code"
		assert_maildir_equals_box
	done
}

@test "an unknown option is a usage error" {
	rc
	for option in --bogus -Z --help=x; do
		run_poplar "$option"
		expect_exit 64
		[ -z "$output" ]
		complains --help
	done
}

@test "an option without its argument is a usage error" {
	rc
	for option in -C -j --file --timeout --host; do
		run_poplar "$option"
		expect_exit 64
		complains --help
	done
}

@test "--jobs wants a number from 1 on" {
	rc
	for n in 0 -1 x 1x '' 100000; do
		run_poplar --pretend --jobs="$n"
		expect_exit 64
		complains --jobs
	done
	run_poplar --pretend -j 3
	expect_exit 0
}

@test "a bad value of a keyword option is a usage error that names it" {
	rc
	run_poplar --pretend --keep=sometimes
	expect_exit 64
	complains --keep sometimes
	run_poplar --pretend --tls-starttls=perhaps
	expect_exit 64
	complains --tls-starttls perhaps
}

@test "long options may be shortened while they are unambiguous" {
	rc
	run_poplar --pret --tls-certc=off --conn=7
	pretends "tls_certcheck off" "connect_timeout 7"
	run_poplar --pretend --tls-c=off
	expect_exit 64
	complains ambiguous
	# What begins another one is not ambiguous when it is complete.
	run_poplar --pretend --tls=on --user=carol
	pretends "tls on" "user carol"
}

@test "every keyword of the rc file is an option, and wins over it" {
	rc "keep on" "skipsize 5k"
	run_poplar --pretend --host=mail.example.org --port=4110 --timeout=11 \
	    --connect-timeout=12 --session-timeout=13 --mda-timeout=14 \
	    --pipelining=off --auth=apop --user=bob --passwordeval=false \
	    --tls=on --tls-starttls=on --tls-trust-file=/ca.pem \
	    --tls-certcheck=off --tls-priorities=NORMAL \
	    --tls-host-override=other.example.org --uidls-file=/tmp/u \
	    --require-state=on --only-new=off --keep=30d --killsize=10M \
	    --skipsize=20k --max-messages=7 --max-bytes=8k --order=newest test
	pretends "host mail.example.org" "port 4110" "timeout 11" \
	    "connect_timeout 12" "session_timeout 13" "mda_timeout 14" \
	    "pipelining off" "auth apop" "user bob" "passwordeval false" \
	    "tls on" "tls_starttls on" "tls_trust_file /ca.pem" \
	    "tls_certcheck off" "tls_priorities NORMAL" \
	    "tls_host_override other.example.org" "uidls_file /tmp/u" \
	    "require_state on" "only_new off" "keep 30d" "killsize 10M" \
	    "skipsize 20k" "max_messages 7" "max_bytes 8k" "order newest"
}

@test "an option without argument switches its keyword on" {
	rc "tls_certcheck off" "require_state off"
	run_poplar --pretend --tls-certcheck --require-state
	pretends "tls_certcheck on" "require_state on"
}

@test "options hold for all accounts of the run" {
	two_accounts
	run_poplar --pretend --timeout=9
	expect_exit 0
	[ "$(grep -cx 'timeout 9' <<<"$output")" -eq 2 ]
}

@test "-k is --keep=on" {
	rc "keep off"
	run_poplar --pretend
	pretends "keep off"
	run_poplar -P -k
	pretends "keep on"
}

@test "--delivery takes a comma for the blank" {
	rc
	run_poplar --pretend --delivery=mbox,/var/tmp/in,box
	pretends "delivery mbox /var/tmp/in,box"
}

@test "a password is no option, and is not repeated" {
	rc
	run_poplar --pretend --password=hunter2
	expect_exit 64
	complains --password
	for option in --pass --passwort --proxy-p --quiet; do
		run_poplar "$option=hunter2"
		expect_exit 64
		complains "option $option "
		[[ $stderr != *hunter2* ]]
	done
	for option in --verbose --file=rc; do
		run_poplar $option -xv
		expect_exit 64
		complains "option -x is unknown"
	done
	[[ $output$stderr != *hunter2* ]]
}

@test "--host without account name uses no rc file" {
	messages 1
	serve
	file .poplarrc "this is broken"
	run_poplar --host=127.0.0.1 --port="$PORT" --tls=off --auth=user \
	    --user=alice --passwordeval="echo sesame"
	expect_exit 0
	[ -z "$output$stderr" ]
	assert_maildir_equals_box
	grep -qx '1 C: PASS sesame' "$LOG"
}

@test "--host with an account name changes that account" {
	two_accounts
	run_poplar --pretend --host=other.example.org two
	pretends "account two" "host other.example.org" "user bob"
	[[ $output != *"account one"* ]]
}

@test "-C - reads the rc file from standard input" {
	rc
	run --separate-stderr timeout 60 "$POPLAR" -C - --pretend <<-X
		account piped
		host mail.example.org
		user alice
		password hunter2
	X
	pretends "account piped" "user alice" "password *"
	[[ $output != *"account test"* ]]
}

@test "-C FILE reads another rc file" {
	rc
	file other "account other" "host mail.example.org" "user o"
	run_poplar -C "$HOME/other" --pretend
	pretends "account other"
	run_poplar --file="$HOME/missing"
	expect_exit 78
	complains "$HOME/missing" "No such file"
}

@test "without any rc file: 78, and a word about it" {
	run_poplar
	expect_exit 78
	complains "$HOME/.poplarrc" "poplarrc(5)"
}

@test "the rc file in XDG_CONFIG_HOME comes before ~/.poplarrc" {
	rc
	mkdir -p "$HOME/c/poplar"
	file c/poplar/poplarrc "account xdg" "host h.example.org" "user u"
	XDG_CONFIG_HOME=$HOME/c run_poplar --pretend
	pretends "account xdg"
	XDG_CONFIG_HOME=$HOME/none run_poplar --pretend
	pretends "account test"
}

@test "--pretend masks secrets, runs no passwordeval, connects nowhere" {
	messages 1
	serve
	rc "passwordeval touch $HOME/ran"
	run_poplar --pretend
	pretends "password *" "passwordeval touch $HOME/ran" "user alice" \
	    "delivery maildir $HOME/Maildir"
	[[ $output != *sesame* ]]
	assert_not_exist "$HOME/ran"
	assert_not_exist "$HOME/Maildir"
	assert_not_exist "$HOME/.local"
	run grep connect "$LOG"
	assert_failure
}

@test "what --pretend prints can be read again" {
	rc "keep 30d" "skipsize 1M" "tls_host_override x.example.org"
	run_poplar --pretend
	expect_exit 0
	first=$output
	file again "$output"
	run_poplar -C "$HOME/again" --pretend
	expect_exit 0
	[ "$output" = "$first" ]
}

@test "without names: every account" {
	messages 1
	serve
	two_accounts
	run_poplar
	expect_exit 0
	[ "$(count one)" -eq 1 ]
	[ "$(count two)" -eq 1 ]
}

@test "without names: only the one called default, if there is one" {
	messages 1
	serve
	two_accounts default
	run_poplar
	expect_exit 0
	[ "$(count one)" -eq 1 ]
	assert_not_exist "$HOME/two"
	run_poplar -a
	expect_exit 0
	[ "$(count two)" -eq 1 ]
}

@test "names and patterns choose accounts" {
	file .poplarrc defaults "host h" "user u" "account work-a" \
	    "account work-b" "account home"
	run_poplar --pretend 'work-*'
	pretends "account work-a" "account work-b"
	[[ $output != *"account home"* ]]
	run_poplar --pretend home 'w*-[b]'
	pretends "account work-b" "account home"
	[[ $output != *"account work-a"* ]]
}

@test "a name or pattern that matches nothing: 78, and nothing is fetched" {
	messages 1
	serve
	two_accounts
	for name in three 'x*' ''; do
		run_poplar two "$name"
		expect_exit 78
		complains "$name"
	done
	run_poplar tow
	expect_exit 78
	complains tow "did you mean two"
	assert_not_exist "$HOME/two"
}

@test "an account that was not chosen may be incomplete" {
	file .poplarrc "account good" "host h" "user u" "account bad" "host h"
	run_poplar --pretend good
	pretends "account good"
	run_poplar --pretend bad
	expect_exit 78
	complains "$HOME/.poplarrc:4" "account bad" "user"
	run_poplar --pretend
	expect_exit 78
}

@test "an unknown keyword: file, line, and the nearest one" {
	file .poplarrc "# comment" "" "account a" "host h" "passwrod hunter2"
	run_poplar
	expect_exit 78
	complains "$HOME/.poplarrc:5: passwrod:" "did you mean password"
	[[ $stderr != *hunter2* ]]
}

@test "a bad value: file, line, keyword, what is wrong" {
	for line in "timeout soon" "tls maybe" "keep 3x" "delivery pigeon x" \
	    "tls_fingerprint 12:34" "port 70000" "auth magic" "killsize 1Q" \
	    "order random" "max_messages -1"; do
		file .poplarrc "account a" "user u" "$line"
		run_poplar
		expect_exit 78
		complains "$HOME/.poplarrc:3: ${line%% *}: " "${line#* }"
	done
}

@test "values are checked before any connection, of all accounts" {
	messages 1
	serve
	two_accounts
	echo "timeout never" >>"$HOME/.poplarrc"
	run_poplar one
	expect_exit 78
	run grep connect "$LOG"
	assert_failure
}

@test "errors in an included file name that file" {
	mkdir "$HOME/d"
	file d/x "account inner" "hots h"
	file .poplarrc "include d/*"
	run_poplar
	expect_exit 78
	complains "$HOME/d/x:2: hots" "did you mean host"
}

@test "a file with a password that others can read is refused (CVE-2005-3088)" {
	rc
	for mode in 640 604 644 660; do
		chmod "$mode" "$HOME/.poplarrc"
		run_poplar --pretend
		expect_exit 78
		complains "$HOME/.poplarrc:7: password" "chmod 600"
		[[ $output$stderr != *sesame* ]]
	done
	chmod 400 "$HOME/.poplarrc"
	run_poplar --pretend
	expect_exit 0
}

@test "a file without password may be read by others" {
	file .poplarrc "account a" "host h" "user u" "passwordeval cat x"
	chmod 644 "$HOME/.poplarrc"
	run_poplar --pretend
	pretends "account a"
}

@test "an included file with a password must be private too" {
	file .poplarrc "account a" "host h" "user u" "include $HOME/secret"
	file secret "password hunter2"
	run_poplar --pretend
	pretends "password *"
	chmod 644 "$HOME/secret"
	run_poplar --pretend
	expect_exit 78
	complains "$HOME/secret:1: password"
}

@test "delivery exchange is refused with a clear word" {
	rc "delivery exchange /x"
	run_poplar
	expect_exit 78
	complains "$HOME/.poplarrc:10: delivery" Exchange
}

@test "keywords are case-insensitive, CRLF and a byte order mark no matter" {
	printf '\xef\xbb\xbfACCOUNT a\r\nHost h\r\nUSER "x y"\r\nKeep 2w\r\n' \
	    >"$HOME/.poplarrc"
	run_poplar --pretend
	pretends "account a" "host h" "keep 2w"
	grep -q '^user .*x y' <<<"$output"
}

@test "a # inside of an argument is part of it" {
	file .poplarrc "account a" "host h" "user u # no comment" \
	    "  # a comment"
	run_poplar --pretend
	expect_exit 0
	grep -q '^user .*u # no comment' <<<"$output"
}

@test "accounts inherit from defaults and from parents" {
	file .poplarrc defaults "timeout 5" "account a" "host a" "user ua" \
	    "account b" "host b" "keep off" "account c : a, b"
	run_poplar --pretend c
	pretends "account c" "host b" "user ua" "keep off" "timeout 5"
}

@test "eval puts the output of a command in its place" {
	file .poplarrc "account a" "host h" "user u" \
	    "eval echo timeout 17" "eval echo password hunter2"
	run_poplar --pretend
	pretends "timeout 17" "password *"
	file .poplarrc "account a" "eval echo why >&2; exit 3"
	run_poplar --pretend
	expect_exit 78
	complains "$HOME/.poplarrc:2: eval" 3 why
}

@test "eval that prints a password alone does not show it to anybody" {
	for printed in hunter2 '%%hunter2 hunter2' 'passwrod hunter2' \
	    'password=hunter2' 'timeout hunter2' 'account a:hunter2'; do
		file .poplarrc "account a" "host h" "user u" \
		    "eval printf '$printed'"
		run_poplar --pretend
		expect_exit 78
		complains "$HOME/.poplarrc:4: "
		[[ $output$stderr != *hunter2* ]]
	done
	file .poplarrc "account a" "eval echo hunter2"
	run_poplar
	complains ":2: eval: " "hint: " passwordeval
}

@test "an mpop rc file is read unchanged" {
	file .poplarrc "# mpop" defaults "tls on" "tls_starttls" \
	    "tls_trust_file /etc/ssl/certs/ca-certificates.crt" \
	    "tls_min_dh_prime_bits 1024" "account freemail" \
	    "host pop.freemail.example" "from x" "user joe.smith" \
	    "passwordeval gpg -q" "delivery mbox ~/inbox" "pipelining auto"
	sed -i '/^from/d' "$HOME/.poplarrc"
	run_poplar --pretend
	pretends "tls_starttls on" "port 110" "delivery mbox $HOME/inbox"
}

@test "the port follows TLS, and STLS follows the port" {
	file .poplarrc defaults "host h" "user u" "account usual" \
	    "account plain" "tls off" "account by-port" "port 110" \
	    "account stls" "tls_starttls on" "account odd" "port 4711"
	run_poplar --pretend usual
	pretends "port 995" "tls on" "tls_starttls off"
	run_poplar --pretend plain
	pretends "port 110" "tls off"
	run_poplar --pretend by-port
	pretends "port 110" "tls on" "tls_starttls on"
	run_poplar --pretend stls
	pretends "port 110" "tls on" "tls_starttls on"
	run_poplar --pretend odd
	pretends "port 4711" "tls on" "tls_starttls off"
}

@test "cron: silent when all is well" {
	messages 2
	serve
	rc
	for _ in 1 2; do
		run_poplar
		expect_exit 0
		[ -z "$output$stderr" ]
	done
	assert_maildir_equals_box
}

@test "-v says more, on the right descriptors" {
	messages 2
	serve
	rc
	run_poplar -v
	expect_exit 0
	[[ $output == "test: 2 new messages"* ]]
	run_poplar -v
	expect_exit 0
	[[ $output == "test: nothing new"* ]]
}

@test "-q leaves errors only" {
	rc "host 127.0.0.1" "tls_certcheck off"
	serve --tls implicit --tls-cert "$(certs)/server.pem" \
	    --tls-key "$(certs)/server.key"
	rc "tls on" "tls_certcheck off"
	run_poplar
	expect_exit 0
	[ -n "$stderr" ]
	run_poplar -q
	expect_exit 0
	[ -z "$output$stderr" ]
	stop_server
	run_poplar -q
	expect_exit 69
	complains "test: connect: "
}

@test "connection refused: 69, and where" {
	serve
	stop_server
	rc
	run_poplar
	expect_exit 69
	complains "test: connect: cannot connect to 127.0.0.1 port $PORT"
}

@test "an address of the other family: 68" {
	rc
	run_poplar -6
	expect_exit 68
	complains "test: connect: " IPv6
}

@test "several accounts: the first code that is neither 0 nor 75" {
	messages 1
	serve --user good:sesame --resp 'USER busy=-ERR [IN-USE] later'
	file .poplarrc defaults "host 127.0.0.1" "port $PORT" "tls off" \
	    "auth user" "password sesame" "account busy" "user busy" \
	    "account good" "user good" "account bad" "user bad" \
	    "account refused" "user x" "port 1"
	run_poplar good
	expect_exit 0
	run_poplar busy good
	expect_exit 75
	run_poplar
	expect_exit 77
	run_poplar busy refused
	expect_exit 69
	[ "$(delivered)" -eq 1 ]
}

@test "one bad account stops no other" {
	messages 3
	serve
	file .poplarrc defaults "host 127.0.0.1" "port $PORT" "tls off" \
	    "auth user" "password sesame" "account bad" "user a" "port 1" \
	    "account good" "user b"
	run_poplar -j 1
	expect_exit 69
	complains "bad: connect: "
	assert_maildir_equals_box
}

@test "closed descriptors 0 to 2 do no harm to the mail" {
	messages 3
	serve
	rc "delivery mbox ~/inbox"
	status=0
	timeout 60 "$POPLAR" -d <&- >&- 2>&- || status=$?
	[ "$status" -eq 0 ]
	[ "$(grep -c '^From ' "$HOME/inbox")" -eq 3 ]
	run grep -aE '^[<>]|poplar:' "$HOME/inbox"
	assert_failure
}

# One test a keyword, for each is a promise of its own to be taken back.
not_yet() {
	rc "$1"
	run_poplar
	expect_exit 78
	complains "$HOME/.poplarrc:10: ${1%% *}: " "not supported yet"
	# A short argument may stand in the path of the rc file.
	local argument=${1#* }
	[ "${#argument}" -lt 5 ] || [[ $stderr != *"$argument"* ]]
}

@test "keywords of later versions are refused: not supported yet" {
	not_yet "filter spamc"
	not_yet "received_header on"
	not_yet "on_new notify-send"
}

@test "on the command line they are a usage error" {
	rc
	run_poplar --filter=x
	expect_exit 64
	complains --filter "not supported yet"
}
